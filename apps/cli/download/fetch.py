"""Getting files whole: resumable downloads and copies, checked, and under their final name only when they are right."""

import contextlib
import errno
import http.client
import shutil
import ssl
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from ....utils.errors import UserError
from ....utils.files import digest, lock, readable

CHUNK = 1 << 20  # bytes
TIMEOUT_S = 30
ATTEMPTS = 4  # at a connection that breaks; the file's part stays for the next run
PAUSE_S = 1.0
# What a network does; every other OSError is about the file that is written.
NETWORK_ERRORS = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError)


class FetchError(UserError):
    """A file that could not be had."""


def fetch(url: str, path: Path, *, sha256: str | None = None, token: str | None = None) -> None:
    """Downloads `url` to `path`, going on from `path.part` where an earlier run stopped.

    token: opens what is not public; it is for the host of `url` alone, not for those that it redirects to.
    FetchError: no connection, the server's refusal, a full disk, or a content whose `sha256` is another one. The part
    is kept, but for a wrong content.
    """
    with _writing(path) as part:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                _receive(_request(url, token), part, path=path, checked=sha256 is not None)
                break
            except urllib.error.HTTPError as error:
                raise FetchError(f"{url}: the server answers {error.code} {error.reason}") from error
            except NETWORK_ERRORS as error:
                if attempt == ATTEMPTS:
                    reason = getattr(error, "reason", None) or error
                    kept = "; what has come is kept, run it again to go on" if part.tell() else ""
                    raise FetchError(f"{url}: no connection ({reason}){kept}") from error
                time.sleep(PAUSE_S * attempt)
    _finish(path, sha256, source=url)


def copy(source: Path, path: Path, *, sha256: str | None = None) -> None:
    """Copies a file, under the same checks as `fetch`."""
    try:
        size = source.stat().st_size
        with open(source, "rb") as content, _writing(path) as part:
            part.truncate(0)
            require_space(path.parent, size)
            _pour(content, part, total=size, name=path.name)
    except OSError as error:
        raise FetchError(f"{source}: can not be copied: {error.strerror or error}") from error
    _finish(path, sha256, source=str(source))


def require_space(folder: Path, size: int) -> None:
    """FetchError unless the disk of `folder`, which need not be there yet, has `size` bytes left."""
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.is_dir())
    free = shutil.disk_usage(there).free
    if free < size:
        raise FetchError(f"{folder}: the disk has {readable(free)} left, {readable(size)} are needed")


def unpack(archive: Path, folder: Path) -> None:
    """A zip file's content as `folder`, whole or not at all. A single folder of that name in it is taken as itself."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as content:
            members = content.infolist()
            require_space(folder, sum(member.file_size for member in members))
            for member in tqdm(members, desc=f"unpack {archive.name}", leave=False):
                content.extract(member, part)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # RuntimeError: needs a password, too
        raise FetchError(f"{archive}: not a zip file that can be unpacked: {error}") from error
    inner = part / folder.name
    if inner.is_dir() and len(list(part.iterdir())) == 1:
        inner.replace(folder)
        part.rmdir()
    else:
        part.replace(folder)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[BinaryIO]:
    """`path.part`, open at its end, for this process alone."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(_part(path), "ab") as part:
            lock(part)
            yield part
    except BlockingIOError as error:
        raise FetchError(f"{_part(path)}: another download writes it") from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full; make room and run it again to go on" if full else error.strerror or error
        raise FetchError(f"{_part(path)}: can not be written: {reason}") from error


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def begun(path: Path) -> int:
    """Bytes of `path` that an earlier run left behind."""
    return _part(path).stat().st_size if _part(path).is_file() else 0


def _etag(path: Path) -> Path:
    """Holds which version of the file the part is of."""
    return path.with_name(path.name + ".part.etag")


def _request(url: str, token: str | None) -> urllib.request.Request:
    request = urllib.request.Request(url, headers={"User-Agent": "refhcm", "Accept-Encoding": "identity"})
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    return request


def _receive(request: urllib.request.Request, part: BinaryIO, *, path: Path, checked: bool) -> None:
    """Brings the part to its full length. checked: a digest will be compared, so any server's rest may be appended."""
    version = _etag(path).read_text(encoding="ascii") if _etag(path).is_file() else ""
    if not (version or checked):
        part.truncate(0)
    start = part.seek(0, 2)
    if start:
        request.add_header("Range", f"bytes={start}-")
        if version:
            request.add_header("If-Range", version)
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            if error.headers.get("Content-Range", "") == f"bytes */{start}":
                return  # an earlier run had all of it, and stopped before the check
            part.truncate(0)
            raise ConnectionError("the file has changed on the server") from error
        raise
    with answer:
        _append(answer, part, start=start, path=path)


def _append(answer: http.client.HTTPResponse, part: BinaryIO, *, start: int, path: Path) -> None:
    """The answer's body behind the part's first `start` bytes, or as the whole part when it is the whole file."""
    if answer.headers.get_content_type() == "text/html":
        raise FetchError(f"{answer.url}: answers with a web page, not with the file")
    if not (answer.status == http.HTTPStatus.PARTIAL_CONTENT and _first_byte(answer) == start):
        part.truncate(0)
        start = 0
    tag = answer.headers.get("ETag", "")
    _etag(path).write_text("" if tag.startswith("W/") else tag, encoding="ascii")
    length = answer.headers.get("Content-Length")
    total = None if length is None else start + int(length)
    if total is not None:
        require_space(path.parent, total - start)
    _pour(answer, part, total=total, name=path.name, start=start)
    if total is not None and part.tell() < total:
        raise ConnectionError(f"it broke off at {readable(part.tell())} of {readable(total)}")


def _first_byte(answer: http.client.HTTPResponse) -> int:
    """Where a partial answer starts, from `Content-Range: bytes 10-99/100`."""
    first = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(first) if first.isdecimal() else -1


def _pour(
    content: BinaryIO | http.client.HTTPResponse, part: BinaryIO, *, total: int | None, name: str, start: int = 0
) -> None:
    with tqdm(total=total, initial=start, desc=name, unit="B", unit_scale=True, leave=False) as bar:
        while chunk := content.read(CHUNK):
            part.write(chunk)
            bar.update(len(chunk))
    part.flush()


def _finish(path: Path, sha256: str | None, *, source: str) -> None:
    try:
        _check(_part(path), sha256, source=source)
        _part(path).replace(path)
    finally:
        if not _part(path).exists():
            _etag(path).unlink(missing_ok=True)


def _check(path: Path, sha256: str | None, *, source: str) -> None:
    if sha256 is not None and (found := digest(path)) != sha256:
        path.unlink()
        raise FetchError(f"{source}: its sha256 is {found}, expected {sha256}: not kept")
