"""Downloads and copies are complete or absent, and an interrupted download resumes where it stopped."""

import errno
import fcntl
import hashlib
import os
import shutil
import zipfile

import pytest
from file_server import serving

from refhcm.utils.download import fetch as module
from refhcm.utils.download.fetch import FetchError, copy, fetch, unpack
from refhcm.utils.files import readable

CONTENT = bytes(range(256)) * 400
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(server):
    server.files["a.bin"] = CONTENT
    return server


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("sha256", [None, SHA256])
def test_a_file_comes_whole(server, tmp_path, sha256):
    fetch(f"{server.url}/a.bin", tmp_path / "new" / "a.bin", sha256=sha256)
    assert (tmp_path / "new" / "a.bin").read_bytes() == CONTENT
    assert names(tmp_path / "new") == ["a.bin"]


@pytest.mark.parametrize("sha256", [None, SHA256])
def test_a_broken_connection_goes_on_at_once_and_in_the_next_run(server, tmp_path, sha256):
    server.break_after = 5000
    with pytest.raises(FetchError, match=r"no connection .*run the same command again to resume"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin", sha256=sha256)
    assert [asked for _, asked in server.requests] == [None, "bytes=5000-", "bytes=10000-", "bytes=15000-"]
    assert names(tmp_path) == ["a.bin.part", "a.bin.part.etag"]
    server.break_after = None
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin", sha256=sha256)
    assert server.requests[-1][1] == "bytes=20000-"
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert names(tmp_path) == ["a.bin"]


def half(server, tmp_path):
    server.break_after = 5000
    with pytest.raises(FetchError):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin")
    server.break_after = None


def test_another_file_under_the_same_address_is_fetched_anew(server, tmp_path):
    half(server, tmp_path)
    server.files["a.bin"] = CONTENT[::-1]
    server.requests.clear()
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT[::-1]
    assert len(server.requests) == 1  # it named the version that it has a part of


def test_a_server_without_ranges(server, tmp_path):
    half(server, tmp_path)
    server.ranges = False
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_part_of_unknown_origin_is_not_trusted(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(b"something else")
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_whole_part_only_needs_its_check(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin", sha256=SHA256)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_part_that_is_too_long_is_fetched_anew(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(CONTENT + b"x")
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin", sha256=SHA256)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_wrong_content_is_not_kept(server, tmp_path):
    with pytest.raises(FetchError, match=rf"/a.bin: has sha256 {SHA256}, expected 1234; deleted"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin", sha256="1234")
    assert names(tmp_path) == []


def test_a_token_is_for_the_first_host_alone(server, tmp_path):
    with serving() as other:
        other.redirects["a"] = f"{server.url}/a.bin"
        fetch(f"{other.url}/a", tmp_path / "a.bin", token="secret")
        assert other.tokens == ["Bearer secret"]
    assert server.tokens == [None]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_refusals(server, tmp_path):
    with pytest.raises(FetchError, match=r"/none.bin: the server says 404"):
        fetch(f"{server.url}/none.bin", tmp_path / "none.bin")
    server.content_type = "text/html; charset=utf-8"
    with pytest.raises(FetchError, match="answered with a web page"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin")
    server.server_close()
    with pytest.raises(FetchError, match=r"no connection .*refused") as error:
        fetch(f"{server.url}/a.bin", tmp_path / "b.bin")
    assert "resume" not in str(error.value)
    assert not any((tmp_path / name).exists() for name in ("none.bin", "a.bin", "b.bin"))


def test_a_full_disk_is_said_before_anything_comes(server, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9, 5))
    with pytest.raises(FetchError, match=r"the disk has 5 bytes left, 102.4 KB needed"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin")
    with pytest.raises(FetchError, match="5 bytes left"):
        copy(_write(tmp_path / "b.bin"), tmp_path / "c.bin")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9, len(CONTENT)))
    copy(_write(tmp_path / "b.bin"), tmp_path / "c.bin")


def test_a_disk_that_fills_up(server, tmp_path, monkeypatch):
    def pour(content, part, **about):
        part.write(content.read(3000))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(module, "_pour", pour)
        with pytest.raises(FetchError, match=r"a.bin.part: cannot be written: No space left.*; make room and run"):
            fetch(f"{server.url}/a.bin", tmp_path / "a.bin", sha256=SHA256)
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin", sha256=SHA256)
    assert server.requests[-1][1] == "bytes=3000-"
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FetchError, match="cannot be written: Not a directory"):
        fetch(f"{server.url}/a.bin", tmp_path / "file" / "new" / "a.bin")


def test_two_runs_do_not_write_one_part(server, tmp_path):
    with open(tmp_path / "a.bin.part", "ab") as part:
        fcntl.flock(part, fcntl.LOCK_EX)
        with pytest.raises(FetchError, match="another download is writing it"):
            fetch(f"{server.url}/a.bin", tmp_path / "a.bin")


def test_nobody_writes_to_a_part_that_is_being_checked(server, tmp_path, monkeypatch):
    real, seen = module.digest, []

    def slow(place):
        with pytest.raises(FetchError, match="another download is writing it"):
            fetch(f"{server.url}/a.bin", tmp_path / "a.bin")
        seen.append(place.name)
        return real(place)

    monkeypatch.setattr(module, "digest", slow)
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin", sha256=SHA256)
    copy(_write(tmp_path / "source"), tmp_path / "a.bin", sha256=SHA256)
    assert seen == ["a.bin.part"] * 2
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert names(tmp_path) == ["a.bin", "source"]


def test_a_part_that_got_its_final_name_before_the_lock_is_not_written(server, tmp_path, monkeypatch):
    real = module.lock

    def late(part):
        (tmp_path / "a.bin.part").write_bytes(CONTENT)
        (tmp_path / "a.bin.part").replace(tmp_path / "a.bin")
        real(part)

    monkeypatch.setattr(module, "lock", late)
    with pytest.raises(FetchError, match="another download is writing it"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def _write(path):
    path.write_bytes(CONTENT)
    return path


def test_copies_are_checked_too(tmp_path):
    source = _write(tmp_path / "source")
    copy(source, tmp_path / "out" / "a", sha256=SHA256)
    assert (tmp_path / "out" / "a").read_bytes() == CONTENT
    with pytest.raises(FetchError, match="source: has sha256"):
        copy(source, tmp_path / "out" / "b", sha256="1234")
    with pytest.raises(FileNotFoundError):
        copy(tmp_path / "none", tmp_path / "out" / "c")
    assert names(tmp_path / "out") == ["a"]
    assert source.exists()


@pytest.mark.parametrize("prefix", ["", "annos/"])
def test_archives_with_and_without_their_own_folder(tmp_path, prefix):
    with zipfile.ZipFile(tmp_path / "annos.zip", "w") as archive:
        archive.writestr(f"{prefix}imgs/a.jpg", "a")
        archive.writestr(f"{prefix}gts/a.npy", "b")
    unpack(tmp_path / "annos.zip", tmp_path / "annos")
    assert (tmp_path / "annos" / "imgs" / "a.jpg").read_text() == "a"
    assert (tmp_path / "annos" / "gts" / "a.npy").read_text() == "b"
    assert names(tmp_path) == ["annos", "annos.zip"]


def test_a_broken_archive(tmp_path):
    (tmp_path / "annos.zip").write_bytes(b"no archive")
    with pytest.raises(FetchError, match=r"annos.zip: cannot be unpacked"):
        unpack(tmp_path / "annos.zip", tmp_path / "annos")
    assert names(tmp_path) == ["annos.zip"]


@pytest.mark.parametrize("damage", ["password", "content"])
def test_an_archive_that_cannot_be_read_to_its_end(tmp_path, damage):
    path = tmp_path / "annos.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(range(256)) * 40)
    data = bytearray(path.read_bytes())
    if damage == "password":
        data[6] |= 1  # a flag in the file's header and in the directory
        data[data.index(b"PK\1\2") + 8] |= 1
    else:
        data[31:60] = b"\xff" * 29
    path.write_bytes(data)
    with pytest.raises(FetchError, match=r"annos.zip: cannot be unpacked"):
        unpack(path, tmp_path / "annos")
    assert not (tmp_path / "annos").exists()


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside", "C:\\outside", "a\x1b[2J"])
def test_an_archive_with_a_name_that_leads_outside(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "annos.zip", "w") as archive:
        archive.writestr("good", "a")
        archive.writestr(name, "b")
    with pytest.raises(FetchError, match=r"annos.zip: cannot be unpacked: it holds .*, which leads out of the folder"):
        unpack(tmp_path / "annos.zip", tmp_path / "annos")
    assert names(tmp_path) == ["annos.zip"]


def test_an_archive_larger_than_the_disk_is_not_begun(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "annos.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(6000))
        archive.writestr("b", bytes(4000))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9, 9999))
    with pytest.raises(FetchError, match=r"the disk has 10\.0 KB left, 10\.0 KB needed"):
        unpack(tmp_path / "annos.zip", tmp_path / "annos")
    assert names(tmp_path) == ["annos.zip"]


def test_a_truncated_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "whole.zip", "w") as archive:
        archive.writestr("a", bytes(5000))
    (tmp_path / "annos.zip").write_bytes((tmp_path / "whole.zip").read_bytes()[:3000])
    with pytest.raises(FetchError, match=r"annos.zip: cannot be unpacked: File is not a zip file"):
        unpack(tmp_path / "annos.zip", tmp_path / "annos")
    assert names(tmp_path) == ["annos.zip", "whole.zip"]


def test_a_folder_to_unpack_to_that_is_a_symlink(tmp_path):
    with zipfile.ZipFile(tmp_path / "annos.zip", "w") as archive:
        archive.writestr("a", "new")
    (tmp_path / "mine").mkdir()
    (tmp_path / "annos.part").symlink_to(tmp_path / "mine")
    with pytest.raises(FetchError, match=r"annos.zip: cannot be unpacked: .*File exists"):
        unpack(tmp_path / "annos.zip", tmp_path / "annos")
    assert names(tmp_path / "mine") == []


def test_sizes_to_read():
    assert [readable(size) for size in (0, 999, 1000, 28_900_000_000)] == ["0 bytes", "999 bytes", "1.0 KB", "28.9 GB"]
