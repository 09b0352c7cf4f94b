"""Files: atomic writes, locks, and digests."""

import hashlib
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from .errors import UserError


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


def files_below(folder: Path, *, onerror: Callable[[OSError], object] | None = None) -> Iterator[Path]:
    """All files in a folder at any depth, through links, too; not through a link to a folder that it lies in.

    onerror: gets the error of a folder that cannot be listed; None: it is passed over.
    """
    above = {os.fspath(folder): {os.path.realpath(folder)}}  # the real folders on the way to each folder
    for place, inner, names in os.walk(folder, followlinks=True, onerror=onerror):
        way = above.pop(place)
        real = {name: os.path.realpath(os.path.join(place, name)) for name in inner}
        inner[:] = [name for name in inner if real[name] not in way]
        above |= {os.path.join(place, name): way | {real[name]} for name in inner}
        yield from (path for name in names if (path := Path(place, name)).is_file())


def lock(file: IO[Any]) -> None:
    """Locks an open file until it is closed; BlockingIOError if another process has it.

    Does nothing on systems without such locks.
    """
    try:
        import fcntl
    except ImportError:  # on Windows
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def check_writable(folder: Path) -> None:
    """Makes a folder and tries to write into it. UserError: why not; said before the work, not after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{folder}: cannot be written to ({error.strerror}); give another folder") from error


def claim(folder: Path) -> IO[Any]:
    """Makes a folder this process's own until the file that is returned is closed, or the process ends.

    UserError: it cannot be written to, or another process has it.
    """
    check_writable(folder)
    file = open(folder / ".lock", "w")  # noqa: SIM115  open for as long as the claim lasts
    try:
        lock(file)
    except BlockingIOError as error:
        file.close()
        raise UserError(f"{folder}: another run writes there; end it first, or give another folder") from error
    return file


def check_small(path: Path, *, largest: int) -> None:
    """UserError unless it is a file of at most `largest` bytes: what it is said to be is never larger."""
    if not path.is_file():
        raise UserError(f"{path}: {'no such file' if not path.exists() else 'is no regular file'}")
    if path.stat().st_size > largest:
        raise UserError(f"{path}: is {readable(path.stat().st_size)} large, expected at most {readable(largest)}")
