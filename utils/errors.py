"""Errors for a user's mistakes: one clear line, which the commands print without a traceback."""

import os
import reprlib
import sys
from collections.abc import Callable
from concurrent.futures import BrokenExecutor

_BRIEF = reprlib.Repr()
_BRIEF.maxlevel, _BRIEF.maxstring, _BRIEF.maxother = 2, 80, 80
KILLED = "memory or /dev/shm is probably full: try fewer workers, then run the same command again"


class UserError(Exception):
    """A mistake in what the user gave: says where, what came, and what was expected."""


class DataError(UserError, ValueError):
    """A row, picture or mask that cannot be used."""


class CheckpointError(UserError, ValueError):
    """A weights file that cannot be used."""


def shown(value: object) -> str:
    """A value from a file, for a message: its repr on one line, at most 80 letters, however large or deep it is."""
    text = " ".join(_BRIEF.repr(value).split())
    return text if len(text) <= 80 else text[:76] + " ..."


def reason_of(error: BaseException) -> str:
    """The first line of a library's error, at most 200 letters, or the error's name."""
    line = next(iter(str(error).splitlines()), "").strip()
    return line[:200] or type(error).__name__


def printable(text: str) -> str:
    """The text on one line, with an escape for all that is no visible letter: names from outside cannot steer a
    terminal.
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text.splitlines()))


def exit_status(run: Callable[[], int | None]) -> int:
    """Runs a command: its status, or 0. 2 after a user's mistake, 130 after Ctrl-C, and 1 if a process that it started
    was killed, each with one line on stderr.

    After Ctrl-C, the line is the KeyboardInterrupt's own text, if it has one.
    """
    try:
        status = run() or 0
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader of the output, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (UserError, OSError) as error:
        text = str(error)
        if isinstance(error, OSError) and error.filename is not None:
            text = f"{error.filename}: {error.strerror}"
        print(printable(f"error: {text}"), file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        if os.environ.get("WORLD_SIZE", "1") == "1":  # else the launcher says it, once
            print(str(stop) or "interrupted", file=sys.stderr)
        return 130
    except RuntimeError as error:
        if not (isinstance(error, BrokenExecutor) or str(error).startswith("DataLoader worker")):
            raise
        print(f"error: {reason_of(error)}: {KILLED}", file=sys.stderr)
        return 1
