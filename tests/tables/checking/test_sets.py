"""Leaks between tables, and counts of whole data sets."""

import json

import pytest
from small_tables import ROWS, SmallTable

from refhcm.tables.checking.checking import Options, check_tables
from refhcm.tables.checking.counting import KNOWN, Named, count_faults, named
from refhcm.tables.making.cihp import PICTURES


@pytest.fixture
def check(tmp_path):
    """`check(first, second)`: reports and leaks of tables."""

    def check(*tables, **options):
        for table in tables:
            table.write()
        options = {"task": "refcoco", "root": tmp_path, "num_codes": 32, "workers": 1, "partial": True} | options
        return check_tables([table.path for table in tables], Options(**options))

    return check


@pytest.mark.parametrize("split", ["train", "TRAIN"])
def test_a_shared_image_id_is_a_leak(tmp_path, check, split):
    train = SmallTable(tmp_path, "refcoco", name=f"refcoco_{split}.tsv")
    test = SmallTable(tmp_path, "refcoco", name="refcoco_testA.tsv", first=ROWS)
    assert check(train, test)[1] == []
    test.rows[5][1] = train.rows[3][1]  # another file: encoded again
    (report, _), (leak,) = check(train, test)
    assert (leak.pictures, leak.kind) == (1, "leak")
    (finding,) = report.findings
    assert (finding.kind, finding.row) == ("leak", 3)
    assert finding.what == f"picture 103 is also in {test.path}:6"


def test_a_shared_picture_is_a_leak_whatever_its_id(tmp_path, check):
    train = SmallTable(tmp_path, "refcoco", name="train.tsv")
    test = SmallTable(tmp_path, "refcoco", name="val.tsv", first=ROWS)
    test.rows[5][4] = train.rows[3][4]
    (report, _), (leak,) = check(train, test)
    assert leak.pictures == 1
    assert [(finding.kind, finding.row) for finding in report.findings] == [("leak", 3)]


def test_between_sets_a_leak_is_a_warning(tmp_path, check):
    train = SmallTable(tmp_path, "refcoco", name="refcoco_train.tsv")
    test = SmallTable(tmp_path, "refcoco", name="refcocog_test.tsv")
    (report, _), (leak,) = check(train, test)
    assert (leak.pictures, leak.kind) == (ROWS, "leak-other-set")
    assert not report.faulty


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("refcoco_pose_testA.tsv", Named("refcoco", "testA")),
        ("refcihp_train.tsv", Named("refcihp", "train")),
        ("train.tsv", Named("", "train")),
        ("trained.tsv", Named("trained", "")),
    ],
)
def test_names(tmp_path, name, expected):
    assert named(tmp_path / name) == expected


def count(path, rows, pictures, manifest=None):
    if manifest is not None:
        path.with_name(f"{path.stem}.manifest.json").write_text(json.dumps(manifest))
    return [kind for kind, _ in count_faults(path, rows=rows, pictures=pictures)]


@pytest.mark.parametrize(
    ("name", "rows", "pictures"),
    [("refcoco", 142210, 19994), ("refcocoplus", 141564, 19992), ("refcocog", 95010, 25799)],
)
def test_the_splits_add_up_to_the_whole_set(name, rows, pictures):
    """Expressions and pictures of all splits, as published; of CIHP, as many pictures as making expects."""
    assert tuple(map(sum, zip(*KNOWN[name].values(), strict=True))) == (rows, pictures)
    assert {split: counted for split, (_, counted) in KNOWN["refcihp"].items()} == PICTURES


def test_persons_of_cihp_are_counted_in_two_ways(tmp_path):
    table = tmp_path / "refcihp_train.tsv"
    for rows, faults in ((93208, ["row-count"]), (93209, []), (93213, []), (93214, ["row-count"])):
        assert count(table, rows, 28280, {"rows": rows, "recipe": {}, "left_out": {}}) == faults


def test_counts_of_known_sets(tmp_path):
    test = tmp_path / "refcoco_testA.tsv"
    assert count(test, 5657, 750) == []
    assert count(test, 5656, 750) == ["row-count"]
    assert count(test, 5657, 751) == ["row-count"]
    assert count(tmp_path / "refcoco_val.tsv", 6000, 1400) == []  # of persons only, nobody counted them
    assert count(tmp_path / "own_val.tsv", 3, 3) == []


def test_counts_with_a_manifest(tmp_path):
    table = tmp_path / "refcoco_val.tsv"
    manifest = {"rows": 6000, "recipe": {"limit": None}, "left_out": {"no-person": 4834}}
    assert count(table, 6000, 1400, manifest) == []
    assert count(table, 5999, 1400, manifest) == ["manifest-rows", "row-count"]
    assert count(table, 7, 7, {"rows": 7, "recipe": {"limit": 7}, "left_out": {}}) == []
    for broken in ([], {"rows": "many"}, {"rows": 6000, "recipe": {}, "left_out": {"leak": "many"}}):
        assert count(table, 6000, 1400, broken) == []
