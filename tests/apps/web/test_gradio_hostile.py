"""The served page under requests that mean harm, and however it is ended."""

import json
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image
from web_page import PATIENCE, Server, broken_pictures, encoded

gradio_client = pytest.importorskip("gradio_client", reason="the page needs the `demo` extra")
pytest.importorskip("gradio")

from refhcm.apps.web.gate import API, MAX_REQUEST  # noqa: E402

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=e"}
FILE = b'--e\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\n\r\n'
ALLOWED = 1.1  # memory afterwards / memory before
HUGE = 8_880  # px: 79 megapixels


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server("--device=cpu", "--concurrency=6", log=tmp_path_factory.mktemp("page") / "log.txt")
    yield server
    assert server.stop() == 0
    assert not list(server.temporary.iterdir())
    log = server.log.read_text()
    assert "Traceback" not in log
    assert not [line for line in log.splitlines() if line.startswith("FORGED")]
    assert "\x1b[31m" not in log


def given(path):
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def asked(data):
    return json.dumps({"data": data})


def hostile(server):
    """(method, path, body, headers) of requests that get no answer."""
    call = f"{API}call/refer"
    join = {"data": [None] * 12, "session_hash": "s\nFORGED", "event_data": None}
    address = "203.0.113.9/x.jpg"
    evil = {"Host": "evil.example"}
    return [
        ("POST", f"{API}run/refer", asked([None, "a man", False, False, False]), JSON),
        ("POST", f"{API}run/predict", json.dumps({"fn_index": 0, "data": []}), JSON),
        ("POST", f"{API}call/x%0AFORGED%20%1b[31m", asked([]), JSON),
        ("POST", call, b"{" * 100_000, JSON),
        ("POST", call, b"\xff\xfe", JSON),
        ("POST", call, asked(["x" * MAX_REQUEST]), JSON),
        ("POST", call, asked([given("/etc/passwd"), "a", False, False, False]), JSON | {"Origin": "http://evil.example"}),
        ("POST", call, asked([given(str(server.temporary)), "a", False, False, False]), JSON | evil),
        ("POST", f"{API}queue/join", json.dumps(join | {"fn_index": 10**6}), JSON),
        ("POST", f"{API}queue/join", json.dumps(join | {"fn_index": "0\nFORGED"}), JSON),
        ("POST", f"{API}queue/join", json.dumps({"fn_index": 0, "data": []}), JSON),
        ("POST", f"{API}queue/join", json.dumps({"fn_index": 0, "data": [], "session_hash": "s" * 900_000}), JSON),
        ("POST", call, json.dumps({"data": [], "session_hash": "s" * 900_000}), JSON),
        ("POST", f"{API}upload", b"--e\r\n", FORM),
        ("POST", f"{API}upload", b"no form", {"Content-Type": "text/plain"}),
        ("POST", f"{API}upload", FILE % b".." + b"a\r\n--e--\r\n", FORM),
        ("POST", f"{API}upload", b"--e\r\nContent-Disposition: form-data\r\n\r\nx\r\n--e--\r\n", FORM),
        ("POST", f"{API}component_server", json.dumps({"data": 1}), JSON),
        ("POST", f"{API}process_recording", FILE % b"a.webm" + b"a\r\n--e--\r\n", FORM),
        ("DELETE", "/", None, {}),
        ("GET", "/", None, evil),
        ("GET", "/", None, {"Origin": "null"}),
        ("GET", f"{API}file=/etc/passwd", None, {}),
        ("GET", f"{API}file={server.temporary}", None, {}),
        ("GET", f"{API}file=http://{address}", None, {}),
        ("GET", f"{API}file/http://{address}", None, {}),
        ("GET", f"{API}custom_component/a%0AFORGED/client/b/c", None, {}),
        ("GET", f"{API}upload_progress?upload_id={'u' * 50_000}", None, {}),
        ("GET", f"{API}deep_link?session_hash=x", None, {}),
        ("GET", f"{API}call/refer/none%0AFORGED", None, {}),
        ("GET", f"{API}queue/data", None, {}),
        ("GET", "/static/../../etc/passwd", None, {}),
        ("GET", "/monitoring", None, {}),
    ]  # fmt: skip


def questions(server):
    """(endpoint, data) of questions that the queue takes and that are answered with a sentence."""
    folder = next(server.temporary.glob("*/files"))
    return [
        ("refer", [given(str(folder)), "a man", False, False, False]),  # a folder in a file's place
        ("refer", [given("/etc/passwd"), "a man", False, False, False]),
        ("refer", [given(f"{folder}/../lock"), "a man", False, False, False]),
        ("refer", ["one\nFORGED \x1b[31m"]),
        ("describe", [{"path": {"a": 1}}, "1\nFORGED"]),
        ("describe", [[], []]),
        ("chain", [None] * 8),
        ("instruct", [given("http://203.0.113.9/x.jpg"), "a", 1, 2, 3, 1.0]),
    ]


def broken_off(server, sent=200_000):
    """An upload whose visitor goes away before its end."""
    head = (
        f"POST {API}upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {FORM['Content-Type']}\r\n"
        "Content-Length: 5000000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall(head.encode() + FILE % b"a.png" + bytes(sent))
        time.sleep(0.1)


def test_the_queue_cannot_be_passed_by(server, client, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded())
    answer = client.predict(gradio_client.handle_file(str(path)), "a man", api_name="/refer")
    assert answer["box"] is not None
    for route in ("run", "api"):
        assert server.send("POST", f"{API}{route}/refer", asked([None, "a man"]), JSON)[0] == 404


def test_a_request_that_means_harm_is_refused(server):
    for request in hostile(server):
        status, headers, body = server.send(*request)
        assert status >= 400 or b"error" in body or body == b"[]", request  # []: a form without a file
        assert headers["X-Frame-Options"] == "DENY", request
        assert str(server.temporary) not in body.decode().replace(request[1].removeprefix(f"{API}file="), ""), request
    for endpoint, data in questions(server):
        answer = server.ask(endpoint, data)
        assert "event: error" in answer
        assert "/files" not in answer
        assert "root" not in answer
    assert server.answers()


def test_an_address_in_one_request_is_not_shown_to_others(server):
    info = f"{API}info"
    for headers in ({"X-Forwarded-Host": "evil.example"}, {"Host": "203.0.113.9"}):
        assert server.send("GET", info, headers=headers)[0] == 200
        assert headers.popitem()[1].encode() not in server.send("GET", info)[2]


def test_a_broken_off_upload_leaves_nothing(server):
    before = set(server.uploads())
    for sent in (0, 1000, 2_000_000):
        broken_off(server, sent)
    end = time.monotonic() + 10
    while set(server.uploads()) - before and time.monotonic() < end:
        time.sleep(0.1)
    assert set(server.uploads()) == before


@pytest.mark.slow
def test_one_huge_picture_at_a_time(server, client, tmp_path):
    """Six questions about a picture of 79 megapixels: each takes up to 2.5 GB while it is answered."""
    big, small = tmp_path / "big.png", tmp_path / "small.png"
    Image.new("RGBA", (HUGE, HUGE), (200, 100, 50, 128)).save(big, compress_level=1)
    small.write_bytes(encoded())

    def ask(path, *wanted):
        return client.predict(gradio_client.handle_file(str(path)), "a man", *wanted, api_name="/refer")

    for _ in range(10):
        ask(small, True, True)
    before, right = server.memory(), ask(big)
    server.forget_most_memory()
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(ask, [big] * 6)) == [right] * 6
    assert server.most_memory() < before + 2.5 * 2**30
    time.sleep(1)
    assert server.memory() < ALLOWED * before


@pytest.mark.slow
def test_many_mixed_and_hostile_requests_leave_it_as_it_was(server, client, tmp_path):
    good = tmp_path / "good.png"
    good.write_bytes(encoded())
    file = gradio_client.handle_file(str(good))
    calls = [
        (["a man"], "/refer"), (["a man", True], "/refer"), (["a man", False, True, True], "/refer"),
        (["1, 2, 60, 80"], "/describe"), (["a man", True, False], "/chain"), (["where is a man"], "/instruct"),
    ]  # fmt: skip

    def mixed(k):
        given, endpoint = calls[k % len(calls)]
        return client.predict(file, *given, api_name=endpoint)

    alone = [mixed(k) for k in range(len(calls))]

    def fifty():
        with ThreadPoolExecutor(50) as pool:
            return list(pool.map(mixed, range(50)))

    def three_hundred():
        rubbish, done = list(broken_pictures().values()), 0
        while done < 300:
            jobs = [lambda r=request: server.send(*r) for request in hostile(server)]
            jobs += [lambda q=question: server.ask(*q) for question in questions(server)]
            jobs += [lambda: broken_off(server)] * 3
            jobs += [lambda d=data: server.send("POST", f"{API}upload", FILE % b"a.png" + d, FORM) for data in rubbish]
            with ThreadPoolExecutor(10) as pool:
                for job in [pool.submit(job) for job in jobs]:
                    job.result(PATIENCE)
            done += len(jobs)

    fifty()  # allocates all that is allocated once
    memory = server.memory()
    assert fifty() == [alone[k % len(calls)] for k in range(50)]
    three_hundred()
    assert [mixed(k) for k in range(len(calls))] == alone
    time.sleep(1)
    assert server.memory() < ALLOWED * memory, [server.memory() >> 20, memory >> 20]


ENDINGS = {
    "SIGINT": [signal.SIGINT],
    "SIGTERM": [signal.SIGTERM],
    "SIGHUP": [signal.SIGHUP],
    "two": [signal.SIGINT, signal.SIGTERM],
    "four": [signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGHUP],
}


def test_a_page_that_is_open_in_a_browser_ends_without_a_traceback(tmp_path):
    server = Server("--device=cpu", log=tmp_path / "log.txt")
    with socket.create_connection(("127.0.0.1", server.port)) as browser:
        browser.sendall(f"GET {API}heartbeat/abc HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert b"200 OK" in browser.recv(1000)
        end = time.monotonic() + PATIENCE
        while f"Open {server.url}" not in server.log.read_text() and time.monotonic() < end:  # what to do next
            time.sleep(0.1)
        assert time.monotonic() < end
        assert server.stop() == 0
    assert "Traceback" not in server.log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("ending", list(ENDINGS))
def test_nothing_is_left_however_it_ends(ending, tmp_path):
    """While a visitor uploads, one listens, and questions wait and are being answered."""
    server = Server("--device=cpu", log=tmp_path / "log.txt")
    path = upload(server)
    with socket.create_connection(("127.0.0.1", server.port)) as listener, ThreadPoolExecutor(1) as pool:
        listener.sendall(f"GET {API}heartbeat/abc HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        for _ in range(20):
            server.send("POST", f"{API}call/refer", asked([given(path), "a man", True, True, False]), JSON)
        pool.submit(broken_off, server, 4_000_000)
        assert server.stop(*ENDINGS[ending]) == 0
    assert not list(server.temporary.iterdir())
    assert "Traceback" not in server.log.read_text()


@pytest.mark.slow
def test_the_next_start_removes_what_a_killed_page_left(tmp_path):
    killed = Server("--device=cpu", log=tmp_path / "killed.txt")
    path = Path(upload(killed))
    assert killed.stop(signal.SIGKILL) == -signal.SIGKILL
    assert path.exists()
    server = Server("--device=cpu", log=tmp_path / "log.txt", temporary=killed.temporary)
    assert not path.exists()
    assert len(list(server.temporary.iterdir())) == 1
    assert server.stop() == 0
    assert not list(server.temporary.iterdir())


def upload(server):
    """The path at which the server keeps an uploaded picture."""
    status, _, body = server.send("POST", f"{API}upload", FILE % b"a.png" + encoded() + b"\r\n--e--\r\n", FORM)
    assert status == 200
    return json.loads(body)[0]
