"""Resumable downloads and checked copies. A file gets its final name only when it is complete and right."""

import contextlib
import errno
import http.client
import lzma
import os
import re
import shutil
import ssl
import struct
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path, PureWindowsPath
from typing import BinaryIO

from tqdm import tqdm

from ..errors import printable, reason_of
from ..files import digest, lock, readable
from .answers import FetchError, body_of, check_address, check_size, open_address, strong

CHUNK = 1 << 20  # bytes
LARGEST = 64_000_000_000  # bytes of a file whose size nobody says: twice the whole data set
PARTIAL = (".part", ".part.etag")  # ends of the names of what is not complete
ATTEMPTS = 4  # when a connection breaks
PAUSE_S = 1.0
# Any other OSError is about the file that is written.
NETWORK_ERRORS = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError)


# What damaged or hostile archives raise; RuntimeError: it needs a password or an unknown method.
ARCHIVE_ERRORS = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, RuntimeError, ValueError, OSError
)  # fmt: skip


def is_plain(name: str) -> bool:
    """Whether a name from outside is a path below a folder, on every system, without control characters."""
    path = PureWindowsPath(name)  # knows both separators, and drives
    inside = bool(path.parts) and not path.anchor and ".." not in path.parts
    return inside and not re.search("[\x00-\x1f\x7f-\x9f\ud800-\udfff]", name)


def fetch(
    url: str, path: Path, *, size: int | None = None, sha256: str | None = None, token: str | None = None
) -> None:
    """Downloads `url` to `path`, resuming from `path.part` where an earlier run stopped.

    token: sent to the host of `url` only, never to those that it redirects to.
    size: bytes, where known; else the server's word holds, and LARGEST without it.
    FetchError: no connection, an answer that is not the file, a full disk, or another size or sha256 than expected.
    `path.part` is kept for the next run, except when its content is wrong.
    """
    check_address(url)
    with _writing(path) as part:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                _receive(url, token, part, path=path, size=size, checked=sha256 is not None)
                break
            except urllib.error.HTTPError as error:
                raise FetchError(f"{url}: the server says {error.code} {str(error.reason)[:200]}") from error
            except NETWORK_ERRORS as error:
                if attempt == ATTEMPTS:
                    reason = getattr(error, "reason", None)
                    reason = reason_of(reason if isinstance(reason, BaseException) else error)
                    kept = "; run the same command again to resume" if part.tell() else ""
                    raise FetchError(f"{url}: no connection ({reason}){kept}") from error
                time.sleep(PAUSE_S * attempt)
        _finish(part, path, sha256, source=url)


def copy(source: Path, path: Path, *, sha256: str | None = None) -> None:
    """Copies a file with the same checks as `fetch`."""
    size = source.stat().st_size
    with open(source, "rb") as content, _writing(path) as part:
        _cut(part, 0)
        require_space(path.parent, size)
        try:
            _pour(content, part, end=size, source=str(source), name=path.name)
        except ConnectionError as error:
            raise FetchError(f"{source}: {error}; it changes while it is copied") from error
        _finish(part, path, sha256, source=str(source))


def require_space(folder: Path, size: int) -> None:
    """FetchError unless the disk of `folder`, which need not exist yet, has `size` bytes left."""
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.is_dir())
    free = shutil.disk_usage(there).free
    if free < size:
        raise FetchError(f"{folder}: the disk has {readable(free)} left, {readable(size)} needed")


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks a zip file as `folder`, completely or not at all.

    Where everything in it lies in one folder of that name, the folder is not nested in another one.
    FetchError: it is damaged, needs a password, or holds a name that leads out of the folder; a full disk.
    """
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir()  # fails if it is a symlink
        with zipfile.ZipFile(archive) as content:
            members = content.infolist()
            for member in members:
                if not is_plain(member.filename):
                    raise ValueError(f"it holds {member.filename}, which leads out of the folder or is not text")
            require_space(folder, sum(member.file_size for member in members))
            for member in tqdm(members, desc=printable(f"unpack {archive.name}"), leave=False):
                content.extract(member, part)
        inner = part / folder.name
        nested = inner.is_dir() and len(list(part.iterdir())) == 1
        (inner if nested else part).replace(folder)
    except ARCHIVE_ERRORS as error:
        raise FetchError(f"{archive}: cannot be unpacked: {reason_of(error)}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[BinaryIO]:
    """`path.part`, open at its end and locked for this process. On an error, an empty one is removed."""
    place = _part(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise FetchError(f"{path}: is a folder, expected a place for a file; move it away")
        if place.is_symlink() or (place.exists() and not place.is_file()):
            raise FetchError(f"{place}: is no regular file; move it away")
        with open(place, "ab", opener=_no_link) as part:
            lock(part)
            if not _is_at(place, part):
                raise BlockingIOError  # another download has finished it between opening and locking
            try:
                yield part
            except BaseException:
                if not part.closed and not part.seek(0, 2) and _is_at(place, part):
                    _keep_tag(path, "")
                    place.unlink()
                raise
    except BlockingIOError as error:
        raise FetchError(f"{_part(path)}: another download is writing it") from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = "; make room and run the same command again to resume" if full else ""
        raise FetchError(f"{_part(path)}: cannot be written: {error.strerror or error}{hint}") from error


def _is_at(place: Path, part: BinaryIO) -> bool:
    """Whether a path means an open file, which another process may have renamed or deleted."""
    try:
        return os.path.samestat(os.stat(place), os.fstat(part.fileno()))
    except FileNotFoundError:
        return False


def _no_link(name: str, flags: int) -> int:
    """Opens a file, but follows no symlink that came after the check, where the system can tell."""
    return os.open(name, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def begun(path: Path) -> int:
    """Bytes of `path` that an earlier run has downloaded."""
    return _part(path).stat().st_size if _part(path).is_file() else 0


def _etag(path: Path) -> Path:
    """The file that says which version of the file on the server the part belongs to."""
    return path.with_name(path.name + ".part.etag")


def _known_tag(path: Path) -> str:
    """The version of the file that the part belongs to; empty: not known."""
    if _etag(path).is_symlink() or not _etag(path).is_file():
        return ""
    return strong(_etag(path).read_bytes()[:2000].decode("ascii", errors="replace"))


def _keep_tag(path: Path, tag: str) -> None:
    _etag(path).unlink(missing_ok=True)
    if tag:
        with open(_etag(path), "x", encoding="ascii") as file:  # "x" follows no symlink
            file.write(tag)


def _receive(url: str, token: str | None, part: BinaryIO, *, path: Path, size: int | None, checked: bool) -> None:
    """Completes the part.

    size: of the file, where known. checked: the sha256 will be compared, so that a part without an entity tag can be
    resumed, too. ConnectionError: ask again; the part holds what can be used.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "refhcm", "Accept-Encoding": "identity"})
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    version = _known_tag(path)
    start = part.seek(0, 2) if version or checked else 0
    if start:
        request.add_header("Range", f"bytes={start}-")
    if start and version:
        request.add_header("If-Range", version)
    try:
        answer = open_address(request)
    except urllib.error.HTTPError as error:
        if not (start and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
            raise
        if error.headers.get("Content-Range", "") == f"bytes */{start}" and size in (None, start):
            return  # an earlier run had it all and stopped before the check
        _cut(part, 0)
        raise ConnectionError("the file has changed on the server") from error
    with answer:
        body = body_of(answer)
        other = bool(body.start and version and body.tag and body.tag != version)
        if other or body.start not in (0, start):
            _cut(part, 0)
            raise ConnectionError("answered with a part of another version, or at another place, than asked for")
        check_size(url, body.end, size)
        end = size if body.end is None else body.end
        require_space(path.parent, (end or body.start) - body.start)
        _cut(part, body.start)
        _keep_tag(path, body.tag or (version if body.start else ""))
        _pour(answer, part, end=end, source=url, name=path.name, start=body.start)
        if answer.length:  # of Content-Length: what has not come
            raise ConnectionError(f"broken before the last {readable(answer.length)}")


def _cut(part: BinaryIO, length: int) -> None:
    """Leaves the first bytes. The position follows: from Python 3.14 on, `tell` counts on from where it was."""
    part.truncate(length)
    part.seek(0, os.SEEK_END)


def _pour(
    content: BinaryIO | HTTPResponse, part: BinaryIO, *, end: int | None, source: str, name: str, start: int = 0
) -> None:
    """Writes all of the content behind `start`. ConnectionError: it ends before `end`. FetchError: it goes on."""
    most = LARGEST if end is None else end
    with tqdm(total=end, initial=start, desc=printable(name), unit="B", unit_scale=True, leave=False) as bar:
        while chunk := content.read(CHUNK):
            if part.tell() + len(chunk) > most:
                _cut(part, 0)
                raise FetchError(f"{source}: goes on after {readable(most)}, expected its end; deleted")
            part.write(chunk)
            bar.update(len(chunk))
    part.flush()
    if end is not None and part.tell() < end:
        raise ConnectionError(f"broken at {readable(part.tell())} of {readable(end)}")


def _finish(part: BinaryIO, path: Path, sha256: str | None, *, source: str) -> None:
    """Checks the part and gives it its final name, while it is locked: nobody writes to what has been checked."""
    place = _part(path)
    found = digest(place) if sha256 is not None else None
    _etag(path).unlink(missing_ok=True)
    if os.name == "nt":
        part.close()  # Windows renames no open file, and has no lock to keep
    if found != sha256:
        place.unlink()
        raise FetchError(f"{source}: has sha256 {found}, expected {sha256}; deleted")
    place.replace(path)
