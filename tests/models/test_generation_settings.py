"""Generation settings: what cannot be asked for is said in one line, before the search."""

import subprocess
import sys
from dataclasses import asdict

import pytest

from refhcm.models.generation_settings import GenerationSettings
from refhcm.utils.errors import UserError

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
import refhcm
print(refhcm.GenerationSettings(beam=2).beam)
"""


def test_without_torch():
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True, check=False)
    assert done.stdout == "2\n", done.stderr[-2000:]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"beam": 0}, "--beam must be at least 1, got 0"),
        ({"beam": 2.5}, "beam is 2.5, expected a whole number from 1 to 1024"),
        ({"beam": "3"}, "beam is '3', expected a whole number from 1"),
        ({"beam": True}, "beam is True, expected a whole number"),
        ({"beam": 10**9}, "beam is 1000000000, expected a whole number"),
        ({"min_len": -5}, "min_len is -5, expected a whole number from 0"),
        ({"max_len_b": -3}, "max_len_b is -3, expected a whole number from 0"),
        ({"max_len_a": float("nan")}, "max_len_a is nan, expected a number from 0"),
        ({"max_len_b": 2**20 + 1}, "max_len_b is 1048577, expected a whole number from 0 to 1048576"),
        ({"max_len_a": 1e308}, "max_len_a is 1e+308, expected a number from 0"),
        ({"temperature": float("nan")}, "--temperature must be above 0, got nan"),
        ({"temperature": "hot"}, "temperature is 'hot', expected a number"),
        ({"lenpen": float("inf")}, "lenpen is inf, expected a number from -10 to 10"),
        ({"unnormalized": 1}, "unnormalized is 1, expected yes or no"),
        ({"constraint_range": 5}, "constraint_range is 5, expected a text"),
        ({"constraint_range": "9,5"}, "--constraint-range must be two ids a,b with 0 <= a < b"),
    ],
)
def test_impossible_settings(given, said):
    with pytest.raises(UserError) as caught:
        GenerationSettings(**given)
    assert said in str(caught.value)


def test_what_is_not_said_is_as_in_fairseq():
    found = asdict(GenerationSettings())
    assert (found.pop("beam"), found.pop("min_len"), found.pop("max_len_b")) == (5, 1, 200)
    assert (found.pop("lenpen"), found.pop("temperature"), found.pop("unnormalized")) == (1, 1, False)
    assert found == {"max_len_a": 0, "no_repeat_ngram_size": 0, "unkpen": 0, "constraint_range": None}
    GenerationSettings(max_len_b=2**20, beam=2**10, lenpen=-10)


def test_allowed_range():
    assert GenerationSettings().allowed_range(30) is None
    for limits, rest in (("20,25", (20, 25)), ("0,9", (4, 9)), ("20,99", (20, 30)), ("29,31", (29, 30))):
        assert GenerationSettings(constraint_range=limits).allowed_range(30) == (range(4), range(*rest))
    with pytest.raises(UserError, match=r"^--constraint-range 30,31 is beyond the vocabulary, whose last id is 29$"):
        GenerationSettings(constraint_range="30,31").allowed_range(30)
