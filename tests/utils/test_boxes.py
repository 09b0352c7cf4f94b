import re

import numpy as np
import pytest
import torch
from golden_folder import numbers, table, tensors
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from refhcm.utils.boxes import box_hits, clip_box, iou

boxes = arrays(np.float32, (5, 4), elements=st.floats(-2000, 2000, width=32))


def test_iou_by_hand():
    a = [[0, 0, 10, 10]] * 5
    b = [
        [0, 0, 10, 10],  # the same
        [5, 0, 15, 10],  # half of each: 50 / 150
        [0, 0, 10, 4],  # inside, 4 of 10 rows
        [10, 0, 20, 10],  # only an edge in common
        [10, 10, 0, 0],  # the same corners, swapped
    ]
    assert iou(a, b) == pytest.approx([1, 1 / 3, 0.4, 0, 0], abs=1e-6)


def test_iou_has_the_published_epsilon():
    # a box of 0.001 x 0.001 px against itself: 1e-6 / (1e-6 + 1e-6)
    assert iou([[0, 0, 1e-3, 1e-3]], [[0, 0, 1e-3, 1e-3]]) == pytest.approx([0.5], rel=1e-3)


def test_threshold_is_included():
    label = [[0, 0, 100, 100], [0, 0, 100, 100]]
    assert box_hits([[0, 0, 100, 51], [0, 0, 100, 49]], label).tolist() == [True, False]
    assert box_hits([[0, 0, 4096, 2048]], [[0, 0, 4096, 4096]]).tolist() == [True]  # exactly 0.5 in float32


@given(boxes, boxes)
def test_iou_is_symmetric_and_a_share(a, b):
    value = iou(a, b)
    assert value.dtype == np.float32
    assert (value == iou(b, a)).all()
    assert ((value >= 0) & (value <= 1)).all()


@given(boxes)
def test_iou_of_a_large_box_with_itself_is_one(a):
    a = np.concatenate([np.minimum(a[:, :2], a[:, 2:]), np.maximum(a[:, :2], a[:, 2:]) + 1], axis=1)
    assert iou(a, a) == pytest.approx(1, abs=2e-6)


def test_tensors_and_arrays_give_the_same():
    a, b = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[5.0, 0, 15, 10]])
    assert iou(a, b) == iou(a.numpy(), b.numpy())


@pytest.mark.parametrize(
    ("box", "clipped"),
    [
        ([10, 20, 30, 40], [10, 20, 30, 40]),
        ([-5, -6, 700, 800], [0, 0, 640, 480]),
        ([30, 40, 10, 20], [30, 40, 31, 41]),  # swapped corners
        ([900, 500, 950, 600], [639, 479, 640, 480]),  # beyond the far corner
        ([-50, -50, -10, -10], [0, 0, 1, 1]),
    ],
)
def test_clip_box(box, clipped):
    given_box = np.array(box, np.float32)
    assert clip_box(given_box, (640, 480)).tolist() == clipped
    assert given_box.tolist() == box


@given(boxes)
def test_clipped_boxes_lie_inside_and_stay(a):
    clipped = clip_box(a, (640, 480))
    assert (clipped[:, :2] >= 0).all()
    assert (clipped[:, 2:] <= [640, 480]).all()
    assert (clipped[:, 2:] - clipped[:, :2] >= 1 - 1e-4).all()
    assert (clip_box(clipped, (640, 480)) == clipped).all()


def test_golden_box_scores():
    g = tensors("metrics/metrics_golden")
    scores = [name for name in g if name.startswith("ap_score_")]
    assert scores
    for name in scores:
        threshold = re.fullmatch(r"ap_score_thresh([\d.]+)", name)
        boxes = g["ap_hyp"].numpy(), g["ap_ref"].numpy()
        hits = iou(*boxes) >= float(threshold[1]) if threshold else box_hits(*boxes)
        assert hits.tolist() == (g[name] == 1).tolist()


def test_golden_evaluation_run(golden):
    # eval/refcoco_test_predict.json against its table gives eval/eval_summary.json's score
    columns = [int(column) for column in table("refcoco")["selected_cols"].split(",")]  # id, image, expression, box
    lines = (golden / "data" / table("refcoco")["tsv"]).read_text().splitlines()
    rows = [[line.split("\t")[column] for column in columns] for line in lines]
    records, expected = numbers("eval/refcoco_test_predict"), numbers("eval/eval_summary")["scores"]["refcoco"]
    assert [record["uniq_id"] for record in records] == [row[0] for row in rows]
    labels = [[float(number) for number in row[3].split(",")] for row in rows]
    hits = box_hits([record["box"] for record in records], labels)
    assert (hits.sum(), len(hits), hits.mean()) == (expected["score_sum"], expected["score_cnt"], expected["score"])
