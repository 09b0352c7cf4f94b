"""Errors are one line each that cannot steer a terminal."""

import pytest

from refhcm.utils.errors import UserError, exit_status, printable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Füße, 図.png", "Füße, 図.png"),
        ("\x1b[2J\x07", r"\x1b[2J\x07"),
        ("a\r\nb\x0bc\u2028d", "a b c d"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("name \udcff", r"name \udcff"),  # a file's name that is not UTF-8
        ("\x9b2J", r"\x9b2J"),
    ],
)
def test_what_is_printed_is_visible(text, expected):
    assert printable(text) == expected


@pytest.mark.parametrize("error", [UserError("bad \x1b[31m\nname"), OSError("bad \x1b[31m\nname")])
def test_an_error_is_one_line(capsys, error):
    def run():
        raise error

    assert exit_status(run) == 2
    assert capsys.readouterr().err == "error: bad \\x1b[31m name\n"
