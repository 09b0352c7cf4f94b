"""Errors are one line each that cannot steer a terminal."""

import os
import signal

import pytest
from torch.utils.data import DataLoader

from refhcm.utils.errors import KILLED, UserError, exit_status, printable, shown
from refhcm.utils.processes import processes


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


@pytest.mark.parametrize(
    "value", ["a" * 1000, "a\nb" * 1000, ["x" * 70] * 9, {"a" * 75: {"b" * 75: 1}}, [[[[[1]]]]], 10**99]
)
def test_a_value_of_a_file_is_one_short_line(value):
    assert 0 < len(shown(value)) <= 80
    assert "\n" not in shown(value)


def test_an_error_of_the_system_names_its_file(capsys, tmp_path):
    assert exit_status(lambda: (tmp_path / "none").read_text()) == 2
    assert capsys.readouterr().err == f"error: {tmp_path}/none: No such file or directory\n"


@pytest.mark.parametrize("error", [UserError("bad \x1b[31m\nname"), OSError("bad \x1b[31m\nname")])
def test_an_error_is_one_line(capsys, error):
    def run():
        raise error

    assert exit_status(run) == 2
    assert capsys.readouterr().err == "error: bad \\x1b[31m name\n"


class Killed:
    """A dataset for which the machine has no memory."""

    def __len__(self):
        return 1

    def __getitem__(self, i):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_data_worker_that_is_killed(capsys):
    assert exit_status(lambda: [*DataLoader(Killed(), num_workers=1)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: DataLoader worker (pid")
    assert line.endswith("try fewer workers, then run the same command again")


def test_a_killed_process_is_one_line(capsys):
    def run():
        with processes(1) as pool:
            list(pool.map(os._exit, [9]))

    assert exit_status(run) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: A process in the process pool was terminated")
    assert KILLED in line


def test_other_errors_of_libraries_keep_their_traceback():
    def run():
        raise RuntimeError("a fault of ours")

    with pytest.raises(RuntimeError, match="a fault of ours"):
        exit_status(run)


@pytest.mark.parametrize(("ranks", "said"), [("1", "interrupted\n"), ("2", "")])
def test_ctrl_c_is_said_once(ranks, said, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", ranks)  # of several ranks, the launcher says it

    def run():
        raise KeyboardInterrupt

    assert exit_status(run) == 130
    assert capsys.readouterr().err == said
