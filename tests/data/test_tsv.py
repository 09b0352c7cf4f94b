import logging
import os
import pickle
import stat

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_tables import NAMES, boxes, open_large, table, write

from refhcm.data import tsv
from refhcm.data.tsv import TsvFile
from refhcm.utils.errors import DataError, UserError


def test_rows_at_random(tmp_path):
    file = TsvFile(write(tmp_path, table(100)), "0,2", names=NAMES)
    assert len(file) == 100
    for i in (99, 0, 42, 42):
        assert file[i] == {"id": f"id{i}", "box": f"box {i * i}"}
    assert file.where(42) == f"{tmp_path}/rows.tsv:43"
    for i in (-1, 100):
        with pytest.raises(IndexError):
            file[i]


@pytest.mark.parametrize(
    "data",
    [
        b"a\tb\nc\td\n",
        b"a\tb\nc\td",  # no newline at the end
        b"a\tb\r\nc\td\r\n",
        b"a\tb\nc\td\n\n\r\n  \n",  # blank lines at the end
    ],
)
def test_ends_of_lines(tmp_path, data):
    file = TsvFile(write(tmp_path, data), None, names=NAMES)
    assert [file[i] for i in range(len(file))] == [{"id": "a", "box": "b"}, {"id": "c", "box": "d"}]


def test_a_byte_order_mark_is_skipped(tmp_path):
    mark = "\ufeff".encode()
    rows = TsvFile(write(tmp_path, mark + b"a\tx\n" + mark + b"b\ty\n"), "0,1", names=NAMES)
    assert [row["id"] for row in rows] == ["a", "\ufeffb"]


def test_empty_last_column_is_a_column(tmp_path):
    file = TsvFile(write(tmp_path, b"a\tb\nc\t\n"), None, names=NAMES)
    assert file[1] == {"id": "c", "box": ""}


cell = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\r"), max_size=5)


@settings(max_examples=50)
@given(
    rows=st.lists(st.tuples(cell.map(lambda text: "x" + text), cell), min_size=1, max_size=8), chunk=st.integers(1, 9)
)
def test_any_text_comes_back(tmp_path_factory, rows, chunk):
    data = "\n".join("\t".join(row) for row in rows).encode()
    path = write(tmp_path_factory.mktemp("tsv"), data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tsv, "CHUNK", chunk)  # lines that cross the chunks of the scan
        file = TsvFile(path, None, names=NAMES)
    assert [tuple(file[i].values()) for i in range(len(file))] == rows


def test_bad_rows_name_their_line(tmp_path):
    file = TsvFile(write(tmp_path, b"a\tb\tc\n\na\tb\na\tb\t\xff\n"), "0,2", names=NAMES)
    assert file[0] == {"id": "a", "box": "c"}
    for i, message in [
        (1, r"rows\.tsv:2: is blank"),
        (2, r"rows\.tsv:3: has 2 columns, --selected-cols 0,2 needs more"),
        (3, r"rows\.tsv:4: column box: is not UTF-8"),
    ]:
        with pytest.raises(DataError, match=message):
            file[i]


@pytest.mark.parametrize(("data", "message"), [(b"", "is empty"), (b"\n\n", "holds no rows")])
def test_files_without_rows(tmp_path, data, message):
    with pytest.raises(DataError, match=rf"rows\.tsv: {message}"):
        TsvFile(write(tmp_path, data), None, names=NAMES)


def test_missing_file_and_folder(tmp_path):
    for path, message in ((tmp_path / "absent.tsv", r"absent\.tsv: no such file$"), (tmp_path, "is no regular file")):
        with pytest.raises(DataError, match=message):
            TsvFile(path, None, names=NAMES)


def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "rows.tsv")
    with pytest.raises(DataError, match=r"rows\.tsv: is no regular file"):
        TsvFile(tmp_path / "rows.tsv", None, names=NAMES)


@pytest.mark.parametrize("selected_cols", ["0", "0,1,2", "0,x", "", "0,-1", [1]])
def test_bad_selected_cols(tmp_path, selected_cols):
    with pytest.raises(UserError, match="--selected-cols"):
        TsvFile(write(tmp_path, b"a\tb\n"), selected_cols, names=NAMES)


def test_small_file_keeps_no_index(tmp_path):
    TsvFile(write(tmp_path, table(5)), [0, 2], names=NAMES)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.tsv"]


def test_index_is_kept_and_used(tmp_path, monkeypatch):
    path = write(tmp_path, table(50))
    first = boxes(open_large(path))
    index = np.load(tmp_path / "rows.tsv.idx.npy")
    assert index.dtype == np.int64
    assert index[:2].tolist() == [path.stat().st_size, path.stat().st_mtime_ns]
    assert len(index) == 2 + 50 + 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rows.tsv", "rows.tsv.idx.npy"]
    monkeypatch.setattr(tsv, "line_offsets", None)  # building again would fail
    again = open_large(path)
    assert isinstance(again._offsets, np.memmap)
    assert boxes(again) == first


def test_index_is_built_again_when_the_file_changes(tmp_path):
    path = write(tmp_path, table(50))
    open_large(path)
    write(tmp_path, table(60))
    assert boxes(open_large(path)) == [f"box {k * k}" for k in range(60)]
    same_size = table(60).replace(b"id7\tskipped", b"i\t7skipped")
    before = path.stat().st_mtime_ns
    write(tmp_path, same_size)
    os.utime(path, ns=(before + 1, before + 1))
    open_large(path)
    assert np.load(tmp_path / "rows.tsv.idx.npy")[1] == before + 1


@pytest.mark.parametrize("junk", [b"", b"\x93NUMPY", b"junk", "a half", "floats", "2-D", "too far"])
def test_broken_index_is_built_again(tmp_path, junk):
    path = write(tmp_path, table(50))
    os.utime(path, ns=(2**60, 2**60))  # a float holds it: the index of floats differs in its type alone
    index_path = tmp_path / "rows.tsv.idx.npy"
    open_large(path)
    good = np.load(index_path)
    if isinstance(junk, bytes):
        index_path.write_bytes(junk)
    elif junk == "a half":
        index_path.write_bytes(index_path.read_bytes()[:200])
    else:
        far = np.append(good[:-1], 10**9)
        np.save(index_path, {"floats": good.astype(float), "2-D": good[None], "too far": far}[junk])
    assert boxes(open_large(path)) == [f"box {k * k}" for k in range(50)]
    assert np.array_equal(np.load(index_path), good)


def test_read_only_folder(tmp_path, monkeypatch, caplog):
    path = write(tmp_path, table(5))
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(PermissionError("read-only")))
    with caplog.at_level(logging.INFO):
        file = open_large(path)
    assert "read-only" in caplog.text
    assert boxes(file) == ["box 0", "box 1", "box 4", "box 9", "box 16"]
    assert [p.name for p in tmp_path.iterdir()] == ["rows.tsv"]  # nothing half-done is left


def test_index_is_readable_for_others_as_the_umask_says(tmp_path):
    path = write(tmp_path, table(5))
    open_large(path)
    modes = {stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    assert len(modes) == 1


@pytest.mark.parametrize("keep_index_above", [0, 10**6])
def test_pickle_carries_no_mapped_data(tmp_path, keep_index_above):
    path = write(tmp_path, table(1000))
    file = TsvFile(path, "0,2", names=NAMES, keep_index_above=keep_index_above)
    expected = boxes(file)
    pickled = pickle.dumps(file)
    assert len(pickled) < (1000 if keep_index_above == 0 else 10000)
    assert boxes(pickle.loads(pickled)) == expected


def test_file_that_changed_since_it_was_pickled(tmp_path):
    path = write(tmp_path, table(50))
    pickled = pickle.dumps(open_large(path))
    write(tmp_path, table(51))
    file = pickle.loads(pickled)
    for _ in range(2):
        with pytest.raises(DataError, match="has changed"):
            file[0]


@pytest.mark.parametrize("index", [0, 10**6])
@pytest.mark.parametrize("change", ["cut off", "one byte less", "other rows", "emptied", "longer"])
def test_file_that_changes_while_it_is_read(tmp_path, change, index):
    """In place. Where a mapped file was cut off, the process ended with SIGBUS and without a word."""
    path = write(tmp_path, table(20000))
    file = TsvFile(path, "0,2", names=NAMES, keep_index_above=index)
    assert file[19999]["id"] == "id19999"
    before, data = path.stat().st_mtime_ns, path.read_bytes()
    changed = {
        "cut off": data[:100],
        "one byte less": data[:-1],
        "other rows": data[7:] + data[:7],
        "emptied": b"",
        "longer": data + b"x",
    }
    path.write_bytes(changed[change])
    os.utime(path, ns=(before + 1000, before + 1000))
    for i in (19999, 19999, 0):
        with pytest.raises(DataError, match=r"rows\.tsv: has changed while it was being read"):
            file[i]


def test_a_file_that_is_replaced_is_read_on(tmp_path):
    """By a rename: the open file is still there."""
    path = write(tmp_path, table(300))
    file = open_large(path)
    write(tmp_path, b"a\tb\tc\n", name="new.tsv").replace(path)
    assert boxes(file)[299] == "box 89401"


def test_no_handle_is_left(tmp_path):
    path = write(tmp_path, table(300))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(9):
        boxes(open_large(path))
    assert len(os.listdir("/proc/self/fd")) <= before
