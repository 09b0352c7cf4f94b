"""A web server on 127.0.0.1 with ranges, entity tags and faults, and the hub's pages that downloads ask for."""

import hashlib
import json
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer(ThreadingHTTPServer):
    """files: path -> content. requests: (path, range asked for). The rest are faults to ask for."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {}
        self.hub = {}  # repository, such as "models/a/b" -> {path: content}
        self.redirects = {}  # path -> address
        self.answers = {}  # path -> (status, headers, an iterable of bytes), sent as they are
        self.requests = []
        self.tokens = []  # what each request came with
        self.break_after = None  # bytes of the next answers, then the connection is closed
        self.ranges = True
        self.content_type = "application/octet-stream"
        self.wrong_hub_digest = False

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        path = self.path.partition("?")[0].lstrip("/")
        self.server.requests.append((path, self.headers.get("Range")))
        self.server.tokens.append(self.headers.get("Authorization"))
        if path in self.server.redirects:
            self.send_response(302)
            self.send_header("Location", self.server.redirects[path])
            return self.end_headers()
        if path in self.server.answers:
            return self.exactly(*self.server.answers[path])
        for name, files in self.server.hub.items():
            repository = name.removeprefix("models/")
            if path in (f"api/{name}", f"api/{name}/revision/main"):
                return self.listing(name, files)
            file = path.removeprefix(f"{repository}/resolve/main/")
            if file != path and file in files:
                return self.send(files[file])
        if path in self.server.files:
            return self.send(self.server.files[path])
        self.send_response(404)
        if path.startswith("api/"):
            self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def exactly(self, status, headers, body):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        with suppress(ConnectionError):  # the reader has enough
            for piece in body:
                self.wfile.write(piece)

    def listing(self, name, files):
        siblings = []
        for path, content in files.items():
            digest = "0" * 64 if self.server.wrong_hub_digest else hashlib.sha256(content).hexdigest()
            lfs = {"size": len(content), "sha256": digest, "pointerSize": 1}
            siblings.append({"rfilename": path, "size": len(content), "blobId": "0" * 40, "lfs": lfs})
        page = json.dumps({"id": name.partition("/")[2], "siblings": siblings}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def send(self, content):
        tag = f'"{hashlib.sha256(content).hexdigest()}"'
        start, asked = 0, self.headers.get("Range")
        fresh = self.headers.get("If-Range") in (None, tag)
        if asked and self.server.ranges and fresh:
            start = int(asked.removeprefix("bytes=").partition("-")[0])
        if start and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Type", self.server.content_type)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        rest = content[start:]
        if self.server.break_after is not None:
            rest = rest[: self.server.break_after]
            self.close_connection = True
        self.wfile.write(rest)


@contextmanager
def serving():
    with FileServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def tree(folder):
    """The files of a folder: path from it -> content."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
