"""What a server answers, checked before any of it is used: where it sends us, which bytes come, of which version."""

import http
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPMessage, HTTPResponse, InvalidURL
from typing import IO
from urllib.parse import urlsplit

from ..errors import UserError, reason_of, shown
from ..files import readable

TIMEOUT_S = 30
_LENGTH = re.compile("[0-9]{1,18}")
_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)")
_TAG = re.compile(r"[!-~]{1,1000}")  # RFC 9110 8.8.3, and what servers send without its quotes


class FetchError(UserError):
    """A file that could not be downloaded, copied or unpacked."""


@dataclass(frozen=True)
class Body:
    """The bytes of a file that an answer holds."""

    start: int  # of the first one in the file; -1: not said
    end: int | None  # bytes of the file when all have come; None: not said
    tag: str  # of the file's version; empty: none that can be compared


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to http and https only, and not from https to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        fp.close()  # else urllib reads its page to the end, which may never come
        allowed = ("https",) if req.type == "https" else ("http", "https")
        if urlsplit(newurl).scheme not in allowed:
            raise FetchError(
                f"{req.full_url}: sends us to {shown(newurl)}, expected an address with {' or '.join(allowed)}"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_opener = urllib.request.build_opener(_Redirects)


def check_address(url: str) -> None:
    """UserError unless files can be asked for there: http or https, a host, and a port that is a number."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        (parts.hostname or "").encode("idna")
    except ValueError:  # UnicodeError is one
        valid = False
    if not valid:
        raise UserError(f"{url}: not an address, expected http://HOST/... or https://HOST/...")


def open_address(request: urllib.request.Request) -> HTTPResponse:
    """The answer to a request. HTTPError, URLError, HTTPException: as urllib. FetchError: not a request."""
    try:
        return _opener.open(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()  # its headers stay
        raise
    except (ValueError, InvalidURL) as error:  # a redirect may lead to such an address
        raise FetchError(f"{request.full_url}: cannot be asked for ({reason_of(error)})") from error


def body_of(answer: HTTPResponse) -> Body:
    """FetchError: not the file, or not as it is. ConnectionError: a part of it at an unknown place."""
    headers, where = answer.headers, answer.url
    if answer.status not in (http.HTTPStatus.OK, http.HTTPStatus.PARTIAL_CONTENT):
        raise FetchError(f"{where}: the server says {answer.status} {answer.reason[:200]}, expected the file")
    if headers.get_content_type() == "text/html":
        raise FetchError(f"{where}: answered with a web page instead of the file")
    encoding = headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise FetchError(f"{where}: answered in the encoding {shown(encoding)}, expected the file as it is")
    tag = entity_tag(headers)
    if answer.status == http.HTTPStatus.PARTIAL_CONTENT:
        match = _RANGE.fullmatch(headers.get("Content-Range", ""))
        if not match:
            return Body(-1, None, tag)
        return Body(int(match[1]), None if match[2] == "*" else int(match[2]), tag)
    return Body(0, _length(headers, where), tag)


def _length(headers: Message, where: str) -> int | None:
    """Content-Length, None without one. It does not count where the body comes in chunks (RFC 9112 6.3)."""
    text = headers.get("Content-Length")
    if text is None or "Transfer-Encoding" in headers:
        return None
    if not _LENGTH.fullmatch(text.strip()):
        raise FetchError(f"{where}: answered with Content-Length {shown(text)}, expected a number of bytes")
    return int(text)


def entity_tag(headers: Message) -> str:
    """The tag of the file's version: printable ASCII, or empty where there is none that can be sent back."""
    return strong(headers.get("ETag", ""))


def strong(tag: str) -> str:
    """The tag if it can be compared byte for byte and sent in a header, else an empty text."""
    return tag if _TAG.fullmatch(tag) and not tag.startswith("W/") else ""


def check_size(where: str, found: int | None, expected: int | None) -> None:
    """FetchError where both sizes are known and differ."""
    if found is not None and expected is not None and found != expected:
        raise FetchError(f"{where}: has {readable(found)} ({found}), expected {readable(expected)} ({expected})")
