"""Tables are written in order, in one piece or not at all, and an interrupted one goes on."""

import errno
import json
import os
import threading
import time
from hashlib import sha256

import pytest

from refhcm.tables.making import writer
from refhcm.tables.making.embedding import Made
from refhcm.tables.making.writer import State, Target, write_table
from refhcm.utils.errors import DataError, UserError

NAMES = [f"picture {k}" for k in range(20)]


def rows(name):
    made = Made([f"{name}\ta", f"{name}\tb"])
    made.left_out.update({"crowd": 1, "small-box": 0})
    made.changed.update({"clipped-box": 2, "turned-picture": 0})
    return made


WHOLE = "".join(f"{name}\ta\n{name}\tb\n" for name in NAMES)


@pytest.fixture
def target(tmp_path):
    (tmp_path / "refs.p").write_bytes(b"refs")
    return Target(tmp_path / "out" / "t.tsv", {"set": "refcoco"}, [tmp_path / "refs.p"], partial=False)


def write(target, work=rows, names=NAMES, workers=3):
    return write_table(target, names, work, before=State(""), workers=workers)


def test_rows_keep_their_order_whoever_is_first(target):
    def slow(name):
        time.sleep(0.02 * (name == NAMES[0]))
        return rows(name)

    write(target, slow)
    assert target.path.read_text() == WHOLE


def test_the_manifest_tells_what_the_table_is_made_of(target):
    manifest = write(target)
    assert manifest == json.loads(target.manifest.read_text())
    assert manifest["output"]["sha256"] == sha256(WHOLE.encode()).hexdigest()
    assert list(manifest["inputs"].values()) == [sha256(b"refs").hexdigest()]
    assert (manifest["rows"], manifest["pictures"]) == (40, 20)
    assert (manifest["left_out"], manifest["changed"]) == ({"crowd": 20}, {"clipped-box": 40})
    assert sorted(path.name for path in target.path.parent.iterdir()) == ["t.manifest.json", "t.tsv"]


def test_a_finished_table_is_not_made_again(target):
    write(target)
    assert write(target, None) is None


@pytest.mark.parametrize("other", ["recipe", "input", "pictures", "table"])
def test_another_table_is_not_overwritten(target, other):
    write(target)
    before, names = target.path.read_text(), NAMES
    if other == "recipe":
        target = Target(target.path, {"set": "refcocog"}, target.inputs, partial=False)
    elif other == "input":
        target.inputs[0].write_bytes(b"others")
    elif other == "pictures":
        names = NAMES[:5]
    else:
        target.manifest.unlink()
    with pytest.raises(UserError, match=r"t\.tsv: exists, and was made otherwise; remove it"):
        write(target, names=names)
    assert target.path.read_text() == before


class Stopped:
    """Ends at a picture with an error, and remembers which pictures it was asked for."""

    def __init__(self, error, at=NAMES[12]):
        self.error, self.at, self.asked = error, at, []

    def __call__(self, name):
        self.asked.append(name)
        if name == self.at:
            raise self.error
        return rows(name)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_an_interrupted_table_goes_on_where_it_was(target, error):
    with pytest.raises((KeyboardInterrupt, UserError), match="run the same command again to resume"):
        write(target, Stopped(error), workers=1)
    assert not target.path.exists()
    again = Stopped(None, at="")
    manifest = write(target, again)
    assert set(again.asked) == set(NAMES[12:])
    assert target.path.read_text() == WHOLE
    assert (manifest["rows"], manifest["left_out"]) == (40, {"crowd": 20})


@pytest.mark.parametrize(("every", "records"), [(3600.0, 1), (-1.0, 21)])
def test_how_far_a_table_is_is_written_now_and_then_and_at_the_end(target, monkeypatch, every, records):
    saved, save = [], writer._save
    monkeypatch.setattr(writer, "_SAVED_EVERY", every)
    monkeypatch.setattr(writer, "_save", lambda *given: (save(*given), saved.append(given[2].pictures)))
    write(target)
    assert saved == [*range(1, 21), 20][-records:]


def test_what_was_written_after_the_last_record_is_cut_off(target):
    with pytest.raises(KeyboardInterrupt):
        write(target, Stopped(KeyboardInterrupt()))
    with target.part.open("a") as part:
        part.write("half a li")
    write(target)
    assert target.path.read_text() == WHOLE


def test_pictures_that_were_added_meanwhile_begin_a_new_table(target):
    with pytest.raises(KeyboardInterrupt):
        write(target, Stopped(KeyboardInterrupt()), names=NAMES[1:])
    write(target)
    assert target.path.read_text() == WHOLE


@pytest.mark.parametrize("spoil", ["", "{}", "[", '{"plan": 3}'])
def test_a_record_that_cannot_be_read_begins_a_new_table(target, spoil):
    with pytest.raises(KeyboardInterrupt):
        write(target, Stopped(KeyboardInterrupt()))
    target.progress.write_text(spoil)
    write(target)
    assert target.path.read_text() == WHOLE


def test_a_full_disk_is_one_line_and_loses_nothing(target, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writer.os, "fsync", full)
    with pytest.raises(UserError, match=r"out: cannot write the table: No space left on device; run the same command"):
        write(target)
    monkeypatch.undo()
    write(target)
    assert target.path.read_text() == WHOLE


def broken(name):
    if name != NAMES[3]:
        return rows(name)
    return Made(faults=[("unreadable-picture", f"{name}: is broken", 2)])


def test_a_fault_stops_or_is_counted(target):
    with pytest.raises(DataError, match="picture 3: is broken; --partial leaves such rows out"):
        write(target, broken)
    assert not target.path.exists()
    manifest = write(partial(target), broken)
    assert manifest["left_out"] == {"crowd": 19, "unreadable-picture": 2}
    assert manifest["problems"] == ["picture 3: is broken"]
    assert target.path.read_text() == WHOLE.replace("picture 3\ta\npicture 3\tb\n", "")


def partial(target):
    return Target(target.path, target.recipe, target.inputs, partial=True)


def test_a_partial_table_is_no_complete_one(target):
    write(partial(target), broken)
    said = (
        r"t\.tsv: an earlier run with --partial left out .* \(1\): picture 3: is broken; .*remove t\.tsv .*--partial$"
    )
    with pytest.raises(UserError, match=said):
        write(target, broken)
    assert write(partial(target), None) is None
    target.path.unlink()
    write(target)
    assert target.path.read_text() == WHOLE


def test_a_partial_table_without_faults_is_complete(target):
    write(partial(target))
    assert write(target, None) is None


class Broken(Stopped):
    """Has a broken picture, too."""

    def __call__(self, name):
        super().__call__(name)
        return broken(name)


def test_an_interrupted_partial_run_goes_on_as_one(target):
    with pytest.raises(KeyboardInterrupt):
        write(partial(target), Broken(KeyboardInterrupt()), workers=1)
    with pytest.raises(
        UserError, match=r"t\.tsv\.part\.json: an earlier run .*: picture 3: is broken; .*add --partial"
    ):
        write(target)
    again = Broken(None, at="")
    assert write(partial(target), again)["problems"] == ["picture 3: is broken"]
    assert set(again.asked) == set(NAMES[12:])


def test_without_its_state_an_interrupted_partial_run_begins_again(target):
    with pytest.raises(KeyboardInterrupt):
        write(partial(target), Broken(KeyboardInterrupt()), workers=1)
    target.progress.unlink()
    write(target)
    assert target.path.read_text() == WHOLE


def test_a_table_without_rows_is_none(target):
    with pytest.raises(DataError, match="no rows are left to write: left out were"):
        write(target, lambda name: Made())
    assert not target.path.exists()


def test_two_runs_do_not_write_the_same_table(target):
    entered, release = threading.Event(), threading.Event()

    def waiting(name):
        entered.set()
        release.wait(20)
        return rows(name)

    first = threading.Thread(target=write, args=(target, waiting))
    first.start()
    try:
        assert entered.wait(20)
        with pytest.raises(UserError, match="another run writes it"):
            write(target)
    finally:
        release.set()
        first.join()
    assert target.path.read_text() == WHOLE


def test_few_pictures_wait_in_memory(target):
    ahead, written = [], []

    def counted(name):
        ahead.append(name)
        return rows(name)

    made = writer._in_order(NAMES * 10, counted, 2)
    for _ in range(5):
        written.append(next(made))
    time.sleep(0.05)
    assert len(ahead) <= len(written) + 2 * writer._AHEAD
    made.close()


def test_the_table_may_be_finished_by_another_step(target):
    def upper(table, out):
        out.write_text(table.read_text().upper())

    finished = Target(target.path, target.recipe, target.inputs, partial=False, finish=upper)
    manifest = write(finished)
    assert target.path.read_text() == WHOLE.upper()
    assert manifest["output"]["sha256"] == sha256(WHOLE.upper().encode()).hexdigest()
    assert os.listdir(target.path.parent).count("t.tsv.part") == 0
