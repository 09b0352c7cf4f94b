"""A server on 127.0.0.1 that speaks what huggingface_hub asks of a hub: files by revision, lists, commits."""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class HubServer(ThreadingHTTPServer):
    """repos: OWNER/NAME -> {revision: {path: content}}; a list of files has what lies under "main" or the revision."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos = {}
        self.gets = []  # paths of files that were sent
        self.broken = None  # bytes after which answers with files break off

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


def commit_of(revision):
    return hashlib.sha1(revision.encode()).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.partition("?")[0].lstrip("/")
        owner, name, *rest = path.removeprefix("api/models/").split("/")
        revisions = self.server.repos.get(f"{owner}/{name}")
        if revisions is None:
            return self.answer(404, {"X-Error-Code": "RepoNotFound"})
        revision = rest[1] if len(rest) > 1 else "main"
        files = next((files for r, files in revisions.items() if revision in (r, commit_of(r))), None)
        if files is None:
            return self.answer(404, {"X-Error-Code": "RevisionNotFound"})
        commit = next(commit_of(r) for r in revisions if revision in (r, commit_of(r)))
        if path.startswith("api/"):
            about = {"id": f"{owner}/{name}", "sha": commit, "siblings": [{"rfilename": file} for file in files]}
            tree = [{"type": "file", "path": f, "size": len(files[f]), "oid": "0" * 40} for f in files]
            content = json.dumps(tree if rest[:1] == ["tree"] else about).encode()
            return self.answer(200, {"Content-Type": "application/json"}, content)
        file = "/".join(rest[2:])
        if file not in files:
            return self.answer(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        if self.command == "GET":
            self.server.gets.append(file)
        etag = f'"{hashlib.sha256(files[file]).hexdigest()}"'
        self.answer(200, {"X-Repo-Commit": commit, "ETag": etag}, files[file], broken=self.server.broken)

    def do_POST(self):
        path = self.path.partition("?")[0].lstrip("/")
        size = self.headers.get("Content-Length")
        body = self.rfile.read(int(size)) if size else self.chunked()
        if path == "api/repos/create":
            asked = json.loads(body)
            repo = f"{asked.get('organization') or 'user'}/{asked['name']}"
            self.server.repos.setdefault(repo, {"main": {}})
            answer = {"url": f"{self.server.url}/{repo}", "name": repo}
        elif path == "api/validate-yaml":
            answer = {"errors": [], "warnings": []}
        elif "/preupload/" in path:
            files = [{"path": f["path"], "uploadMode": "regular"} for f in json.loads(body)["files"]]
            answer = {"files": [f | {"shouldIgnore": False, "oid": None} for f in files]}
        else:
            _, _, owner, name, _, revision = path.split("/")
            files = self.server.repos[f"{owner}/{name}"].setdefault(revision, {})
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            commit = commit_of(revision)
            answer = {"commitUrl": f"{self.server.url}/{owner}/{name}/commit/{commit}", "commitOid": commit}
        self.answer(200, {"Content-Type": "application/json"}, json.dumps(answer).encode())

    def chunked(self):
        body = b""
        while count := int(self.rfile.readline(), 16):
            body += self.rfile.read(count)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def answer(self, status, headers, body=b"", *, broken=None):
        self.send_response(status)
        for key, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if broken is None else body[:broken])
        self.close_connection = self.close_connection or broken is not None


@contextmanager
def serving_hub():
    with HubServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
