"""Boxes as other models write them."""

import numpy as np
import pytest

from refhcm.tasks.scoring.box_text import Coordinates, boxes_in
from refhcm.utils.errors import UserError

SIZE = (200, 100)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10,20,30,40", [[10, 20, 30, 40]]),
        ("[10.5, 20, 30, 4e1]", [[10.5, 20, 30, 40]]),
        ("(10,20),(30,40)", [[10, 20, 30, 40]]),
        ("<|box_start|>(10,20),(30,40)<|box_end|>", [[10, 20, 30, 40]]),
        ("10,20,30,40;50,60,70,80", [[10, 20, 30, 40], [50, 60, 70, 80]]),
        ("[[10, 20, 30, 40], [50, 60, 70, 80]]", [[10, 20, 30, 40], [50, 60, 70, 80]]),
        ("There are 2 people: [10, 20, 30, 40] and [50, 60, 70, 80].", [[10, 20, 30, 40], [50, 60, 70, 80]]),
        ('```json\n[{"bbox_2d": [10, 20, 30, 40], "label": "man 7"}]\n```', [[10, 20, 30, 40]]),
        ("the man<loc_10><loc_20><loc_30><loc_40>", [[10, 20, 30, 40]]),
        ("<loc0010><loc0020><loc0030><loc0040> person", [[10, 20, 30, 40]]),
        ("-1,-2,3,4", [[-1, -2, 3, 4]]),
        *[(nobody, []) for nobody in ("", "[]", "None", "```json\n[]\n```", "No.")],
    ],
)
def test_boxes_in(text, expected):
    assert boxes_in(text).tolist() == expected


@pytest.mark.parametrize(
    "text", ["a man", "10,20,30", "1,2,3,4,5", "<loc_1><loc_2><loc_3>", '{"bbox_2d": [1, 2, 3]}', "the 3rd person"]
)
def test_what_cannot_be_read(text):
    assert boxes_in(text) is None


@pytest.mark.parametrize(
    ("flag", "numbers", "expected"),
    [
        ("pixels", [10, 20, 30, 40], [10, 20, 30, 40]),
        ("pixels:xywh", [10, 20, 30, 40], [10, 20, 40, 60]),
        ("pixels:yxyx", [20, 10, 40, 30], [10, 20, 30, 40]),
        ("1", [0.05, 0.2, 0.15, 0.4], [10, 20, 30, 40]),
        ("1:xywh", [0.05, 0.2, 0.1, 0.2], [10, 20, 30, 40]),
        ("qwen", [50, 200, 150, 400], [10, 20, 30, 40]),
        ("1000", [50, 200, 150, 400], [10, 20, 30, 40]),
        ("paligemma", [512, 256, 1024, 512], [50, 50, 100, 100]),  # y, x, y, x of 1024
        ("florence-2", [0, 499, 999, 999], [0.1, 49.95, 199.9, 99.95]),  # the middles of 1000 cells
    ],
)
def test_coordinates(flag, numbers, expected):
    boxes = Coordinates.parse(flag).boxes(np.array([numbers], float), SIZE)
    assert boxes[0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("flag", ["", "px", "0", "-1", "pixels:wh", "1000:xyxy:z"])
def test_wrong_coordinates(flag):
    with pytest.raises(UserError, match="FRAME"):
        Coordinates.parse(flag)
