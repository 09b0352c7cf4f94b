"""Faults planted into good tables: each is found at its row, and the good tables have none."""

import base64

import numpy as np
import pytest
from small_tables import BOX, COLUMN, HEIGHT, PLANTED, POINTS, ROWS, WIDTH, SmallTable, encoded, joined

from refhcm.tables.checking.findings import KINDS
from refhcm.tables.checking.guessing import guess_task
from refhcm.tables.checking.keypoints import PointCounts, count_points, keypoint_faults
from refhcm.tables.checking.report import as_text
from refhcm.utils.errors import UserError


def cell(column: str, value: str):
    return lambda table: table.plant(column, value)


def copied(column: str, *, source: int = 0):
    return lambda table: table.plant(column, table.rows[source][table.column[column]])


def mask(*boxes, **options):
    return lambda table: table.write_mask(PLANTED, *boxes, **options)


def repeated(table: SmallTable) -> None:
    table.rows[PLANTED] = ["another id", *table.rows[0][1:]]


def every_box(box: str):
    def plant(table: SmallTable) -> None:
        for row in table.rows:
            row[table.column["box"]] = box

    return plant


def headed(table: SmallTable) -> None:
    table.rows.insert(0, list(table.column))


def blank(table: SmallTable) -> None:
    table.rows[PLANTED] = [""]


def longer(table: SmallTable) -> None:
    table.rows[PLANTED].append("more")


def shorter(table: SmallTable) -> None:
    table.rows[PLANTED].pop()


def reused_and_broken(table: SmallTable) -> None:
    copied("image_id")(table)
    table.plant("image", encoded(3)[:4000])


def renamed(row_id: str):
    def plant(table: SmallTable) -> None:
        table.rows[4][0] = row_id

    return plant


def at_the_edges(box: tuple[int, int, int, int]):
    def plant(table: SmallTable) -> None:
        table.plant("box", joined(box))
        table.write_mask(PLANTED, box)

    return plant


POINT = joined(np.ravel(POINTS))
FAULTS = [
    ("refcoco", headed, "header-line", 0),
    ("refcoco", blank, "blank-line", PLANTED),
    ("refcoco", longer, "column-count", PLANTED),
    ("refcoco", shorter, "column-count", PLANTED),
    ("refcoco", cell("text", "the \udcff man"), "not-utf8", PLANTED),
    ("refcoco", cell("id", " "), "bad-id", PLANTED),
    ("refcoco", copied("id"), "repeated-id", PLANTED),
    ("refcoco", repeated, "repeated-row", PLANTED),
    ("refcoco", copied("image_id"), "image-id-reused", PLANTED),
    ("refcoco", cell("image", encoded(3)[:4000]), "unreadable-picture", PLANTED),
    ("refcoco", cell("image", base64.b64encode(b"no picture").decode()), "unreadable-picture", PLANTED),
    ("refcoco", reused_and_broken, "unreadable-picture", PLANTED),  # whether it is another one, nobody knows
    ("rpar", cell("image", "none.png"), "unreadable-picture", PLANTED),
    ("refcoco", cell("image", encoded(3, orientation=3)), "turned-picture", PLANTED),
    ("refcoco", cell("box", "10,20,30"), "bad-box", PLANTED),
    ("refcoco", cell("box", "10,20,nan,70"), "bad-box", PLANTED),
    ("refcoco", cell("box", "40,20,10,70"), "box-order", PLANTED),
    ("rkpt", cell("box", "10,70,40,20"), "box-order", PLANTED),
    ("rpar", cell("box", "10,20,30"), "bad-box", PLANTED),  # the mask is read, and held against no box
    ("rpar", cell("box", "40,20,10,70"), "box-order", PLANTED),
    ("refcoco", cell("box", "60,20,90,70"), "box-outside", PLANTED),
    ("refcoco", cell("box", "10,20,60.5,70"), "box-beyond-edge", PLANTED),
    ("refcoco", cell("box", "10,20,11,70"), "small-box", PLANTED),
    ("refcoco", every_box("40,20,15,50"), "boxes-xywh", None),
    ("rkpt", every_box("8,20,32,55"), None, None),  # what the keypoints fit, as x0,y0,x1,y1 too
    ("rkpt", every_box("14,24,18,34"), "boxes-xywh", None),
    ("grec", cell("box", ";".join(f"{x},20,{x + 10},70" for x in range(21))), "many-boxes", PLANTED),
    ("grec", cell("box", "10,20,40,70;10,20,40,70"), "repeated-box", PLANTED),
    ("grec", cell("box", "10,20,40,70;90,20,95,70"), "box-outside", PLANTED),
    ("grec", renamed("7_blank"), "nobody-with-box", 4),
    ("grec", cell("text", " ...?! "), "blank-text", PLANTED),
    ("grec", cell("text", "★ ☆"), "blank-text", PLANTED),
    ("grec", every_box("40,20,15,50;41,20,15,50"), "boxes-xywh", None),
    ("rkpt", cell("keypoints", POINT + ",2"), "bad-keypoints", PLANTED),
    ("rkpt", cell("keypoints", joined([*POINTS[0], *POINTS[1]] * 8 + [62, 30])), "keypoint-outside", PLANTED),
    ("rkpt", cell("box", "30,56,40,70"), "keypoints-outside-box", PLANTED),
    ("rkpt", cell("keypoints", joined([0] * 34)), "no-keypoints", PLANTED),
    ("rkpt", every_box("28,44,60,80"), "keypoints-outside-boxes", None),
    ("rpar", cell("codes", joined([32] * 48)), "bad-codes", PLANTED),
    ("rpar", cell("codes", joined([3] * 47)), "bad-codes", PLANTED),
    ("rpar", cell("codes", ""), "missing-codes", PLANTED),
    ("rpar", cell("mask", "none.npy"), "unreadable-mask", PLANTED),
    ("rpar", mask(BOX, size_hw=(WIDTH, HEIGHT)), "mask-size", PLANTED),
    ("rpar", mask(BOX, label=20), "mask-class", PLANTED),
    ("rpar", mask((45, 20, 55, 70)), "empty-mask", PLANTED),
    ("rpar", mask(BOX, (45, 20, 55, 70)), "mask-outside-box", PLANTED),
    ("rpar", mask((10, 20, 36, 70)), "mask-not-tight", PLANTED),
    ("refcoco", cell("text", "  "), "blank-text", PLANTED),
    ("rhrc", cell("text", " && ."), "blank-text", PLANTED),
    ("rhrc", cell("text", "a man && "), "blank-caption", PLANTED),
    ("refcoco", cell("text", "None"), "none-text", PLANTED),
    ("rpar", cell("text", "nan"), "none-text", PLANTED),
    ("refcoco", cell("text", "a man&&the man"), "separator-in-expression", PLANTED),
    ("refcoco", cell("text", "the\x07 man"), "control-characters", PLANTED),
    ("refcoco", cell("text", "the cafÃ© owner"), "mojibake", PLANTED),
    ("rhrc", cell("text", "the caf\ufffd owner"), "mojibake", PLANTED),
]  # fmt: skip


@pytest.mark.parametrize("task", COLUMN)
def test_a_good_table_has_no_faults(tmp_path, task):
    report = SmallTable(tmp_path, task).check(task=None)
    assert (report.task, report.findings) == (task, [])
    assert (report.rows, len(report.pictures)) == (ROWS, ROWS)


@pytest.mark.parametrize(("task", "plant", "kind", "row"), FAULTS)
def test_a_fault_is_found_at_its_row(tmp_path, task, plant, kind, row):
    table = SmallTable(tmp_path, task)
    plant(table)
    found = [(finding.kind, finding.row) for finding in table.check().findings]
    if row is None:  # of the whole table; its rows may have faults of their own
        found = [one for one in found if one[1] is None]
    assert found == ([(kind, row)] if kind else [])


@pytest.mark.parametrize(
    ("task", "plant"),
    [
        ("rpar", cell("text", "None")),  # the box is named instead
        ("rkpt", cell("text", "None")),
        ("rpar", mask((11, 20, 40, 70))),  # a pixel: boxes are rounded
        ("rpar", at_the_edges((0, 0, 20, 30))),
        ("rpar", at_the_edges((30, 40, WIDTH, HEIGHT))),
        ("rkpt", cell("keypoints", joined([0, 0, 61, 30, *np.ravel(POINTS[2:])]))),  # rounded; not labelled
        ("rkpt", cell("keypoints", joined([20, 75, *np.ravel(POINTS[1:])]))),  # a hidden foot below the box
        ("refcoco", cell("text", "the man at the café, 男の人")),
        ("refcoco", cell("box", "0,0,60,80")),
        ("rhrc", cell("text", "a man&&a man in red")),
        ("grec", cell("id", "3_near")),  # its row has no box
        ("grec", cell("box", "12,20,30,50;10,20,40,70")),  # in any order: the task sorts them
    ],
)
def test_what_is_no_fault(tmp_path, task, plant):
    table = SmallTable(tmp_path, task)
    plant(table)
    assert table.check().findings == []


def test_ignored_pixels_belong_to_nobody(tmp_path):
    table = SmallTable(tmp_path, "rpar")
    label_map = np.full((HEIGHT, WIDTH), 255, np.uint8)
    label_map[20:70, 10:40] = 5
    np.save(table.root / "gts" / "3.npy", label_map)
    assert table.check().findings == []


def test_every_row_that_fails_names_id_and_what_came(tmp_path):
    table = SmallTable(tmp_path, "refcoco")
    table.plant("box", "60,20,90,70")
    (finding,) = table.check().findings
    assert (finding.id, finding.what) == ("3_0", "60,20,90,70 of a picture of 60 x 80 px")
    assert finding.severity == "error"


def test_a_summary_counts_keypoints_outside_their_boxes(tmp_path):
    table = SmallTable(tmp_path, "rkpt")
    table.plant("box", "30,56,40,70")  # of its 17 points, the last two are within a pixel of it
    report = table.check()
    assert f"15 of {17 * ROWS} keypoints" in as_text([report], [], root=tmp_path).splitlines()[0]


@pytest.mark.parametrize("name", ["refhuman_val.tsv", "RefHuman_val.tsv"])
def test_refhuman_needs_whole_ids(tmp_path, name):
    report = SmallTable(tmp_path, "rkpt", name=name).check()
    assert [finding.kind for finding in report.findings] == ["bad-id"] * ROWS


def test_ids_of_nothing_are_bad_and_not_repeated(tmp_path):
    table = SmallTable(tmp_path, "refcoco")
    table.rows[1][0] = table.rows[4][0] = " "
    assert [(finding.kind, finding.row) for finding in table.check().findings] == [("bad-id", 1), ("bad-id", 4)]


def test_a_limit_checks_the_first_rows(tmp_path):
    table = SmallTable(tmp_path, "refcoco")
    table.plant("box", "60,20,90,70")
    assert table.check(limit=PLANTED).findings == []
    assert table.check(limit=PLANTED + 1).rows == PLANTED + 1


def test_a_table_before_its_codes_is_said_to_lack_them(tmp_path):
    table = SmallTable(tmp_path, "rpar")
    assert not table.check().without_codes
    for row in table.rows:
        row[table.column["codes"]] = ""
    report = table.check()
    assert (report.without_codes, report.findings) == (True, [])


@pytest.mark.parametrize(
    ("outside", "y", "faulty"),
    [(4, 302, False), (5, 302, True), (8, 301, False), (1, 400, False), (1, 401, True)],
)
def test_how_many_points_may_lie_outside_and_how_far(outside, y, faulty):
    """Of 8: half of them by more than a pixel, and any by half of the box's longer side, which is 200 px."""
    points = np.array([(150, y)] * outside + [(150, 200)] * (8 - outside) + [(0, 0)] * 9)
    found = keypoint_faults(joined(points.ravel()), np.float32([100, 100, 200, 300]), None)
    assert [kind for kind, _ in found] == ["keypoints-outside-box"] * faulty


def test_points_outside_by_hand():
    """A point on an edge of the picture is labelled; one 1 px outside of the box is in it."""
    points = np.zeros((17, 2), np.float32)
    points[:4] = [(0, 30), (30, 0), (9, 30), (48, 68)]
    # The last one is outside of x0,y0,x1,y1 = 10,20,40,50, and would be inside of x,y,w,h, which reach to 50,70.
    assert count_points(points, np.float32([10, 20, 40, 50])) == PointCounts(4, outside=3, outside_as_xywh=2)


@pytest.mark.parametrize("row", ["1\ta man", "1\t7\ta man\t\tno picture", "1\t7\ta man\tno box\t1.png"])
def test_a_table_of_no_task_must_be_named(tmp_path, row):
    table = tmp_path / "table.tsv"
    table.write_text(f"{row}\n")
    with pytest.raises(UserError, match="--task"):
        guess_task(table)


def test_a_missing_root_is_said_at_once(tmp_path):
    with pytest.raises(UserError, match="--annotation-root"):
        SmallTable(tmp_path, "rpar").check(root=tmp_path / "none")


def test_every_kind_can_be_found():
    elsewhere = {"leak", "leak-other-set", "row-count", "manifest-rows"}  # test_sets.py
    assert {kind for _, _, kind, _ in FAULTS if kind} | elsewhere == set(KINDS)
