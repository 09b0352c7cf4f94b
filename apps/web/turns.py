"""How many pixels are open at once, whoever asks: large pictures wait for each other, small ones hardly ever."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """Lets work of at most `limit` pixels in all run at once, in the order in which it came."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._open = 0
        self._waiting: list[object] = []
        self._changed = threading.Condition()

    @contextmanager
    def of(self, pixels: int) -> Iterator[None]:
        """Waits until there is room for `pixels`; more than the limit counts as the limit."""
        pixels, ticket = min(pixels, self.limit), object()
        with self._changed:
            self._waiting.append(ticket)
            self._changed.wait_for(lambda: self._waiting[0] is ticket and self._open + pixels <= self.limit)
            self._waiting.pop(0)
            self._open += pixels
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._open -= pixels
                self._changed.notify_all()
