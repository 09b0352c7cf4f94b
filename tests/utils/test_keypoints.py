import math

import numpy as np
import pytest
import torch
from golden_folder import tensors
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from refhcm.utils.keypoints import KEYPOINT_NAMES, SIGMAS, SKELETON, oks

poses = arrays(np.float32, (3, 17, 2), elements=st.floats(1, 500, width=32))
BOX = np.array([[0, 0, 100, 100]], np.float32)


def only_nose(x, y):
    keypoints = np.zeros((1, 17, 2), np.float32)
    keypoints[0, 0] = x, y
    return keypoints


def test_sigmas_are_cocos():
    from pycocotools.cocoeval import Params

    assert pytest.approx(Params("keypoints").kpt_oks_sigmas, rel=1e-6) == SIGMAS


def test_skeleton_is_cocos():
    # COCO's own list, which counts from 1
    coco = "16-14 14-12 17-15 15-13 12-13 6-12 7-13 6-7 6-8 7-9 8-10 9-11 2-3 1-2 1-3 2-4 3-5 4-6 5-7"
    assert " ".join(f"{a + 1}-{b + 1}" for a, b in SKELETON) == coco
    assert len(KEYPOINT_NAMES) == len(set(KEYPOINT_NAMES)) == 17


def test_oks_by_hand():
    # the nose 3, 4 px off: exp(-25 / (2 * 0.026)^2 / 100^2 / 2)
    value = oks(only_nose(53, 54), only_nose(50, 50), BOX)
    assert value == pytest.approx(math.exp(-25 / 0.052**2 / 1e4 / 2), rel=1e-5)


def test_only_visible_keypoints_of_the_label_count():
    prediction = np.full((1, 17, 2), 77, np.float32)
    prediction[0, 0] = 50, 50
    assert oks(prediction, only_nose(50, 50), BOX) == 1
    # on an axis is visible, (0, 0) is not
    assert oks(only_nose(0, 30), only_nose(0, 30), BOX) == 1
    label = only_nose(0, 30)
    label[0, 1] = 30, 0
    assert oks(only_nose(0, 30), label, BOX) == pytest.approx(0.5)


def test_without_visible_keypoints_the_doubled_box_counts():
    nowhere = np.zeros((1, 17, 2), np.float32)
    box = np.array([[100, 100, 150, 200]], np.float32)  # doubled: 50, 0 .. 200, 300
    inside, outside = np.full((1, 17, 2), 199, np.float32), np.full((1, 17, 2), 203, np.float32)
    assert oks(inside, nowhere, box) == 1
    expected = np.exp(-9 / (2 * SIGMAS) ** 2 / (50 * 100) / 2).mean()  # 3 px off in x alone
    assert oks(outside, nowhere, box) == pytest.approx(expected, rel=1e-5)


def test_arguments_stay_and_tensors_are_taken():
    label, prediction, box = np.zeros((1, 17, 2), np.float32), only_nose(50, 50), BOX.copy()
    oks(prediction, label, box)
    assert (label == 0).all()
    assert (box == BOX).all()
    assert oks(torch.from_numpy(prediction), torch.from_numpy(label), torch.from_numpy(box)).dtype == np.float32


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="17, 2"):
        oks(np.zeros((17, 2)), np.zeros((1, 17, 2)), BOX)
    with pytest.raises(ValueError, match="17, 2"):
        oks(np.zeros((1, 17, 2)), np.zeros((1, 17, 2)), BOX[0])


@given(poses, poses)
def test_oks_is_one_for_the_same_pose_and_a_share_for_others(a, b):
    box = np.array([[0, 0, 300, 200]] * 3, np.float32)
    assert (oks(a, a, box) == 1).all()
    value = oks(a, b, box)
    assert ((value >= 0) & (value <= 1)).all()


@given(poses, poses, st.sampled_from([0.5, 2, 8]))
def test_oks_does_not_depend_on_the_scale_of_the_picture(a, b, scale):
    box = np.array([[0, 0, 300, 200]] * 3, np.float32)
    assert oks(a * scale, b * scale, box * scale) == pytest.approx(oks(a, b, box), abs=1e-5)


@given(poses, poses)
def test_a_larger_person_forgives_more(a, b):
    box = np.array([[0, 0, 300, 200]] * 3, np.float32)
    assert (oks(a, b, 2 * box) >= oks(a, b, box)).all()


def test_golden_oks():
    # metrics/metrics_golden.safetensors; the raw numbers were found by bisection, +-1e-6
    g = {name: value.numpy() for name, value in tensors("metrics/metrics_golden").items()}
    prediction, label = g["oks_hyp"].reshape(-1, 17, 2), g["oks_ref"].reshape(-1, 17, 2)
    box = g["oks_bbox_before"]
    value = oks(prediction, label, box)
    assert value == pytest.approx(g["oks_raw_bisected"], abs=1e-6)
    thresholds = [name.removeprefix("oks_score_thresh") for name in g if name.startswith("oks_score_thresh")]
    assert thresholds
    for threshold in thresholds:
        assert (value >= float(threshold)).tolist() == (g[f"oks_score_thresh{threshold}"] == 1).tolist()
    count, given = g["oks_short_hyp"].shape
    short = np.pad(g["oks_short_hyp"], ((0, 0), (0, 34 - given))).reshape(-1, 17, 2)
    assert (oks(short, label[:count], box[:count]) >= 0.5).tolist() == (g["oks_short_score"] == 1).tolist()
