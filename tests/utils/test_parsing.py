"""Parsing maps: boxes, pasting, cropping, scores."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from golden_folder import numbers, tensors
from hypothesis import given
from hypothesis import strategies as st
from torch import tensor

from refhcm.utils.parsing import (
    CLASS_NAMES,
    NUM_CLASSES,
    PALETTE,
    confusion_matrix,
    crop_label_map,
    parsing_metrics,
    paste_label_map,
    pixel_box,
    resize_label_map,
    segmentation_scores,
    soft_overlaps,
    without_ignored,
)

COORDINATE = st.floats(-1e6, 1e6)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((1.9, 2.0, 4.9, 6.0), (1, 2, 4, 6)),
        ((-0.9, -7.5, 99.0, 8.99), (0, 0, 10, 8)),  # truncated towards zero, then clipped
        ((4.0, 4.0, 4.5, 4.2), (4, 4, 5, 5)),  # never empty
        ((7.0, 7.0, 3.0, 2.0), (7, 7, 8, 8)),  # the end before the start
        ((10.0, 12.0, 30.0, 30.0), (9, 7, 10, 8)),  # beyond: the last pixel
        ((-9.0, -9.0, -5.0, -5.0), (0, 0, 1, 1)),
    ],
)
def test_pixel_box(box, expected):
    assert pixel_box(box, (10, 8)) == expected
    assert pixel_box(tensor(box), (10, 8)) == expected


def test_pixel_box_is_truncated_before_it_is_rounded():
    assert pixel_box((1.999999999, 2.999999999, 4.999999999, 6.0), (10, 8)) == (1, 2, 4, 6)  # in float32: 2, 3, 5, 6


@given(box=st.tuples(*[COORDINATE] * 4), width=st.integers(1, 40), height=st.integers(1, 40))
def test_pixel_box_is_inside_and_never_empty(box, width, height):
    x0, y0, x1, y1 = pixel_box(box, (width, height))
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height


def test_resize_takes_the_floor():
    assert resize_label_map(tensor([[1, 2, 3]]), (1, 7)).tolist() == [[1, 1, 1, 2, 2, 3, 3]]  # floor(i * 3 / 7)
    assert resize_label_map(tensor([[1, 2, 3, 4, 5]]), (2, 2)).tolist() == [[1, 3], [1, 3]]
    stacked = torch.arange(24).view(2, 3, 4)
    assert resize_label_map(stacked, (3, 2)).equal(stacked[:, :, [0, 2]])


def test_resize_is_torch_s():
    """The published numbers come from torch's nearest neighbour, whose index is rounded in float32."""
    for length in (1, 3, 7, 48, 100, 192, 255, 333):
        row = torch.arange(length)
        for size in (*range(1, 120), 255, 427, 512, 640, 1021):
            expected = F.interpolate(row[None, None].float(), size=size, mode="nearest")[0, 0].long()
            assert resize_label_map(row[None], (1, size))[0].equal(expected), (length, size)


def test_paste_resizes_the_map_to_the_box():
    pasted = paste_label_map(tensor([[1, 2], [3, 4]]), (1.0, 0.0, 3.0, 4.0), (4, 4))
    assert pasted.tolist() == [[0, 1, 2, 0], [0, 1, 2, 0], [0, 3, 4, 0], [0, 3, 4, 0]]


def test_paste_beyond_the_canvas_is_resized_not_cropped():
    pasted = paste_label_map(tensor([[1, 2, 3, 4]]), (2.0, 3.0, 90.0, 90.0), (4, 4))
    assert pasted.tolist() == [[0] * 4, [0] * 4, [0] * 4, [0, 0, 1, 3]]


def test_crop_is_the_inverse_of_paste():
    label_map = torch.arange(12).view(3, 4)
    pasted = paste_label_map(label_map, (2, 1, 10, 10), (10, 10))
    assert crop_label_map(pasted, (2, 1, 10, 10), (3, 4)).tolist() == label_map.tolist()


def test_crop_has_all_of_the_box_and_nothing_beside_it():
    mask = np.arange(48).reshape(6, 8)
    assert crop_label_map(mask, (2, 1, 6, 4), (3, 4)).tolist() == [[10, 11, 12, 13], [18, 19, 20, 21], [26, 27, 28, 29]]


def test_crop_of_a_wide_mask():
    mask = torch.zeros(2, 6, dtype=torch.int64)
    mask[1, 3:5] = tensor([7, 8])
    assert crop_label_map(mask, (3.2, 1.0, 5.8, 9.0), (2, 2)).tolist() == [[7, 8], [7, 8]]


def test_classes_and_palette():
    """As docs/tokenizer.md has them: files, legends and exports name parts by these numbers."""
    assert CLASS_NAMES == (
        "background", "hat", "hair", "glove", "sunglasses", "upper-clothes", "dress", "coat", "socks", "pants",
        "torso-skin", "scarf", "skirt", "face", "left-arm", "right-arm", "left-leg", "right-leg", "left-shoe",
        "right-shoe",
    )  # fmt: skip
    assert PALETTE == (
        (0, 0, 0), (128, 0, 0), (255, 0, 0), (0, 85, 0), (170, 0, 51), (255, 85, 0), (0, 0, 85), (0, 119, 221),
        (85, 85, 0), (0, 85, 85), (85, 51, 0), (52, 86, 128), (0, 128, 0), (0, 0, 255), (51, 170, 221), (0, 255, 255),
        (85, 255, 170), (170, 255, 85), (255, 255, 0), (255, 170, 0),
    )  # fmt: skip


def test_no_two_classes_have_one_colour():
    assert len(set(PALETTE)) == len(set(CLASS_NAMES)) == NUM_CLASSES


def test_confusion_rows_are_the_truth_and_minus_one_is_ignored():
    confusion = confusion_matrix(tensor([[0, 1, 1]]), label=tensor([[0, 0, -1]]), num_classes=2)
    assert confusion.tolist() == [[1, 1], [0, 0]]
    confusion = confusion_matrix([0, 0, 2], label=[0, 1, 0], num_classes=4)  # nothing ignored, the last class missing
    assert confusion.tolist() == [[1, 0, 1, 0], [1, 0, 0, 0], [0] * 4, [0] * 4]


def test_confusion_of_other_shapes_is_refused():
    with pytest.raises(ValueError, match=r"\(2,\), its label \(3,\)"):
        confusion_matrix(tensor([0, 1]), label=tensor([0, 1, 1]))


def test_scores_by_hand():
    # truth: 4 of class 0, 1 of class 1, none of 2 and 3; predicted: 2, 2, 1, 0
    confusion = tensor([[2, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    scores = segmentation_scores(confusion)
    assert scores["class_iou"].tolist() == pytest.approx([2 / 4, 1 / 2, 0, np.nan], nan_ok=True)
    assert scores["miou"] == pytest.approx((2 / 4 + 1 / 2 + 0) / 3)
    assert scores["pixel_acc"] == pytest.approx(3 / 5)
    assert scores["mean_acc"] == pytest.approx((2 / 4 + 1) / 2)
    assert scores["mean_precision"] == pytest.approx((1 + 1 / 2 + 0) / 3)


def test_scores_of_many_matrices_at_once():
    matrices = np.random.default_rng(0).integers(0, 9, (4, 20, 20))
    matrices[1, :, 3] = matrices[1, 3] = 0
    for k, (matrix, miou) in enumerate(zip(matrices, segmentation_scores(matrices)["miou"], strict=True)):
        alone = parsing_metrics(matrix)
        assert alone["miou"] == pytest.approx(miou)
        assert (alone["class_iou"][CLASS_NAMES[3]] is None) == (k == 1)


def test_scores_of_nothing_are_zero():
    scores = segmentation_scores(np.zeros((2, 2)))
    assert [scores[name] for name in ("miou", "pixel_acc", "mean_acc", "mean_precision")] == [0] * 4


def test_golden_scores_by_their_true_names():
    """The published logs call the mean precision "macc"; reduce_metrics swaps it with the pixel accuracy."""
    g, published = tensors("metrics/metrics_golden"), numbers("metrics/metrics_golden")
    confusion = confusion_matrix(g["cm_pred"].long(), label=g["cm_gt"].long())
    assert np.array_equal(confusion, g["cm"])
    scores = segmentation_scores(confusion)
    reduced = published["reduce_metrics"]["rpar_full_mask (confusion matrix cm in both logs)"]
    for record, precision, pixel in ((published["evaluate_py"], "macc", "pacc"), (reduced, "pacc", "macc")):
        assert scores["miou"] == pytest.approx(record["miou"], abs=1e-9)
        assert scores["mean_precision"] == pytest.approx(record[precision], abs=1e-9)
        assert scores["pixel_acc"] == pytest.approx(record[pixel], abs=1e-9)
    assert scores["mean_acc"] != pytest.approx(scores["mean_precision"], abs=1e-3)


def test_ignored_pixels_are_left_out_of_scores():
    label = tensor([[0, 255, 1], [-1, 255, 1]])
    for dtype in (torch.int64, torch.int32, torch.uint8):
        kept = label[:1] if dtype is torch.uint8 else label
        confusion = confusion_matrix(tensor([[0, 1, 1], [0, 0, 0]])[: len(kept)], label=kept.to(dtype), num_classes=2)
        assert confusion.tolist() == ([[1, 0], [0, 1]] if dtype is torch.uint8 else [[1, 0], [1, 1]])
    assert confusion_matrix(tensor([3, 7]), label=tensor([255, 255])).sum() == 0
    assert without_ignored(label).tolist() == [[0, 0, 1], [-1, 0, 1]]
    assert label.tolist() == [[0, 255, 1], [-1, 255, 1]]


def test_soft_overlaps_by_hand():
    # class 0 is drawn in two pixels of .9 and .6, class 1 in one of .8; class 2 in none
    shares = torch.tensor([[0.9, 0.6, 0.1], [0.05, 0.3, 0.8], [0.05, 0.1, 0.1]])
    found = soft_overlaps(shares.log()[:, None])
    assert found.tolist() == pytest.approx([1.5 / (2 + 1.6 - 1.5), 0.8 / (1 + 1.15 - 0.8), 0])
    certain = torch.full((3, 1, 2), -500.0)  # the last class has a probability of 0
    certain[0, 0, 0] = certain[1, 0, 1] = 500
    assert soft_overlaps(certain).tolist() == pytest.approx([1, 1, 0])
