"""Scores of answers that give everyone who fits, worked out by hand."""

import numpy as np
import pytest

from refhcm.utils.generalized import THRESHOLDS, Matched, generalized_scores, hits, match

# IoU with a square of side 10 is the width / 10 of a box that ends where it ends.
SQUARE = (0, 0, 10, 10)
FAR = (100, 0, 110, 10)


def narrow(width, left=0):
    return (left, 0, left + width, 10)


def answered(boxes, label, *, rejected=None, kind=""):
    return Matched(match(boxes, label), len(boxes), len(label), not boxes if rejected is None else rejected, kind)


def test_pairs_are_one_to_one_and_the_best_comes_first():
    assert match([narrow(6), narrow(9)], [SQUARE]).tolist() == pytest.approx([0.9])
    # The best pair takes the square; the other box is left with what it does not touch.
    assert match([narrow(9), narrow(6)], [SQUARE, FAR]).tolist() == pytest.approx([0.9, 0])
    assert match([FAR, narrow(7)], [SQUARE, FAR]).tolist() == pytest.approx([1, 0.7])
    assert match([], [SQUARE]).shape == match([SQUARE], []).shape == match([], []).shape == (0,)


def test_hits_of_each_prediction():
    boxes = [narrow(6), FAR, narrow(9)]  # two on the square: the better one has it
    assert hits(boxes, [SQUARE, FAR], 0.5).tolist() == [False, True, True]
    assert hits(boxes, [SQUARE, FAR], 0.95).tolist() == [False, True, False]
    assert hits([(0, 0, 4096, 2048)], [(0, 0, 4096, 4096)], 0.5).tolist() == [True]  # the threshold is included
    assert hits([], [SQUARE], 0.5).tolist() == []


def test_counts_and_f1():
    one = answered([narrow(9), narrow(6, 50), FAR], [SQUARE, narrow(10, 50)])
    assert one.counts(0.5) == (2, 1, 0)
    assert one.counts(0.75) == (1, 2, 1)
    assert (one.recall(0.75), one.precision(0.75)) == pytest.approx((1 / 2, 1 / 3))
    assert one.f1(0.5) == pytest.approx(4 / 5)
    assert one.density_f1(0.5) == pytest.approx(4 / 5 * 2 / 3)  # 3 boxes for 2 people
    assert answered([SQUARE], [SQUARE, FAR]).density_f1(0.5) == pytest.approx(2 / 3)  # too few boxes cost no more


def test_nothing_answered():
    missed = answered([], [SQUARE])
    assert (missed.recall(0.5), missed.precision(0.5), missed.f1(0.5), missed.density_f1(0.5)) == (0, 0, 0, 0)
    assert answered([], []).f1(0.5) == 1
    assert answered([SQUARE], []).f1(0.5) == 0
    assert answered([], [], rejected=False).f1(0.5) == 0  # what cannot be read does not say "nobody"


def test_metrics_of_a_table():
    rows = [
        answered([SQUARE, FAR], [SQUARE, FAR]),  # all found, IoU 1
        answered([narrow(7)], [SQUARE, FAR]),  # one of two, right up to .70: 5 of 10 thresholds
        answered([], [SQUARE]),  # somebody is there
        answered([], [], kind="blank"),
        answered([], [], kind="near"),
        answered([SQUARE], [], kind="near"),
    ]
    scores = generalized_scores(rows)
    assert len(THRESHOLDS) == 10
    third, half = 1 / 3, 1 / 2
    expected = {
        "pr_f1": 3 / 6,
        "n_acc": 2 / 3, "t_acc": 2 / 3,
        "rejection": 2 / 3, "rejection_by_kind": 3 / 4, "rejection_blank": 1, "rejection_near": half,
        "recall": (1 + half) * third, "precision": 2 * third, "f1": (1 + 2 / 3) * third,
        "density_f1": (1 + 2 / 3) * third,
        "recall_mean": (1 + half * half) * third, "precision_mean": (1 + half) * third,
        "f1_mean": (1 + 2 / 3 * half) * third, "density_f1_mean": (1 + 2 / 3 * half) * third,
    }  # fmt: skip
    assert scores == pytest.approx(expected)


def test_a_box_is_right_from_an_iou_of_one_half_on():
    scores = generalized_scores([answered([narrow(width)], [SQUARE]) for width in (4.8, 5.2)])
    means = {f"{name}_mean": 0.1 / 2 for name in ("recall", "precision", "f1", "density_f1")}  # .52 passes .50 alone
    expected = {"pr_f1": 0.5, "recall": 0.5, "precision": 0.5, "f1": 0.5, "density_f1": 0.5, **means}
    assert {name: scores[name] for name in expected} == pytest.approx(expected)


def test_kinds_come_in_the_order_of_their_names():
    found = generalized_scores([answered([], [], kind=kind) for kind in "hgbadcfe"])
    names = [name for name in found if name.startswith("rejection_")]
    assert names == ["rejection_by_kind", *(f"rejection_{kind}" for kind in "abcdefgh")]


def test_a_table_without_one_of_the_two():
    assert generalized_scores([answered([], [])])["t_acc"] is None
    assert generalized_scores([answered([], [])])["recall_mean"] is None
    somebody = generalized_scores([answered([SQUARE], [SQUARE])])
    assert somebody["n_acc"] is somebody["rejection"] is somebody["rejection_by_kind"] is None
    assert somebody["pr_f1"] == 1
    assert all(value is None for value in generalized_scores([]).values())


def test_boxes_are_taken_as_arrays_too():
    assert match(np.zeros((0, 4), np.float32), np.array([SQUARE], np.float32)).shape == (0,)
