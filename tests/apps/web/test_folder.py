"""The page's folder: what is deleted when, and that nothing is left however the page ends."""

import os
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from refhcm.apps.web import folder as module
from refhcm.apps.web.folder import FILE_COST, Folder, page_folder, remove_abandoned
from refhcm.apps.web.stopping import Stop


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "EVERY_SECONDS", 0.01)
    return Folder(tmp_path)


def put(folder, name, size=10):
    path = folder.path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(size))
    return path


def names(folder):
    return {str(path.relative_to(folder.path)) for path in folder.path.rglob("*")}


@pytest.fixture
def later(monkeypatch):
    """`later(seconds)`: so much time has passed."""
    now = module.time.time
    return lambda seconds: monkeypatch.setattr(module.time, "time", lambda: now() + seconds)


def test_old_files_are_deleted_and_examples_stay(folder, later):
    put(folder, "example/park.jpg")
    with folder.swept():
        put(folder, "upload/a.jpg")
        put(folder, "tmp123")  # of an upload that was broken off
        folder.sweep()
        assert {"upload/a.jpg", "tmp123"} <= names(folder)
        later(module.UPLOAD_SECONDS + 1)
        folder.sweep()
        assert "upload/a.jpg" in names(folder)
        assert "tmp123" not in names(folder)
        later(module.KEPT_SECONDS + 1)
        folder.sweep()
        folder.sweep()
        assert names(folder) == {"example", "example/park.jpg"}


def test_a_folder_or_a_link_in_a_file_s_place_does_not_end_the_sweeps(folder, later, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "kept.txt"
    outside.write_text("kept")
    (folder.path / "a.png").mkdir()
    (folder.path / "link").symlink_to(outside.parent)
    os.mkfifo(folder.path / "pipe")
    swept = threading.Event()
    with folder.swept():
        later(module.KEPT_SECONDS + 1)
        put(folder, "upload/a.jpg")
        for _ in range(200):
            if not (folder.path / "upload" / "a.jpg").exists():
                swept.set()
                break
            threading.Event().wait(0.01)
    assert swept.is_set()
    assert outside.exists()


def test_the_oldest_go_first_when_the_budget_is_used(folder):
    folder.budget = 4 * (FILE_COST + 1000)
    for k in range(4):
        os.utime(put(folder, f"{k}/a.jpg", 1000))
        threading.Event().wait(0.02)  # the order of their times
    folder.sweep()
    assert "0/a.jpg" in names(folder)
    with folder.room(1000) as granted:
        assert granted
    assert "0/a.jpg" not in names(folder)
    assert "3/a.jpg" in names(folder)


def test_more_goes_than_must_so_that_the_next_sweep_has_nothing_to_do(folder):
    """Eleven files of 1/10 of the budget: two go, which leaves 9/10."""
    folder.budget = 10 * (FILE_COST + 1000)
    for k in range(11):
        put(folder, f"{k}/a.jpg", 1000)
    folder.sweep()
    assert len([name for name in names(folder) if name.endswith(".jpg")]) == 9
    assert folder._taken == 9 * (FILE_COST + 1000)


def test_half_of_the_disk_is_left_to_others(tmp_path, monkeypatch):
    for free, budget in ((1000, 500), (10 * module.BUDGET, module.BUDGET)):
        monkeypatch.setattr(module.shutil, "disk_usage", lambda path, free=free: SimpleNamespace(free=free))
        assert Folder(tmp_path).budget == budget


def test_uploads_that_arrive_at_once_keep_to_the_budget(folder):
    folder.budget = 2 * FILE_COST + 2000
    with folder.room(1000) as one, folder.room(1000) as two, folder.room(1) as three:
        assert (one, two, three) == (True, True, False)
    with folder.room(1000) as again:  # they have ended, and left nothing
        assert again


def test_what_an_upload_leaves_at_the_top_takes_no_room(folder):
    """Gradio neither moves nor deletes the files of fields with other names."""
    folder.budget = 2 * (FILE_COST + 1000)
    with folder.room(1000):
        put(folder, "left", 1000)
    threading.Event().wait(1.1)
    with folder.room(1000) as one, folder.room(1000) as two:
        assert (one, two) == (True, True)
        assert not names(folder)
        put(folder, "arriving", 1000)
        with folder.room(1000) as three:
            assert not three
        assert names(folder) == {"arriving"}


def test_what_killed_pages_leave_is_removed_by_the_next_start(tmp_path, monkeypatch):
    monkeypatch.setattr(module.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))
    other = tmp_path / f"{module.PREFIX}notes.txt"
    other.write_text("a file of that name")
    (tmp_path / f"{module.PREFIX}link").symlink_to(tmp_path)
    program = f"""
import os, signal, tempfile
tempfile.tempdir = {str(tmp_path)!r}
from refhcm.apps.web.folder import page_folder
with page_folder() as folder:
    (folder.path / "visitor.jpg").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -signal.SIGKILL
    (left,) = [path for path in tmp_path.iterdir() if path.is_dir() and not path.is_symlink()]
    with page_folder() as running:
        assert not left.exists()
        remove_abandoned(tmp_path)  # as another page's start does
        assert running.path.exists()
    assert {path.name for path in tmp_path.iterdir()} == {other.name, f"{module.PREFIX}link"}


@pytest.fixture
def handlers():
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]  # under nohup some are ignored
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_only_the_first_signal_ends_the_work(number, handlers):
    stop, went_on = Stop(), []

    def work():
        try:
            signal.raise_signal(number)
            went_on.append("after the first signal")
        finally:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(number)
            went_on.append("cleaning up")

    stop.during(work)
    signal.raise_signal(number)
    assert went_on == ["cleaning up"]


def test_a_signal_before_the_work_prevents_it(handlers):
    stop, ran = Stop(), []
    signal.raise_signal(signal.SIGTERM)
    stop.during(lambda: ran.append(1))
    assert stop.asked
    assert not ran


def test_an_error_ends_the_work_and_later_signals_wait(handlers):
    stop = Stop()
    with pytest.raises(ValueError, match="of the work"):
        stop.during(lambda: int("of the work"))
    signal.raise_signal(signal.SIGTERM)
    assert stop.asked
