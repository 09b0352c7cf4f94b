"""Where the pictures of a plan lie."""

import pytest
from raw_files import picture

from refhcm.tables.making.plan import Draft, PictureFolder, Plan
from refhcm.utils.errors import DataError

NAME = "COCO_train2014_000000000007.jpg"


def plan_of(*names, partial=False):
    plan = Plan(partial=partial)
    for name in names:
        plan.add(name, None, Draft(name, name, "x", (), "here"))
    return plan


@pytest.mark.parametrize(
    "place", [NAME, f"train2014/{NAME}", f"a/b/{NAME}", "000000000007.jpg", "train2017/000000000007.jpg"]
)
def test_pictures_are_found_by_either_of_cocos_names(tmp_path, place):
    path = picture(tmp_path / place)
    assert PictureFolder(tmp_path).find(NAME) == path


def test_a_name_with_folders(tmp_path):
    picture(tmp_path / "a" / "1.jpg")
    path = picture(tmp_path / "b" / "1.jpg")
    assert PictureFolder(tmp_path).find("b/1.jpg") == path
    with pytest.raises(DataError, match=r"several pictures are called 1\.jpg"):
        PictureFolder(tmp_path).find("1.jpg")


@pytest.mark.parametrize("name", ["../1.jpg", "/etc/passwd", "a/../../1.jpg", "a\0b"])
def test_names_that_lead_out(tmp_path, name):
    picture(tmp_path / "1.jpg")
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match="expected pictures' names below it"):
        PictureFolder(tmp_path / "images").find(name)


def test_missing_pictures_are_listed_before_any_work(tmp_path):
    picture(tmp_path / "1.jpg")
    with pytest.raises(DataError, match=r"1 of 2 pictures are missing, such as 2\.jpg; --partial"):
        plan_of("1.jpg", "2.jpg").located(PictureFolder(tmp_path), limit=None)
    plan = plan_of("1.jpg", "2.jpg", "2.jpg", partial=True)
    assert [p.name for p in plan.located(PictureFolder(tmp_path), limit=None)] == ["1.jpg"]
    assert plan.left_out["missing-picture"] == 2  # rows
    assert plan.problems == [f"2.jpg: not in {tmp_path}"]


def test_the_wrong_folder_is_an_error_even_of_a_partial_table(tmp_path):
    with pytest.raises(DataError, match="2 of 2 pictures are missing"):
        plan_of("1.jpg", "2.jpg", partial=True).located(PictureFolder(tmp_path), limit=None)
    with pytest.raises(DataError, match="no such folder"):
        PictureFolder(tmp_path / "none")


def test_rows_of_a_picture_are_together():
    plan = plan_of("1.jpg", "2.jpg", "1.jpg")
    assert [(name, len(p.drafts)) for name, p in plan.pictures.items()] == [("1.jpg", 2), ("2.jpg", 1)]
