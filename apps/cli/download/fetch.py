"""Resumable downloads and checked copies. A file gets its final name only when it is complete and right."""

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
ATTEMPTS = 4  # when a connection breaks
PAUSE_S = 1.0
# Any other OSError is about the file that is written.
NETWORK_ERRORS = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError)


class FetchError(UserError):
    """A file that could not be downloaded, copied or unpacked."""


def fetch(url: str, path: Path, *, sha256: str | None = None, token: str | None = None) -> None:
    """Downloads `url` to `path`, resuming from `path.part` where an earlier run stopped.

    token: sent to the host of `url` only, never to those that it redirects to.
    FetchError: no connection, an error of the server, a full disk, or another sha256 than expected. `path.part` is
    kept for the next run, except when its content is wrong.
    """
    with _writing(path) as part:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                _receive(url, token, part, path=path, checked=sha256 is not None)
                break
            except urllib.error.HTTPError as error:
                raise FetchError(f"{url}: the server says {error.code} {error.reason}") from error
            except NETWORK_ERRORS as error:
                if attempt == ATTEMPTS:
                    reason = getattr(error, "reason", None) or error
                    kept = "; run the same command again to resume" if part.tell() else ""
                    raise FetchError(f"{url}: no connection ({reason}){kept}") from error
                time.sleep(PAUSE_S * attempt)
    _finish(path, sha256, source=url)


def copy(source: Path, path: Path, *, sha256: str | None = None) -> None:
    """Copies a file with the same checks as `fetch`."""
    size = source.stat().st_size
    with open(source, "rb") as content, _writing(path) as part:
        part.truncate(0)
        require_space(path.parent, size)
        _pour(content, part, total=size, name=path.name)
    _finish(path, sha256, source=str(source))


def require_space(folder: Path, size: int) -> None:
    """FetchError unless the disk of `folder`, which need not exist yet, has `size` bytes left."""
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.is_dir())
    free = shutil.disk_usage(there).free
    if free < size:
        raise FetchError(f"{folder}: the disk has {readable(free)} left, {readable(size)} needed")


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks a zip file as `folder`, completely or not at all.

    Where everything in it lies in one folder of that name, the folder is not nested in another one.
    """
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as content:
            members = content.infolist()
            require_space(folder, sum(member.file_size for member in members))
            for member in tqdm(members, desc=f"unpack {archive.name}", leave=False):
                content.extract(member, part)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # RuntimeError: it needs a password
        raise FetchError(f"{archive}: cannot be unpacked: {error}") from error
    inner = part / folder.name
    if inner.is_dir() and len(list(part.iterdir())) == 1:
        inner.replace(folder)
        part.rmdir()
    else:
        part.replace(folder)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[BinaryIO]:
    """`path.part`, open at its end and locked for this process."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(_part(path), "ab") as part:
            lock(part)
            yield part
    except BlockingIOError as error:
        raise FetchError(f"{_part(path)}: another download is writing it") from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = "; make room and run the same command again to resume" if full else ""
        raise FetchError(f"{_part(path)}: cannot be written: {error.strerror or error}{hint}") from error


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def begun(path: Path) -> int:
    """Bytes of `path` that an earlier run has downloaded."""
    return _part(path).stat().st_size if _part(path).is_file() else 0


def _etag(path: Path) -> Path:
    """The file that says which version of the file on the server the part belongs to."""
    return path.with_name(path.name + ".part.etag")


def _receive(url: str, token: str | None, part: BinaryIO, *, path: Path, checked: bool) -> None:
    """Completes the part.

    checked: the sha256 will be compared, so that a part without an entity tag can be resumed, too.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "refhcm", "Accept-Encoding": "identity"})
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    version = _etag(path).read_text(encoding="ascii") if _etag(path).is_file() else ""
    start = part.seek(0, 2) if version or checked else 0
    if start:
        request.add_header("Range", f"bytes={start}-")
    if start and version:
        request.add_header("If-Range", version)
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if not (start and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
            raise
        if error.headers.get("Content-Range", "") == f"bytes */{start}":
            return  # an earlier run had it all and stopped before the check
        part.truncate(0)
        raise ConnectionError("the file has changed on the server") from error
    with answer:
        if answer.headers.get_content_type() == "text/html":
            raise FetchError(f"{answer.url}: answered with a web page instead of the file")
        rest = answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if not (rest and answer.status == http.HTTPStatus.PARTIAL_CONTENT):
            start = 0
        part.truncate(start)
        tag = answer.headers.get("ETag", "")
        _etag(path).write_text("" if tag.startswith("W/") else tag, encoding="ascii")
        total = start + int(answer.headers.get("Content-Length", 0))
        require_space(path.parent, total - start)
        _pour(answer, part, total=total, name=path.name, start=start)
        if part.tell() < total:
            raise ConnectionError(f"broken at {readable(part.tell())} of {readable(total)}")


def _pour(
    content: BinaryIO | http.client.HTTPResponse, part: BinaryIO, *, total: int, name: str, start: int = 0
) -> None:
    with tqdm(total=total or None, initial=start, desc=name, unit="B", unit_scale=True, leave=False) as bar:
        while chunk := content.read(CHUNK):
            part.write(chunk)
            bar.update(len(chunk))
    part.flush()


def _finish(path: Path, sha256: str | None, *, source: str) -> None:
    """Checks the part and gives it its final name."""
    part = _part(path)
    found = digest(part) if sha256 is not None else None
    if found == sha256:
        part.replace(path)
    else:
        part.unlink()
    _etag(path).unlink(missing_ok=True)
    if found != sha256:
        raise FetchError(f"{source}: has sha256 {found}, expected {sha256}; deleted")
