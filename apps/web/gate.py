"""What stands before gradio: which requests reach it, how large they may be, and what every response says."""

import asyncio
import logging
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from ipaddress import ip_address
from urllib.parse import parse_qs, urlsplit

import gradio as gr
from gradio.routes import file_upload_statuses
from starlette.datastructures import Headers, MutableHeaders
from starlette.formparsers import MultiPartException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...data.pictures import MAX_BYTES
from .folder import UPLOAD_SECONDS, Folder
from .logs import log_refused

logger = logging.getLogger(__name__)
API = "/gradio_api/"
UPLOAD = f"{API}upload"
ASKING = (f"{API}queue/join", f"{API}call/")
POSTS = (UPLOAD, *ASKING, f"{API}cancel", f"{API}reset")
INFO = f"{API}info"
MCP = (f"{API}mcp", f"{API}mcp/")
# What the page, its browser and gradio's client get. Others write to the disk, fetch addresses or print what they get.
FILES = ("", "config", "favicon.ico", "manifest.json", "pwa_icon", "robots.txt", "theme.css")
STATE = ("app_id", "info", "openapi.json", "queue/data", "startup-events", "theme.css", "upload_progress")
PLACES = {f"/{name}" for name in FILES} | {f"{API}{name}" for name in STATE}
FOLDERS = ("/assets/", "/static/", "/svelte/", "/pwa_icon/", f"{API}call/", f"{API}file=", f"{API}heartbeat/")
ADDRESSES = (f"{API}file=http:", f"{API}file=https:")  # would be fetched
MAX_UPLOAD = MAX_BYTES + 2**20  # bytes of a request: a picture, and what its form adds
MAX_TOOL_CALL = MAX_UPLOAD * 4 // 3  # assistants write pictures as base64
MAX_REQUEST = 2**20
LISTEN_SECONDS = 30  # within which a program must come for its answer
HEADERS = {
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


class RefusedError(Exception):
    """A request that does not reach gradio. status: HTTP's."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Gate:
    """ASGI middleware around gradio's app.

    page: the page, which knows its public address once it is published. host: the name it listens on, allowed in
    `Host` beside this machine's names and plain IP addresses. A page of another site, whose name was pointed at this
    machine, cannot ask then. mcp: whether assistants' requests pass.
    """

    def __init__(self, app: ASGIApp, *, page: gr.Blocks, folder: Folder, host: str, mcp: bool = False) -> None:
        self.app, self.page, self.folder = app, page, folder
        self.tools = MCP if mcp else ()
        name = socket.gethostname().lower()
        self.names = {"localhost", name, f"{name}.local", host.lower()}
        self._listeners: Counter[str] = Counter()
        # Sessions that nobody listens to, with their questions, since when. A new question has its own time.
        self._unheard: dict[tuple[str, frozenset[str]], float] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        try:
            if scope["type"] != "http":
                raise RefusedError(403, "this page has no such connections")
            await self._pass_on(scope, receive, send_with_headers)
            return
        except RefusedError as error:
            status, reason = error.status, str(error)
        except Exception as error:  # uvicorn would log its text, of which visitors write a part, as it is
            log_refused(logger, f"{scope['method']} {scope['path']}", error)
            status, reason = 500, "the server could not do that"
        if not started and scope["type"] == "http":
            await JSONResponse({"detail": reason}, status)(scope, receive, send_with_headers)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, path = Headers(scope=scope), scope["path"]
        self._check_names(headers)
        self._check_path(scope["method"], path)
        if path.startswith(ASKING) and scope["method"] == "POST":
            await self._drop_abandoned()
        if path == INFO:  # gradio keeps the page's address as the first visitor wrote it
            self.page.app.api_info = None
        if path == UPLOAD:  # gradio keeps the names of all uploads, and does not read them
            self.page.upload_file_set.clear()
        limit = MAX_UPLOAD if path.startswith(UPLOAD) else MAX_TOOL_CALL if path in self.tools else MAX_REQUEST
        size = _content_length(headers, limit)
        body, takes_room = Body(receive, limit), path == UPLOAD or size > MAX_REQUEST
        with self._listening(scope), self.folder.room(size) if takes_room else nullcontext(True) as granted:
            if not granted:
                raise RefusedError(503, "the server has no room for uploads; try again later")
            await self.app(scope, body.receive, send)

    def _check_names(self, headers: Headers) -> None:
        """Refuses requests that came by a name that is not this page's, or from another site's page."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._is_ours(_name(host)):
            raise RefusedError(
                421, "this page does not go by that name: use its IP address, or set GRADIO_ROOT_PATH to its address"
            )
        if (
            origin is not None
            and _authority(origin) != host.lower()
            and _name(_authority(origin)) not in self._public()
        ):
            raise RefusedError(403, "another site cannot use this page")

    def _is_ours(self, name: str) -> bool:
        try:
            ip_address(name)
        except ValueError:
            return name in self.names | self._public()
        return True

    def _public(self) -> set[str]:
        """Its names on the internet: through gradio.live, or a proxy in front."""
        return {_name(_authority(url)) for url in (self.page.share_url, self.page.root_path) if url} - {""}

    def _check_path(self, method: str, path: str) -> None:
        gets = path in PLACES or path in self.tools or path.startswith(FOLDERS)
        if path.startswith(ADDRESSES) or (method in ("GET", "HEAD") and not gets):
            raise RefusedError(404, "this page has no such path")
        posts = path in self.tools or path.startswith(POSTS)
        if method not in ("GET", "HEAD", "OPTIONS") and not (method == "POST" and posts):
            raise RefusedError(404, "this page takes uploads and questions only")

    @contextmanager
    def _listening(self, scope: Scope) -> Iterator[None]:
        """Notes who waits for the answers of a session, for the answer to one question, or for an upload's progress."""
        path, query = scope["path"], parse_qs(scope["query_string"].decode("latin-1"))
        keys = query.get("session_hash" if path == f"{API}queue/data" else "upload_id", [])
        if scope["method"] == "GET" and path.startswith(f"{API}call/"):
            keys = [path.rstrip("/").rpartition("/")[2]]
        self._listeners.update(keys)
        try:
            yield
        finally:
            self._listeners.subtract(keys)
            for key in keys:
                if self._listeners[key] <= 0:
                    del self._listeners[key]
                    file_upload_statuses.stop_tracking(key)  # gradio would keep it
                    file_upload_statuses._signals.pop(key, None)

    async def _drop_abandoned(self) -> None:
        """Forgets sessions that nobody listens to: their waiting questions would hold up the others."""
        queue, now = self.page._queue, time.monotonic()
        sessions: dict[str, set[str]] = queue.pending_event_ids_session
        self._unheard = {
            key: self._unheard.get(key, now)
            for session, events in sessions.items()
            if not (self._listeners[session] or any(self._listeners[event] for event in events))
            for key in [(session, frozenset(events))]
        }
        for (session, _), since in list(self._unheard.items()):
            if now - since > LISTEN_SECONDS:
                await queue.clean_events(session_hash=session)
                sessions.pop(session, None)
                queue.pending_messages_per_session.pop(session, None)


class Body:
    """A request's body, of which at most `limit` bytes are taken, within `UPLOAD_SECONDS`."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive, self._left = receive, limit
        self._end = time.monotonic() + UPLOAD_SECONDS
        self._complete = False

    async def receive(self) -> Message:
        """ASGI's `receive`. A body that is broken off, late or too long is a MultiPartException.

        At that exception, and at no other, gradio deletes what has arrived of an upload.
        """
        if self._complete:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), self._end - time.monotonic())
        except TimeoutError as error:
            raise MultiPartException("the request took too long") from error
        if message["type"] != "http.request":
            raise MultiPartException("the request was broken off")
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise MultiPartException("the request exceeded the maximum allowed size")
        self._complete = not message.get("more_body", False)
        return message


def _content_length(headers: Headers, limit: int) -> int:
    """Bytes that a request announces, or else the most that it may have."""
    text = headers.get("content-length", "")
    length = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
    if length is None:
        return limit
    if length > limit:
        raise RefusedError(413, f"the request exceeded the maximum allowed size of {limit} bytes")
    return length


def _authority(url: str) -> str:
    """`name:port` of an address, "" if it has none, such as the origin `null`."""
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""


def _name(authority: str) -> str:
    """The name, without port, brackets and the final dot; "" if it cannot be read."""
    try:
        return (urlsplit(f"//{authority}").hostname or "").removesuffix(".")
    except ValueError:
        return ""
