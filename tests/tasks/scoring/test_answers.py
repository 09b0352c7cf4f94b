"""Which answers count as read."""

import math

import numpy as np
import pytest

from refhcm.tasks.scoring.answers import read_answer
from refhcm.tasks.scoring.box_text import Coordinates
from refhcm.tasks.scoring.records import Record
from refhcm.utils.errors import DataError

BOX = [1, 2, 3, 4]
REST = {
    "refcoco": {},
    "grec": {},
    "rkpt": {"keypoints": [0] * 34},
    "rpar": {"mask": "a.png"},
    "rpar_full_mask": {"image_code": [0] * 48},
}


@pytest.mark.parametrize("task", REST)
@pytest.mark.parametrize(
    ("box", "count", "readable"),
    [(BOX, 1, True), ("1,2,3,4", 1, True), ([], 0, True), ("I cannot find her", 0, False), (None, 0, False)],
)
def test_boxes_of_every_task(task, box, count, readable):
    record = Record("7", {"id": "7", "box": box, **REST[task]}, "a.jsonl:1")
    answer = read_answer(record, task, coordinates=Coordinates(), size_wh=None)
    assert answer.readable == readable
    assert np.array_equal(answer.boxes, np.reshape([BOX] * count, (-1, 4)))


@pytest.mark.parametrize("task", ["rkpt", "rpar", "rpar_full_mask"])
def test_answers_without_a_box(task):
    answer = read_answer(Record("7", REST[task], "a.jsonl:1"), task, coordinates=Coordinates(), size_wh=None)
    assert (answer.boxes, answer.readable) == (None, True)


@pytest.mark.parametrize("wrong", [math.inf, -math.inf, math.nan, 10**400, -(10**400), True, "4", None])
def test_boxes_and_scores_are_finite_numbers(wrong):
    for fields, field in (({"box": [1, 2, 3, wrong]}, "box"), ({"box": BOX, "score": [wrong]}, "score")):
        with pytest.raises(DataError, match=f"a.jsonl:1: {field}: expected"):
            read_answer(Record("7", fields, "a.jsonl:1"), "refcoco", coordinates=Coordinates(), size_wh=None)
