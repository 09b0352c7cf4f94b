"""Which points of an answer are right, by hand on a canvas where a bin, a canvas px and an image px are one."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from written import BOX, CODES, SETTINGS, Painter

from refhcm.inference.calibration import Calibration, Fitted, Judged
from refhcm.inference.judging import Judge, figures, judge
from refhcm.models.generated import Generated
from refhcm.tasks import TASKS
from refhcm.utils.calibration import Curve
from refhcm.utils.keypoints import KEYPOINT_NAMES

RATIOS = {"w_resize_ratios": 1.0, "h_resize_ratios": 1.0}
LABEL = np.array([100, 200, 500, 999], np.float32)


def answered(name, text, answer):
    """A task, and what it has read of a certain answer."""
    task = TASKS[name](text, SETTINGS)
    task.tokenizer = Painter()
    ids = torch.tensor([*task.text.encode_words(answer).tolist(), task.vocabulary.eos()])
    kept = (ids[:, None] == torch.from_numpy(task.kept_symbols)).float().log()
    generated = Generated(ids, log_probs=torch.zeros(len(ids)), distributions=kept)
    (prediction,) = task.parse_batch([generated], torch.device("cpu"))
    return task, generated, prediction


def points(name, encoder, answer, **labels):
    found = judge(*answered(name, encoder, answer), RATIOS | labels)
    return {(one.field, one.name): (one.raw, one.right) for one in found}


def test_a_box(text):
    assert points("refcoco", text, BOX, region_coords=LABEL) == {("box", ""): (1, True)}
    assert points("refcoco", text, BOX, region_coords=LABEL + 300) == {("box", ""): (1, False)}
    assert points("refcoco", text, "<bin_1>", region_coords=LABEL) == {}


def test_keypoints_that_the_label_shows(text):
    label = np.zeros((17, 2), np.float32)
    label[KEYPOINT_NAMES.index("nose")] = 320, 410
    label[KEYPOINT_NAMES.index("left_hip")] = 800, 700
    answer = f"{BOX} nose <bin_321> <bin_410> left_eye <bin_300> <bin_400> left_hip <bin_330> <bin_700>"
    found = points("rkpt", text, answer, region_coords=LABEL, keypoints=label.ravel())
    assert found == {("box", ""): (1, True), ("keypoints", "nose"): (1, True), ("keypoints", "left_hip"): (1, False)}


def test_parts_by_their_overlap(text):
    label = np.zeros((999, 999), np.int32)
    label[200:999, 100:300] = 13  # face, where it is drawn
    label[200:400, 300:500] = 2  # hair in a quarter of where it is drawn
    found = points("rpar", text, f"{BOX} {CODES}", region_coords=LABEL, gt=label, text="the man")
    assert found == {
        ("box", ""): (1, True), ("parts", "face"): (0.5, True), ("parts", "hair"): (0.25, False),
    }  # fmt: skip


def test_words_of_any_reference(text):
    found = points("rhrc", text, "A man in blue.", text="A man&&the woman, in red", region_coords=LABEL)
    assert [right for _, right in found.values()] == [True, True, True, False]


def test_several_boxes(text):
    boxes = np.full((20, 4), np.nan, np.float32)
    boxes[0] = LABEL
    answer = f"{BOX} <bin_600> <bin_200> <bin_700> <bin_999>"
    found = judge(*answered("grec", text, answer), RATIOS | {"boxes": boxes})
    assert [(one.field, one.raw, one.right) for one in found] == [
        ("found", 1, True), ("box", 1, True), ("box", 1, False),
    ]  # fmt: skip
    twice = judge(*answered("grec", text, f"{BOX} {BOX}"), RATIOS | {"boxes": boxes})
    assert [one.right for one in twice if one.field == "box"] == [True, False]


def test_whether_anybody_fits(text):
    """Right are the rows that fit somebody; the raw number is the probability that the answer does not end at once."""
    boxes = np.full((20, 4), np.nan, np.float32)
    nobody = Judged("found", "", 0, False)
    assert judge(*answered("grec", text, ""), RATIOS | {"boxes": boxes}) == [nobody]
    (torn,) = judge(*answered("grec", text, "<bin_1> <bin_2>"), RATIOS | {"boxes": boxes})
    assert torn == replace(nobody, raw=1)
    boxes[0] = LABEL
    half = Calibration({"grec": {"found": Fitted(Curve((0.0, 1.0), (0.25, 0.5)), 60, 30)}})
    (missed,) = judge(*answered("grec", text, ""), RATIOS | {"boxes": boxes}, calibration=half)
    assert missed == Judged("found", "", 0.25, True)


def test_a_calibration_is_applied(text):
    half = Calibration({"refcoco": {"box": Fitted(Curve((0.0, 1.0), (0.0, 0.5)), 60, 30)}})
    labels = RATIOS | {"region_coords": LABEL}
    (found,) = judge(*answered("refcoco", text, BOX), labels, calibration=half)
    assert found == Judged("box", "", 0.5, True)


def test_rows_of_one_picture_stay_together(text):
    class Dataset:
        file = ({"image": "a"}, {"image": "b"}, {"image": "a"})

    task, generated, prediction = answered("refcoco", text, BOX)
    observe = Judge(task, Dataset())
    for row in range(3):
        observe(row, generated, prediction, RATIOS | {"region_coords": LABEL})
    first, second, third = (one.picture for one in observe.found)
    assert first == third != second


def test_figures_by_field():
    rows = [Judged("box", "", 0.75, right) for right in (True, True, True, False)]
    found = figures([*rows, replace(rows[0], field="caption", name="0", raw=1.0)])
    assert found["ece"] == pytest.approx({"box": 0, "caption": 0})
    assert found["auroc"] == {"box": 0.5, "caption": None}
