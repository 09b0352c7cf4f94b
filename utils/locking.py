"""One writer for a file."""

from typing import IO

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None


def lock(file: IO) -> None:
    """Takes an open file for this process alone, until it is closed. BlockingIOError: another process has it.

    Nothing happens where the system has no such locks.
    """
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
