"""Captions of one's own, and the rows of RHrc that they make."""

import pytest
from raw_files import RHRC_ROW, picture, rows_of

from refhcm.tables.making.captions import plan_captions, read_captions
from refhcm.utils.errors import DataError

ID, CAPTION, BOX = RHRC_ROW.split("\t")


def files(tmp_path, boxes, captions):
    for name, text in (("boxes.tsv", boxes), ("captions.tsv", captions)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    picture(tmp_path / "imgs" / "val" / "0010548.jpg", (400, 400))
    return tmp_path / "boxes.tsv", tmp_path / "captions.tsv"


@pytest.mark.parametrize(
    "boxes", [f"{ID}\tNone\t{BOX}\t\tval/a.npy\tval/0010548.jpg\n", f"{ID}\t{BOX}\tval/0010548.jpg\n"]
)
def test_the_published_row(tmp_path, boxes):
    plan = plan_captions(*files(tmp_path, boxes, f"{ID}\t{CAPTION}\n"))
    assert rows_of(plan, tmp_path / "imgs", "rhrc")[0] == [RHRC_ROW]


def test_captions_of_one_person_are_joined(tmp_path):
    plan = plan_captions(*files(tmp_path, f"a\t{BOX}\tval/0010548.jpg\n", "a\tone && two\na\t three \na\t \n"))
    assert rows_of(plan, tmp_path / "imgs", "rhrc")[0] == [f"a\tone two&&three\t{BOX}"]


def test_ids_that_do_not_meet_are_counted(tmp_path):
    boxes = "".join(f"{name}\t{BOX}\tval/0010548.jpg\n" for name in "ab")
    plan = plan_captions(*files(tmp_path, boxes, "a\tx\nc\ty\n"))
    assert plan.left_out["no-caption"] == 1
    assert plan.changed["unknown-caption"] == 1


def test_a_person_whose_id_comes_twice(tmp_path):
    boxes = f"a\t{BOX}\tval/0010548.jpg\n\nb\t{BOX}\tval/0010548.jpg\na\t{BOX}\tval/0010549.jpg\n"
    with pytest.raises(DataError, match=r"boxes\.tsv:4: the id a comes twice, first in .*boxes\.tsv:1"):
        plan_captions(*files(tmp_path, boxes, "a\tx\nb\ty\n"))


@pytest.mark.parametrize("box", ["1,2,3", "5,5,1,9", "a,b,c,d", ""])
def test_boxes_that_are_none(tmp_path, box):
    given = files(tmp_path, f"a\t{box}\tval/0010548.jpg\n", "a\tx\n")
    with pytest.raises(DataError, match=r"boxes\.tsv:1: expected a box .*--partial"):
        plan_captions(*given)
    assert plan_captions(*given, partial=True).left_out["bad-box"] == 1


@pytest.mark.parametrize("line", ["a b\n", "a\tb\tc\n"])
def test_captions_have_two_columns(tmp_path, line):
    (tmp_path / "captions.tsv").write_text(line)
    with pytest.raises(DataError, match=r"captions\.tsv:1: expected id<TAB>text"):
        read_captions(tmp_path / "captions.tsv")
