"""Refs files: pickles that cannot run anything, JSON and parquet."""

import json
import os
import pickle

import pytest
from raw_files import ref, write_json

from refhcm.tables.making.refs import KNOWN_REFS, count_refs, find_refs, read_json_lines, read_refs
from refhcm.utils.errors import DataError, UserError


class Runs:
    def __reduce__(self):
        return os.system, ("touch was_run",)


@pytest.mark.parametrize("suffix", [".p", ".json"])
def test_raw_sentences_are_read(tmp_path, suffix):
    records = [ref(182, 579997, 5, "One", "Player's elbow")]
    path = tmp_path / f"refs(unc){suffix}"
    path.write_bytes(pickle.dumps(records, protocol=2) if suffix == ".p" else json.dumps(records).encode())
    (found,) = read_refs(path)
    assert (found.ref_id, found.image_id, found.ann_ids, found.split) == (182, 579997, (5,), "testA")
    assert found.texts == ("One", "Player's elbow")


def test_texts_of_python_2_are_utf_8(tmp_path):
    # Protocol 0 of Python 2: `S'...'` is a string of bytes.
    path = tmp_path / "refs(unc).p"
    text = rb"caf\xc3\xa9"
    path.write_bytes(
        b"(lp0\n(dp1\nS'ref_id'\nI1\nsS'ann_id'\nI2\nsS'image_id'\nI3\nsS'category_id'\nI1\nsS'split'\nS'val'\n"
        b"sS'sentences'\n(lp2\n(dp3\nS'raw'\nS'" + text + b"'\nsasa."
    )
    assert read_refs(path)[0].texts == ("café",)


def test_a_pickle_that_would_run_something_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "refs(unc).p").write_bytes(pickle.dumps([Runs()]))
    with pytest.raises(DataError, match=r"it asks for (posix|nt)\.system, and only lists"):
        read_refs(tmp_path / "refs(unc).p")
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize(
    "content", [b"", b"not a pickle", pickle.dumps([ref(1, 2, 3, "a")])[:-30], b"\x80\x04K\x05.", b"(lp0\n."]
)
def test_broken_pickles_are_refused(tmp_path, content):
    (tmp_path / "refs(unc).p").write_bytes(content)
    with pytest.raises(DataError, match=r"refs\(unc\)\.p: (cannot be read|expected a list)"):
        read_refs(tmp_path / "refs(unc).p")


@pytest.mark.parametrize("missing", ["ref_id", "ann_id", "image_id", "split", "sentences"])
def test_a_ref_without_a_field_is_named(tmp_path, missing):
    records = [ref(1, 2, 3, "a"), ref(2, 2, 3, "b")]
    del records[1][missing]
    with pytest.raises(DataError, match=f"ref 1: expected a ref .*{missing}"):
        read_refs(write_json(tmp_path / "refs.json", records))


@pytest.mark.parametrize(
    ("nobody", "ids"),
    [
        ({"ann_id": [-1], "no_target": True}, ()),
        ({"ann_id": [-1]}, ()),
        ({"ann_id": [4, 7]}, (4, 7)),
        ({"ann_id": [4], "no_target": True}, ()),
    ],
)
def test_refs_about_nobody_or_many(tmp_path, nobody, ids):
    (found,) = read_refs(write_json(tmp_path / "grefs(unc).json", [ref(1, 2, 3, "a") | nobody]))
    assert found.ann_ids == ids


@pytest.mark.parametrize(
    ("split", "wanted", "fits"),
    [("testA", "testA", True), ("testA", "testB", False), ("testA", "test", True), ("test", "testA", True),
     ("validation", "val", True), ("train", "val", False)],
)  # fmt: skip
def test_splits_by_their_names(tmp_path, split, wanted, fits):
    (found,) = read_refs(write_json(tmp_path / "refs.json", [ref(1, 2, 3, "a", split=split)]))
    assert found.in_split(wanted) == fits


@pytest.mark.parametrize(
    ("name", "split_by", "total"),
    [("refcoco", "unc", 50000), ("refcoco", "google", 50000), ("refcocoplus", "unc", 49856),
     ("refcocog", "umd", 49822), ("refcocog", "google", 49822)],
)  # fmt: skip
def test_the_splits_add_up_to_the_objects_of_the_set(name, split_by, total):
    """As the papers of the sets count these."""
    assert sum(KNOWN_REFS[name, split_by].values()) == total


def test_splits_that_a_set_lacks():
    assert count_refs("refcocog", "umd", "test") == 5023
    with pytest.raises(UserError, match=r"--split testA: refcocog \(umd\) has the splits train, val, test$"):
        count_refs("refcocog", "umd", "testA")
    with pytest.raises(UserError, match=r"--split test: refcoco \(unc\) has the splits train, val, testA, testB$"):
        count_refs("refcoco", "unc", "test")
    with pytest.raises(UserError, match="--split-by google: refcocoplus was split by unc only"):
        count_refs("refcocoplus", "google", "val")


@pytest.mark.parametrize("place", [".", "refcoco+", "refcoco+/refcoco+", "refcocoplus"])
def test_folders_may_be_nested(tmp_path, place):
    path = write_json(tmp_path / place / "refs(unc).json", [])
    assert find_refs(tmp_path, "refcocoplus", "unc") == path


def test_a_folder_without_refs(tmp_path):
    with pytest.raises(UserError, match=r"holds no refs\(unc\)\.p of refcoco"):
        find_refs(tmp_path, "refcoco", "unc")


def test_parquet_carries_cocos_records(tmp_path):
    parquet, arrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    record = ref(1, 2, 3, "Left Man") | {"raw_anns": json.dumps({"id": 3, "bbox": [1, 2, 3, 4]}), "bbox": [1, 2, 4, 6]}
    parquet.write_table(arrow.Table.from_pylist([record]), tmp_path / "refs.parquet")
    (found,) = read_refs(tmp_path / "refs.parquet")
    assert (found.texts, found.annotation["bbox"], found.image) == (("Left Man",), [1, 2, 3, 4], None)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    (tmp_path / "refs.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="pip install pyarrow"):
        read_refs(tmp_path / "refs.parquet")


@pytest.mark.parametrize("line", ["{", "[1]", "\u0001"])
def test_json_lines_name_their_line(tmp_path, line):
    (tmp_path / "a.jsonl").write_text('{"id": 1}\n\n' + line + "\n")
    with pytest.raises(DataError, match=r"a\.jsonl:3: "):
        list(read_json_lines(tmp_path / "a.jsonl"))
