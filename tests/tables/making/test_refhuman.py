"""Rows from RefHuman and HumanRef."""

import json

import pytest
from raw_files import PERSON, RKPT_ROW, coco_annotation, picture, rows_of, with_flags, write_json

from refhcm.tables.making.plan import PictureFolder
from refhcm.tables.making.refhuman import plan_humanref, plan_refhuman
from refhcm.utils.errors import DataError

POINTS = with_flags(RKPT_ROW.split("\t")[-1])


def refhuman(tmp_path, *changes):
    """A file of one entry for each of `changes`, all about one picture."""
    picture(tmp_path / "images" / "a.jpg")
    entries, people = [], []
    for k, change in enumerate(changes):
        entry = {
            "id": 40 + k,
            "file_name": "a.jpg",
            "width": 640,
            "height": 480,
            "caption": f"person {k}",
            "original_id": 7,
        }
        entries.append(entry | change.get("entry", {}))
        person = coco_annotation(k, 40 + k, (112.21, 46.13, 600, 220), keypoints=POINTS) | change.get("person", {})
        people += [person] * (not change.get("alone"))
    return write_json(
        tmp_path / "RefHuman_val.json", {"images": entries, "annotations": people, "categories": [PERSON]}
    )


def test_the_id_is_the_entrys_and_the_box_is_clipped(tmp_path):
    plan = plan_refhuman(refhuman(tmp_path, {}, {}))
    rows, made = rows_of(plan, tmp_path / "images", "rkpt", clip=True)
    points = RKPT_ROW.split("\t")[-1]
    assert rows[1] == f"41\t7\tperson 1\t112.21,46.13,640,266.13\t{points}"
    assert made[0].changed["clipped-box"] == 2


def test_entries_that_cannot_be_asked_are_counted(tmp_path):
    none = [0] * 51
    plan = plan_refhuman(
        refhuman(
            tmp_path,
            {},
            {"alone": True},
            {"person": {"iscrowd": 1}},
            {"person": {"keypoints": none}},
            {"entry": {"caption": " "}},
        ),
        min_keypoints=1,
    )
    assert plan.left_out == {"no-person": 1, "crowd": 1, "few-keypoints": 1, "empty-text": 1}


def test_a_caption_that_is_none(tmp_path):
    with pytest.raises(DataError, match="image entry 40: expected a text, got None"):
        plan_refhuman(refhuman(tmp_path, {"entry": {"caption": None}}))


def humanref(tmp_path, *boxes):
    picture(tmp_path / "images" / "a.jpg")
    lines = [
        {"id": k, "image_name": "a.jpg", "referring": f"all {k}", "domain": "x", "answer_boxes": answer}
        for k, answer in enumerate(boxes)
    ]
    path = tmp_path / "annotations.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


BOXES = ([], [[5.5, 6, 50, 60]], [[100, 6, 150, 60], [5, 6, 50, 60]])


def test_rec_takes_the_lines_about_one_person(tmp_path):
    plan = plan_humanref(humanref(tmp_path, *BOXES), one_box=True)
    assert rows_of(plan, tmp_path / "images", "rec")[0] == ["1\ta.jpg\tall 1\t5.5,6,50,60"]
    assert plan.left_out == {"no-box": 1, "several-boxes": 1}


def test_a_missing_picture_stops_unless_the_table_may_be_partial(tmp_path):
    path = humanref(tmp_path, *BOXES)
    path.write_text(path.read_text().replace('"a.jpg"', '"none.jpg"', 1))
    images = PictureFolder(tmp_path / "images")
    with pytest.raises(DataError, match=r"1 of 2 pictures are missing, such as none\.jpg; --partial"):
        plan_humanref(path, one_box=False).located(images, limit=None)
    plan = plan_humanref(path, one_box=False, partial=True)
    assert [picture.name for picture in plan.located(images, limit=None)] == ["a.jpg"]


def test_generalised_rec_takes_them_all(tmp_path):
    plan = plan_humanref(humanref(tmp_path, *BOXES), one_box=False)
    rows, _ = rows_of(plan, tmp_path / "images", "grec")
    assert [row.split("\t")[3] for row in rows] == ["", "5.5,6,50,60", "5,6,50,60;100,6,150,60"]
    assert plan.changed["nobody"] == 1


def test_an_id_that_comes_twice(tmp_path):
    path = humanref(tmp_path, *BOXES)
    path.write_text(path.read_text().replace('"id": 2', '"id": 1'))
    with pytest.raises(DataError, match=r"annotations\.jsonl:3: the id 1 comes twice, first in .*jsonl:2"):
        plan_humanref(path, one_box=False)


@pytest.mark.parametrize("wrong", [None, [5, 6, 50, 60], [[1, 2, 3]], [[1, 2, 3, "4"]]])
def test_boxes_that_are_none(tmp_path, wrong):
    with pytest.raises(DataError, match=r"annotations\.jsonl:1: answer_boxes"):
        plan_humanref(humanref(tmp_path, wrong), one_box=True)
