"""Flags from dataclasses."""

import argparse
from contextlib import nullcontext
from dataclasses import dataclass

import pytest

from refhcm.utils.errors import UserError
from refhcm.utils.flags import add_flags, check_fields, from_namespace, id_pair, option, rate, share


@dataclass(frozen=True)
class Example:
    """One field of each type."""

    size: int = option(3, "a number")
    share: float = option(0.5, "50% of it")
    fast_mode: bool = option(True, "a switch")
    name: str | None = option(None, "a name")


def parse(*words, suppress=False):
    parser = argparse.ArgumentParser()
    add_flags(parser, Example, suppress=suppress)
    return parser.parse_args(words)


def test_defaults_and_types():
    assert from_namespace(Example, parse()) == Example()
    given = from_namespace(Example, parse("--size=4", "--share=1e-3", "--no-fast-mode", "--name=x"))
    assert given == Example(4, 0.001, False, "x")


def test_what_was_not_given_comes_from_elsewhere():
    args = parse("--size=4", suppress=True)
    assert vars(args) == {"size": 4}
    assert from_namespace(Example, args, default=Example(1, 0.1, False, "y")) == Example(4, 0.1, False, "y")


def test_defaults_that_come_from_elsewhere(capsys):
    parser = argparse.ArgumentParser()
    add_flags(parser, Example, otherwise="the file's, else {}", but={"share"})
    assert vars(parser.parse_args(["--size=4"])) == {"size": 4}
    assert "A number (default: the file's, else 3)." in parser.format_help()
    assert "50% of it (default: 0.5)." in parser.format_help()


def test_help_and_wrong_types(capsys):
    for words in (["--help"], ["--size=big"]):
        with pytest.raises(SystemExit):
            parse(*words)
    out = capsys.readouterr()
    assert "50% of it (default: 0.5)." in out.out
    assert "A switch (default: yes)." in out.out
    assert "A name (default: none)." in out.out
    assert "--size: invalid int value: 'big'" in out.err


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": 0, "share": 0}, None),
        ({"size": 9, "share": 1, "name": "x"}, None),
        ({"size": -1}, "size is -1, expected a whole number from 0 to 9"),
        ({"size": 10}, "size is 10, expected"),
        ({"size": True}, "size is True, expected a whole number"),
        ({"size": 3.0}, "size is 3.0, expected a whole number"),
        ({"size": None}, "size is None, expected"),
        ({"share": 1.5}, r"share is 1.5, expected a number from 0 to 1$"),
        ({"share": float("nan")}, "share is nan, expected a number"),
        ({"fast_mode": 1}, "fast_mode is 1, expected yes or no"),
        ({"name": 7}, "name is 7, expected a text"),
    ],
)
def test_values_from_a_file(values, message):
    with pytest.raises(UserError, match=message) if message else nullcontext():
        check_fields(Example(**values), bounds={"int": (0, 9), "float": (0, 100), "share": (0, 1)})


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (share, ["0", "0.0", "1", "5e-1"], ["-0.001", "1.001", "nan", "half", ""]),
        (rate, ["1e-9", "0.999"], ["0", "1", "-1", "nan", "fast"]),
    ],
)
def test_the_ends_of_a_number(kind, good, bad):
    assert [kind(text) for text in good] == [float(text) for text in good]
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError, match=f"got {text!r}"):
            kind(text)


def test_id_pair():
    assert id_pair("6,53", "--range") == (6, 53)
    for text in ("", "6", "6,x", "6,7,8"):
        with pytest.raises(UserError, match=r"^--range must be two ids a,b, got"):
            id_pair(text, "--range")
    for text in ("9,5", "5,5", "-5,-2", "-1,9", "0,2", "0,4"):
        with pytest.raises(UserError, match=r"^--range must be two ids a,b with 0 <= a < b, and b above 4, .*, got"):
            id_pair(text, "--range")
    assert id_pair("0,5", "--range") == (0, 5)
