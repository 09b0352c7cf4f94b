"""Files: atomic writes, locks, digests and marks."""

import errno
import hashlib
import os
import re
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from .errors import DataError, UserError

WHOLE = 8 * 2**20  # bytes of a file up to which all of it is read for its mark
BLOCK = 2**17
END = 2**20  # bytes
BLOCKS = 64  # of a larger file: the first, the last, and others between them at equal distances
PARTS = "*." + "[0-9a-f]" * 8 + ".part"  # what `atomic_write` leaves behind when it is killed
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # of file systems without locks: some of NFS and Lustre

# Where a published file or folder lies -> its name for `refhcm download`.
PUBLISHED = {
    "dataset/bpe": "vocabulary",
    "dataset": "dataset",
    "checkpoints/vqgan": "tokenizer",
    "checkpoints/refhcm.pt": "refhcm",
    "checkpoints/refhcm-tuned.pt": "refhcm-tuned",
    "checkpoints/ofa_large.pt": "ofa-large",
}


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A path to write to. It replaces `path` at the end, or is removed on an error. Several processes may write."""
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.part")  # as PARTS; process ids repeat across machines
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def digest(path: Path) -> str:
    """The file's sha256."""
    with open(path, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def end_digest(path: Path) -> str:
    """sha256 of a file's size and last 2^20 bytes: there torch's files hold the checksums of all their tensors.

    Of safetensors also the first 2^20, where theirs is.
    """
    with open(path, "rb") as file:
        start = file.read(END) if path.suffix == ".safetensors" else b""
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - END, 0))
        return hashlib.sha256(f"{size}\n".encode() + start + file.read()).hexdigest()


def file_mark(path: str | Path) -> dict[str, Any]:
    """Size and sha256 of a file; above `WHOLE` bytes, of `BLOCKS` blocks of it. Raises DataError."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size <= WHOLE:
                return {"size": size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
            found = hashlib.sha256()
            for k in range(BLOCKS):
                file.seek((size - BLOCK) * k // (BLOCKS - 1))
                found.update(file.read(BLOCK))
            return {"size": size, "sha256": found.hexdigest()}
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def mark_of(paths: Sequence[Path]) -> str:
    """`file_mark` of files, in their order, for a message."""
    marks = map(file_mark, paths)
    return ", ".join(f"{mark['size']} bytes of sha256 {mark['sha256'][:12]}" for mark in marks)


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

    Does nothing on systems and file systems without such locks.
    """
    try:
        import fcntl
    except ImportError:  # on Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise


def check_writable(folder: Path) -> None:
    """Makes a folder and tries to write into it. UserError: why not; said before the work, not after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{folder}: cannot be written to ({error.strerror}); give another folder") from error


def check_output(path: Path) -> None:
    """The same for the folder of a file to write, which may not be a folder itself."""
    check_writable(path.parent)
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file to write")


def claim(folder: Path) -> IO[Any]:
    """Makes a folder this process's own until the file that is returned is closed, or the process ends.

    Removes what an earlier owner that was killed had not finished writing there.
    UserError: it cannot be written to, or another process has it.
    """
    check_writable(folder)
    file = open(folder / ".lock", "w")  # noqa: SIM115  open for as long as the claim lasts
    try:
        lock(file)
    except BlockingIOError as error:
        file.close()
        raise UserError(f"{folder}: another run writes there; end it first, or give another folder") from error
    for left in folder.glob(PARTS):
        left.unlink(missing_ok=True)
    return file


def no_such_file(path: str | Path) -> str:
    """The message that a file is missing, with the command that gets it where it is a published one."""
    named = (name for place, name in PUBLISHED.items() if re.search(rf"(^|/){re.escape(place)}(/|$)", str(path)))
    name = next(named, None)
    return f"{path}: no such file" + (f". Run: refhcm download {name}" if name else "")


def check_small(path: Path, *, largest: int) -> None:
    """UserError unless it is a file of at most `largest` bytes: what it is said to be is never larger."""
    if not path.is_file():
        raise UserError(f"{path}: is no regular file" if path.exists() else no_such_file(path))
    if path.stat().st_size > largest:
        raise UserError(f"{path}: is {readable(path.stat().st_size)} large, expected at most {readable(largest)}")
