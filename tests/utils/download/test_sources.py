"""Listings of a hub and addresses that cannot be used are one line each; nothing here leaves 127.0.0.1."""

import json

import pytest
from file_server import serving

from refhcm.apps.cli import main as cli
from refhcm.utils.download import sources


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", f"{server.url}/")
        yield server


def run(*arguments):
    return cli.main(["download", *map(str, arguments)])


def sibling(**about):
    return json.dumps({"id": "a/b", "siblings": [{"rfilename": "refhcm.pt", "size": 1, **about}]})


PAGES = {
    "a page": "<html>sign in</html>",
    "nothing": "",
    "half": '{"id": "a/b", "siblings": [',
    "a list": "[1]",
    "null": "null",
    "deep": "[" * 100_000,
    "files of numbers": '{"id": "a/b", "siblings": [1, 2]}',
    "files without names": '{"id": "a/b", "siblings": [{}]}',
    "a number": '{"id": "a/b", "siblings": 5}',
    "a name that is none": sibling(rfilename=5),
    "half a letter": sibling(rfilename="\ud800"),
    "a size below 0": sibling(size=-1),
    "a huge size": sibling(size=10**40),
    "a size of letters": sibling(size="big"),
    "lfs of letters": sibling(lfs="x"),
    "no digest": sibling(lfs={"size": 1, "sha256": "x", "pointerSize": 1}),
    "a digest of numbers": sibling(lfs={"size": 1, "sha256": 5, "pointerSize": 1}),
}


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("kind", ["text/html", "application/json"])
def test_a_listing_that_is_none(server, tmp_path, capsys, page, kind):
    server.answers["api/models/a/b"] = 200, {"Content-Type": kind}, [PAGES[page].encode("utf-8")]
    assert run("refhcm", "--root", tmp_path, "--repo", "a/b") == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert message.startswith("error: a/b: ")
    assert len(message) < 400
    assert list(tmp_path.rglob("*.pt*")) == []


@pytest.mark.parametrize("hub", ["nowhere", "file:///tmp", "http://[::1", "http://127.0.0.1:port", "http://a\x1b..b"])
def test_a_hub_whose_address_is_none(monkeypatch, tmp_path, capsys, hub):
    monkeypatch.setenv("HF_ENDPOINT", hub)
    assert run("refhcm", "--root", tmp_path) == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert "not an address, expected http://HOST" in message


@pytest.mark.parametrize("place", ["http://", "http://[::1", "https://host:port/x", "http://a..b"])
def test_a_place_whose_address_is_none(tmp_path, capsys, place):
    assert run("vocabulary", "--root", tmp_path, "--from", place) == 2
    assert "not an address, expected http://HOST" in capsys.readouterr().err


def test_an_address_with_other_letters(server, tmp_path):
    server.files["%C3%A4%20b/c"] = b"content"
    (file,) = sources.on_the_web(f"{server.url}/ä b", ["c"])
    file.get(tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == b"content"


def test_another_size_than_the_hub_lists(server, tmp_path, capsys):
    server.hub["models/JJJYmmm/RefHCM"] = {"refhcm.pt": bytes(11_000)}
    server.answers["JJJYmmm/RefHCM/resolve/main/refhcm.pt"] = 200, {"Content-Length": "7"}, [b"cut off"]
    assert run("refhcm", "--root", tmp_path) == 2
    assert "refhcm.pt: has 7 bytes (7), expected 11.0 KB (11000)" in capsys.readouterr().err
    assert list(tmp_path.rglob("*.pt*")) == []
