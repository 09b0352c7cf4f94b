"""Where the pictures of a plan lie."""

import pytest
from raw_files import picture

from refhcm.tables.making.plan import Draft, PictureFolder, Plan
from refhcm.utils.errors import DataError

NAME = "COCO_train2014_000000000007.jpg"


def plan_of(*names, partial=False):
    plan = Plan(partial=partial)
    for k, name in enumerate(names):
        plan.add(name, None, Draft(f"{name} {k}", name, "x", (), "here"))
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


@pytest.mark.parametrize(
    ("name", "place"),
    [("video2/1.jpg", "all/video2/1.jpg"), ("own/1.jpg", "1.jpg"), ("own/a/1.jpg", "a/1.jpg"),
     (f"train2014/{NAME}", "a/train2014/000000000007.jpg")],
)  # fmt: skip
def test_folders_of_a_name_may_lie_deeper_or_be_the_roots(tmp_path, name, place):
    path = picture(tmp_path / "own" / place)
    assert PictureFolder(tmp_path / "own").find(name) == path


@pytest.mark.parametrize("name", ["video1/1.jpg", "video2/video2/1.jpg", "2/1.jpg", f"video1/{NAME}"])
def test_a_picture_of_another_folder_is_none(tmp_path, name):
    for last in ("1.jpg", NAME, "000000000007.jpg"):
        picture(tmp_path / "video2" / last)
    assert PictureFolder(tmp_path).find(name) is None


def test_a_picture_in_another_folder_is_missing(tmp_path):
    for k in (1, 2):
        picture(tmp_path / "video2" / f"{k}.jpg")
    with pytest.raises(DataError, match=r"1 of 2 pictures are missing, such as video1/1\.jpg \(with its folders\)"):
        plan_of("video1/1.jpg", "video2/2.jpg").located(PictureFolder(tmp_path), limit=None)


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


def test_a_plan_without_rows_says_what_was_left_out(tmp_path):
    plan = Plan()
    with pytest.raises(DataError, match=r"no rows are left to write: left out were none"):
        plan.located(PictureFolder(tmp_path), limit=None)
    plan.left_out.update({"no-text": 2, "crowd": 1})
    with pytest.raises(DataError, match=r"left out were 1 crowd, 2 no-text$"):
        plan.located(PictureFolder(tmp_path), limit=None)


def test_an_id_comes_once():
    plan = Plan()
    plan.add("1.jpg", None, Draft("7_0", "1", "x", (), "refs.json:1"))
    plan.add("2.jpg", None, Draft("7_1", "2", "x", (), "refs.json:2"))
    with pytest.raises(DataError, match=r"^refs\.json:3: the id 7_0 comes twice, first in refs\.json:1$"):
        plan.add("2.jpg", None, Draft("7_0", "2", "x", (), "refs.json:3"))


def test_rows_of_a_picture_are_together():
    plan = plan_of("1.jpg", "2.jpg", "1.jpg")
    assert [(name, len(p.drafts)) for name, p in plan.pictures.items()] == [("1.jpg", 2), ("2.jpg", 1)]
