"""Files: atomic writes, locks, and digests."""

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A path to write to. It replaces `path` at the end, or is removed on an error. Several processes may write."""
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.part")  # process ids repeat across machines
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
    """A number of bytes for people: 1.5 GB."""
    value, unit = float(size), "bytes"
    for unit in ("bytes", "KB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"


def lock(file: IO[Any]) -> None:
    """Locks an open file until it is closed; BlockingIOError if another process has it.

    Does nothing on systems without such locks.
    """
    try:
        import fcntl
    except ImportError:  # on Windows
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
