"""What servers may answer to a download: each is taken for what it is, or refused with one line."""

import itertools
import os

import pytest

from refhcm.utils.download import fetch as module
from refhcm.utils.download.answers import check_address
from refhcm.utils.download.fetch import FetchError, copy, fetch
from refhcm.utils.errors import UserError

CONTENT = bytes(range(256)) * 40
HALF = len(CONTENT) // 2
TAG = '"v1"'


@pytest.fixture
def get(server, tmp_path):
    """Downloads a file that the server answers with this. The path it was downloaded to."""

    def download(status, headers, *body, **about):
        server.answers["a.bin"] = status, headers, body or [CONTENT]
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin", **about)
        return tmp_path / "a.bin"

    return download


@pytest.fixture
def begun(tmp_path):
    """An earlier run's half of the file."""
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:HALF])
    (tmp_path / "a.bin.part.etag").write_text(TAG)
    return tmp_path / "a.bin.part"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("length", ["-5", "many", "1e3", "", "5, 5", "9" * 30, "9" * 5000, "\u00b2"])
def test_a_length_that_is_no_number(get, begun, length):
    with pytest.raises(FetchError, match=r"a.bin: answered with Content-Length '.*', expected a number of bytes"):
        get(200, {"Content-Length": length})
    assert begun.read_bytes() == CONTENT[:HALF]


def test_a_length_beyond_the_disk(get, begun):
    with pytest.raises(FetchError, match=r"the disk has .* left, 100000.0 TB needed"):
        get(200, {"Content-Length": str(10**17)})
    assert begun.read_bytes() == CONTENT[:HALF]


@pytest.mark.parametrize("length", [HALF, 2 * len(CONTENT)])
def test_a_length_other_than_the_known_size(get, begun, length):
    with pytest.raises(FetchError, match=rf"a.bin: has .*\({length}\), expected .*\({len(CONTENT)}\)"):
        get(200, {"Content-Length": str(length)}, size=len(CONTENT))
    assert begun.read_bytes() == CONTENT[:HALF]


@pytest.mark.parametrize("tag", ["\xe9", "a b", "", "W/1", '"' + "t" * 5000 + '"'])
def test_a_version_that_cannot_be_sent_back_is_no_version(get, server, tmp_path, tag):
    with pytest.raises(FetchError, match="run the same command again"):
        get(200, {"ETag": tag, "Content-Length": str(len(CONTENT))}, CONTENT[:HALF])
    assert names(tmp_path) == ["a.bin.part"]
    assert get(200, {}).read_bytes() == CONTENT
    assert {asked for _, asked in server.requests} == {None}


@pytest.mark.parametrize("kept", [b"\xff\xfe", b"a\r\nX-Header: b", b""])
def test_a_damaged_version_file_is_no_version(get, begun, server, tmp_path, kept):
    (tmp_path / "a.bin.part.etag").write_bytes(kept)
    assert get(200, {}).read_bytes() == CONTENT
    assert server.requests == [("a.bin", None)]


def test_a_body_without_a_length_comes_whole(get):
    assert get(200, {}).read_bytes() == CONTENT


def test_chunks_count_for_themselves(get):
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(CONTENT), CONTENT)
    assert get(200, {"Transfer-Encoding": "chunked", "Content-Length": "7"}, body).read_bytes() == CONTENT


@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_a_body_that_never_ends(server, tmp_path, monkeypatch, size):
    monkeypatch.setattr(module, "LARGEST", 20_000)
    server.answers["a.bin"] = 200, {}, itertools.repeat(bytes(1000))
    with pytest.raises(FetchError, match=r"a.bin: goes on after (20.0|10.2) KB, expected its end; deleted"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin", size=size)
    assert names(tmp_path) == []


def test_a_body_without_a_length_that_ends_early(get, tmp_path):
    with pytest.raises(FetchError, match=r"no connection \(broken at 5.1 KB of 10.2 KB\); run the same command again"):
        get(200, {"ETag": TAG}, CONTENT[:HALF], size=len(CONTENT))
    assert (tmp_path / "a.bin.part").read_bytes() == CONTENT[:HALF]


@pytest.mark.parametrize(
    "answer",
    [
        {"Content-Range": f"bytes 0-{HALF - 1}/{len(CONTENT)}", "Content-Length": str(HALF)},  # the first half
        {"Content-Range": f"bytes 7-{len(CONTENT) - 1}/{len(CONTENT)}"},
        {"Content-Range": f"bytes {HALF + 1}-{len(CONTENT) - 1}/{len(CONTENT)}"},
        {"Content-Range": "bytes */7"},
        {"Content-Range": f"bytes {HALF}-{len(CONTENT) - 1}/{len(CONTENT)}", "ETag": '"v2"'},
        {},
    ],
)
def test_a_part_other_than_asked_for_is_not_the_file(get, begun, tmp_path, answer):
    with pytest.raises(FetchError, match=r"no connection"):
        get(206, answer, CONTENT[HALF:])
    assert not (tmp_path / "a.bin").exists()
    assert get(200, {}).read_bytes() == CONTENT


@pytest.mark.parametrize("total", [len(CONTENT), "*"])
def test_the_rest_of_a_file(get, begun, total):
    path = get(206, {"Content-Range": f"bytes {HALF}-{len(CONTENT) - 1}/{total}"}, CONTENT[HALF:], size=len(CONTENT))
    assert path.read_bytes() == CONTENT


def test_a_shorter_rest_than_asked_for_is_not_the_end(get, begun, server):
    rest = {"Content-Range": f"bytes {HALF}-{HALF + 9}/{len(CONTENT)}", "Content-Length": "10", "ETag": TAG}
    with pytest.raises(FetchError, match="no connection"):
        get(206, rest, CONTENT[HALF : HALF + 10])
    assert server.requests[1] == ("a.bin", f"bytes={HALF + 10}-")


def test_a_rest_of_unknown_total_that_ends_early(get, begun, server):
    rest = {"Content-Range": f"bytes {HALF}-{len(CONTENT) - 1}/*", "Content-Length": str(HALF), "ETag": TAG}
    with pytest.raises(FetchError, match="no connection"):
        get(206, rest, CONTENT[HALF : HALF + 10])
    assert server.requests[1] == ("a.bin", f"bytes={HALF + 10}-")


def test_the_whole_file_in_answer_to_a_part(get, begun, server):
    assert get(200, {"Content-Length": str(len(CONTENT))}).read_bytes() == CONTENT
    assert server.requests == [("a.bin", f"bytes={HALF}-")]


@pytest.mark.parametrize("said", [f"bytes */{HALF}", "bytes */99", "rubbish", ""])
def test_no_such_part(get, begun, server, tmp_path, said):
    with pytest.raises(FetchError, match="the server says 416"):
        get(416, {"Content-Range": said, "Content-Length": "0"}, size=len(CONTENT))  # not even from the start
    assert [asked for _, asked in server.requests] == [f"bytes={HALF}-", None]
    assert get(200, {}).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("status", "headers", "message"),
    [
        (200, {"Content-Type": "text/html"}, "a web page instead of the file"),
        (200, {"Content-Encoding": "gzip"}, "in the encoding 'gzip', expected the file as it is"),
        (204, {}, "the server says 204"),
        (503, {}, "the server says 503"),
    ],
)
def test_what_is_not_the_file_leaves_the_part_alone(get, begun, status, headers, message):
    with pytest.raises(FetchError, match=message):
        get(status, headers)
    assert begun.read_bytes() == CONTENT[:HALF]


@pytest.mark.parametrize(
    "place", ["file:///etc/passwd", "ftp://127.0.0.1/a.bin", "data:,a", "http://[::", "http://a b:c/"]
)
def test_a_redirect_to_what_is_no_web_address(server, tmp_path, place):
    server.redirects["a.bin"] = place
    with pytest.raises(FetchError, match=r"a.bin: (sends us to|cannot be asked for|the server says 302)"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin")
    assert names(tmp_path) == []


def test_a_redirect_to_a_long_place_is_a_short_line(server, tmp_path):
    server.redirects["a.bin"] = "ftp://host/" + "y" * 50_000
    with pytest.raises(FetchError, match=r"a.bin: sends us to") as error:
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin")
    assert len(str(error.value)) < 300


def test_a_redirect_in_a_circle(server, tmp_path):
    server.redirects["a.bin"] = "/a.bin"
    with pytest.raises(FetchError, match=r"the server says 302 .*infinite loop"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin")


def test_the_page_of_a_redirect_is_not_read(server, tmp_path):
    server.answers["a.bin"] = 302, {"Location": "/b.bin"}, itertools.repeat(bytes(1000))
    server.files["b.bin"] = CONTENT
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/a",
        "file:///a",
        "http://",
        "http://host:port/a",
        "http://host:99999/",
        "http://[::1/a",
        "http://a..b/",
    ],
)
def test_addresses_that_are_none(tmp_path, url):
    with pytest.raises(UserError, match=r"not an address, expected http://HOST"):
        check_address(url)
    with pytest.raises(UserError, match="not an address"):
        fetch(url, tmp_path / "a.bin")
    assert names(tmp_path) == []


@pytest.mark.parametrize("end", [".part", ".part.etag"])
def test_a_symlink_in_the_place_of_a_part_is_not_followed(server, tmp_path, end):
    server.answers["a.bin"] = 200, {"ETag": TAG}, [CONTENT]
    mine = tmp_path / "mine"
    mine.write_text("my own")
    (tmp_path / f"a.bin{end}").symlink_to(mine)
    if end == ".part":
        with pytest.raises(FetchError, match=r"a.bin.part: is no regular file; move it away"):
            fetch(f"{server.url}/a.bin", tmp_path / "a.bin")
    else:
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin")
        assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert mine.read_text() == "my own"


def test_a_symlink_that_comes_after_the_check(server, tmp_path, monkeypatch):
    mine = tmp_path / "mine"
    mine.write_text("my own")
    (tmp_path / "a.bin.part").symlink_to(mine)
    monkeypatch.setattr(type(mine), "is_symlink", lambda path: False)
    with pytest.raises(FetchError, match=r"a.bin.part: cannot be written"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin")
    assert mine.read_text() == "my own"


def test_a_folder_in_the_place_of_the_file_is_said_before_anything_comes(server, tmp_path):
    (tmp_path / "a.bin").mkdir()
    with pytest.raises(FetchError, match=r"a.bin: is a folder"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin")
    assert not server.requests
    assert names(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_in_the_place_of_a_part(server, tmp_path, make):
    make(tmp_path / "a.bin.part")
    with pytest.raises(FetchError, match=r"a.bin.part: is no regular file"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin")
    (tmp_path / "source").write_bytes(CONTENT)
    with pytest.raises(FetchError, match=r"a.bin.part: is no regular file"):
        copy(tmp_path / "source", tmp_path / "a.bin")
