"""How many pixels are open at once."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from refhcm.apps.web.turns import Turns


@pytest.mark.parametrize("sizes", [[80] * 6, [10] * 30, [80, 20, 1, 100, 500, 60] * 4])
def test_never_more_than_the_limit_are_open(sizes):
    turns, lock, opened, most = Turns(100), threading.Lock(), [0], [0]

    def open_for_a_while(size):
        with turns.of(size):
            with lock:
                opened[0] += min(size, 100)
                most[0] = max(most[0], opened[0])
            time.sleep(0.005)
            with lock:
                opened[0] -= min(size, 100)
        return size

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(open_for_a_while, sizes)) == sizes
    assert 0 < most[0] <= 100


def test_a_failure_gives_its_pixels_back():
    turns = Turns(100)
    for _ in range(3):
        with pytest.raises(OSError, match="broken"), turns.of(100):
            raise OSError("broken")
    with turns.of(100):
        pass
