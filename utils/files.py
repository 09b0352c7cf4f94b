"""Files: written atomically, locked for one writer, marked by their content."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` at the end, or vanishes on an error."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def digest(path: Path) -> str:
    """The file's sha256."""
    with open(path, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def readable(size: int) -> str:
    """Bytes as people say them: 1.5 GB."""
    value, unit = float(size), "bytes"
    for unit in ("bytes", "KB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"


def lock(file: IO) -> None:
    """Takes an open file for this process alone, until it is closed. BlockingIOError: another process has it.

    Nothing happens where the system has no such locks.
    """
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
