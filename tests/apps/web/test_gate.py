"""The gate, before an application that only takes notes: what passes, and how it is refused."""

import asyncio
import json
import time
from types import SimpleNamespace

import pytest

pytest.importorskip("gradio", reason="the page needs the `demo` extra")

from gradio.routes import file_upload_statuses

from refhcm.apps.web import gate as module
from refhcm.apps.web.folder import Folder
from refhcm.apps.web.gate import API, HEADERS, MAX_REQUEST, MAX_UPLOAD, Gate
from refhcm.apps.web.logs import printable
from refhcm.data.pictures import MAX_BYTES

JOIN, UPLOAD = f"{API}queue/join", f"{API}upload"


class Queue:
    def __init__(self, *events):
        self.waiting = SimpleNamespace(queue=list(events))
        self.pending_event_ids_session = {event.session_hash: {event._id} for event in events}
        self.pending_messages_per_session = dict.fromkeys(self.pending_event_ids_session)

    async def clean_events(self, *, session_hash):
        self.waiting.queue = [event for event in self.waiting.queue if event.session_hash != session_hash]


@pytest.fixture
def page():
    return SimpleNamespace(
        share_url=None, root_path="", _queue=Queue(), upload_file_set=set(), app=SimpleNamespace(api_info=None)
    )


@pytest.fixture
def gate(page, tmp_path):
    """`gate(...)`: the gate's answer to a request: status, body, headers. `gate.bodies`: what came through."""
    bodies = []

    async def app(scope, receive, send):
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        bodies.append(body)
        if scope["path"].endswith("fail"):
            raise ValueError("of what a visitor\nERROR wrote")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    guarded = Gate(app, page=page, folder=Folder(tmp_path), host="10.0.0.7")

    def send(method="GET", path="/", host="127.0.0.1:7860", chunks=(b"",), disconnect=False, query=b"", **headers):
        headers = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
        parts = [{"type": "http.request", "body": part, "more_body": True} for part in chunks]
        parts[-1]["more_body"] = disconnect
        sent, parts = [], iter([*parts, {"type": "http.disconnect"}])

        async def receive():
            return next(parts)

        async def note(message):
            sent.append(message)

        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": method, "path": path, "query_string": query, "headers": encoded}
        asyncio.run(guarded(scope, receive, note))
        found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], sent[1].get("body", b"").decode(), found

    send.bodies, send.gate = bodies, guarded
    return send


@pytest.mark.parametrize(
    ("host", "passes"),
    [
        ("127.0.0.1:7860", True), ("localhost:7860", True), ("LOCALHOST", True), ("[::1]:7860", True),
        ("192.168.1.4:7860", True), ("localhost.", True), ("evil.example:7860", False), ("", False),
        ("localhost.evil.example", False), ("127.0.0.1.evil.example", False), ("[::1", False), ("a@b:c:d", False),
    ],
)  # fmt: skip
def test_only_names_of_this_page_pass(gate, host, passes):
    """A site may point its own name at this machine; its script is then of the page's own origin."""
    status, _, headers = gate(host=host)
    assert status == (200 if passes else 421)
    assert {name.lower(): value for name, value in HEADERS.items()}.items() <= headers.items()


@pytest.mark.parametrize(
    ("origin", "passes"),
    [
        ("http://127.0.0.1:7860", True), ("https://127.0.0.1:7860", True), ("http://evil.example", False),
        ("null", False), ("", False), ("http://127.0.0.1:8888", False), ("http://127.0.0.1:7860.evil.example", False),
        ("http://[", False),
    ],
)  # fmt: skip
def test_another_site_cannot_ask(gate, origin, passes):
    status, body, _ = gate("POST", JOIN, origin=origin)
    assert (status, "another site" in body) == ((200, False) if passes else (403, True))


def test_its_public_names_pass(gate, page):
    page.share_url, page.root_path = "https://abc.gradio.live", "https://people.example/refhcm"
    for name in ("abc.gradio.live", "people.example"):
        assert gate(host=name)[0] == 200
        assert gate("POST", JOIN, origin=f"https://{name}")[0] == 200  # a proxy may write its own Host
    assert gate(host="other.gradio.live")[0] == 421
    page.root_path = "/refhcm"
    assert gate(host="")[0] == 421


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"{API}run/refer"), ("POST", f"{API}api/refer"), ("POST", f"{API}process_recording"),
        ("POST", f"{API}component_server"), ("POST", "/login"), ("PUT", UPLOAD), ("DELETE", "/"),
        ("GET", f"{API}deep_link"), ("GET", f"{API}file=http://203.0.113.9/x.jpg"), ("GET", f"{API}proxy=x"),
        ("GET", f"{API}file/http://203.0.113.9/x.jpg"), ("HEAD", f"{API}file=https://203.0.113.9/x.jpg"),
        ("GET", f"{API}custom_component/a\nFORGED/client/b/c"), ("GET", f"{API}dev/reload"), ("GET", "/monitoring"),
    ],
)  # fmt: skip
def test_what_the_page_does_not_need_is_closed(gate, method, path):
    assert gate(method, path)[0] == 404
    assert not gate.bodies


@pytest.mark.parametrize(
    ("path", "limit"), [(JOIN, MAX_REQUEST), (f"{API}call/refer", MAX_REQUEST), (UPLOAD, MAX_UPLOAD)]
)
def test_a_request_is_bounded_whether_it_says_its_size_or_not(gate, path, limit):
    assert gate("POST", path, content_length=str(limit + 1))[0] == 413
    assert gate("POST", path, content_length=str(limit))[0] == 200
    assert gate("POST", path, content_length="9" * 30)[0] != 413  # no number: counted as it comes
    part = bytes(limit // 4)
    assert gate("POST", path, chunks=[part] * 4)[0] == 200
    before = len(gate.bodies)
    assert gate("POST", path, chunks=[part] * 4 + [b"x"])[0] != 200
    assert len(gate.bodies) == before


def test_a_size_that_is_no_number_counts_as_the_most():
    """Python's int and isdigit know more digits than HTTP has."""
    for text in ("", "-1", "4_0", "²", "٣", "9" * 20):
        assert module._content_length({"content-length": text}, 50) == 50
    assert module._content_length({"content-length": "40"}, 50) == 40


def test_a_broken_off_request_ends(gate):
    assert gate("POST", UPLOAD, chunks=[b"half"], disconnect=True)[0] != 200
    assert not gate.bodies
    assert not gate.gate.folder._arriving


def test_a_request_that_trickles_ends(gate, monkeypatch):
    monkeypatch.setattr(module, "UPLOAD_SECONDS", 0)
    assert gate("POST", UPLOAD, chunks=[b"a"])[0] != 200


def test_uploads_are_refused_when_there_is_no_room(gate):
    gate.gate.folder.budget = 100
    status, body, _ = gate("POST", UPLOAD, content_length="101")
    assert (status, "no room" in body) == (503, True)
    assert gate("POST", JOIN)[0] == 200


def test_a_failure_is_one_line_of_the_log_and_says_nothing_to_the_visitor(gate, caplog):
    path = "/static/x\r\nERROR forged\x1b[31m/fail"
    status, body, _ = gate(path=path)
    assert (status, json.loads(body)) == (500, {"detail": "the server could not do that"})
    (record,) = caplog.records
    assert record.getMessage().isprintable()
    assert "ValueError: of what a visitor\\nERROR wrote" in record.getMessage()


def test_printable():
    assert printable("a\nb\x1b[0m\x9b\u202e\u2028é") == "a\\nb\\x1b[0m\\x9b\\u202e\\u2028é"
    assert len(printable("x" * 10_000)) < 400


def test_sessions_that_nobody_listens_to_are_forgotten(gate, page, monkeypatch):
    """Their questions would hold up the others, and gradio would keep their answers."""
    names = [("1", "gone"), ("2", "here"), ("3", "other"), ("4", "late"), ("5", "again")]
    page._queue = queue = Queue(*(SimpleNamespace(_id=name, session_hash=session) for name, session in names))
    gate.gate._listeners.update(["here", "3"])  # a page, and a program that waits for one answer
    assert gate("POST", JOIN)[0] == 200
    gate.gate._listeners.update(["late"])
    now = time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now + module.LISTEN_SECONDS - 1)
    assert gate("POST", JOIN)[0] == 200
    assert [event._id for event in queue.waiting.queue] == ["1", "2", "3", "4", "5"]
    gate.gate._listeners.subtract(["late"])
    queue.pending_event_ids_session["again"].add("6")  # a question of this moment
    monkeypatch.setattr(module.time, "monotonic", lambda: now + module.LISTEN_SECONDS + 1)
    assert gate("POST", JOIN)[0] == 200
    assert [event._id for event in queue.waiting.queue] == ["2", "3", "4", "5"]
    kept = ["here", "other", "late", "again"]
    assert list(queue.pending_event_ids_session) == list(queue.pending_messages_per_session) == kept


def test_what_gradio_keeps_of_each_visitor_is_forgotten(gate, page):
    page.upload_file_set.add("a.png")
    file_upload_statuses.append("some-id", "a.png", b"1234")
    assert gate("POST", UPLOAD, query=b"upload_id=some%2Did")[0] == 200
    assert not page.upload_file_set
    assert "some-id" not in file_upload_statuses._statuses
    assert "some-id" not in file_upload_statuses._signals
    page.app.api_info = {"snippet": "the address that a visitor's headers named"}
    assert gate(path=f"{API}info")[0] == 200
    assert page.app.api_info is None


def test_who_listens_is_noted_as_long_as_they_do(gate):
    asking = gate.gate
    scope = {"method": "GET", "path": f"{API}queue/data", "query_string": b"session_hash=a%62"}
    call = {"method": "GET", "path": f"{API}call/refer/77", "query_string": b""}
    upload = {"method": "POST", "path": UPLOAD, "query_string": b"upload_id=u"}
    with asking._listening(scope), asking._listening(scope), asking._listening(call), asking._listening(upload):
        assert dict(asking._listeners) == {"ab": 2, "77": 1, "u": 1}
    assert not asking._listeners


@pytest.mark.parametrize("mcp", [False, True])
def test_assistants_reach_their_tools_only_where_they_are_served(mcp, gate):
    gate.gate.tools = Gate(None, page=None, folder=None, host="", mcp=mcp).tools
    for method in ("GET", "POST"):
        for path in (f"{API}mcp", f"{API}mcp/"):
            assert (gate(method, path)[0] == 200) == mcp
        for path in (f"{API}mcp/sse", f"{API}mcp/messages/", f"{API}mcp/schema"):
            assert gate(method, path)[0] == 404
    body = bytes(MAX_REQUEST + 1)
    assert (gate("POST", f"{API}mcp/", chunks=(body,), content_length=str(len(body)))[0] == 200) == mcp
    largest = str(-(-MAX_BYTES // 3) * 4)  # a picture of the most bytes, as base64
    assert (gate("POST", f"{API}mcp/", content_length=largest)[0] == 200) == mcp
    gate.gate.folder.budget = MAX_REQUEST  # a tool's call may hold a picture, which takes room as an upload does
    refused = gate("POST", f"{API}mcp/", chunks=(body,), content_length=str(len(body)))[0]
    assert refused == (503 if mcp else 404)
