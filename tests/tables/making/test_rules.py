"""What a row may hold, and how its cells are written."""

from collections import Counter

import numpy as np
import pytest
from raw_files import RKPT_ROW, with_flags

from refhcm.tables.making.rules import (
    FaultError,
    LeftOutError,
    box_cell,
    boxes_cell,
    captions_cell,
    check_skeleton,
    fit_box,
    from_xywh,
    keypoints_cell,
    number,
    text_cell,
    tight_box,
)
from refhcm.utils.errors import DataError
from refhcm.utils.keypoints import KEYPOINT_NAMES


@pytest.mark.parametrize(
    ("value", "text"),
    [(219.30, "219.3"), (112.0, "112"), (100.0, "100"), (-0.001, "0"), (12345.678, "12345.68"), (0, "0")],
)
def test_numbers_drop_zeros_behind_the_point_only(value, text):
    assert number(value) == text


def fitted(box, changed=None, **options):
    return fit_box(box, (640, 480), where="here", changed=Counter() if changed is None else changed, **options)


def test_xywh_becomes_corners():
    assert box_cell(fitted(from_xywh((425.68, 219.3, 117.11, 170.81)))) == "425.68,219.3,542.79,390.11"


def test_a_box_is_clipped_by_at_most_a_pixel():
    changed = Counter()
    assert fitted((-0.5, 0, 640.99, 480), changed) == (0, 0, 640, 480)
    assert changed["clipped-box"] == 1
    with pytest.raises(FaultError, match=r"here: the box 0,0,641.01,480 leaves its picture of 640 x 480 px") as error:
        fitted((0, 0, 641.01, 480))
    assert error.value.kind == "box-outside"
    assert fitted((-50, 0, 700, 480), any_distance=True) == (0, 0, 640, 480)


def test_a_box_inside_changes_nothing():
    changed = Counter()
    assert fitted((0, 0, 640, 480), changed) == (0, 0, 640, 480)
    assert not +changed


@pytest.mark.parametrize("box", [(5, 5, 6, 90), (5, 5, 90, 6), (639.5, 5, 641, 90), (9, 9, 9, 9), (9, 9, 8.999, 20)])
def test_a_box_of_a_pixel_is_left_out(box):
    with pytest.raises(LeftOutError, match="small-box"):
        fitted(box)


@pytest.mark.parametrize("box", [(9, 9, 3, 20), (9, 9, 20, 3), (9, 9, 8.99, 20), (700, 9, 60, 90)])
@pytest.mark.parametrize("any_distance", [False, True])
def test_swapped_corners_are_a_fault(box, any_distance):
    said = f"here: the box {box_cell(box)} has a negative width or height; expected x0,y0,x1,y1"
    with pytest.raises(FaultError, match=f"^{said}") as error:
        fitted(box, any_distance=any_distance)
    assert error.value.kind == "box-order"


def test_a_mask_has_a_half_open_box():
    mask = np.zeros((6, 9), bool)
    mask[2:4, 5] = True
    assert tight_box(mask) == (5, 2, 6, 4)


def test_flags_decide_which_points_are_written():
    points = [0.0] * 51
    points[:9] = [7.25, 9, 2, 30, 40, 0, 0, 0, 1]  # seen; coordinates without a label; labelled in the corner
    changed = Counter()
    cell = keypoints_cell(points, (640, 480), where="here", changed=changed)
    assert cell.split(",")[:6] == ["7.25", "9", "0", "0", "0", "1"]
    assert len(cell.split(",")) == 34
    assert changed["moved-keypoint"] == 1


def test_hidden_points_outside_the_box_are_kept():
    published = RKPT_ROW.split("\t")[-1]
    assert keypoints_cell(with_flags(published, 1), (640, 480), where="here", changed=Counter()) == published


def test_a_point_is_clipped_by_at_most_a_pixel():
    points = [-1.0, 480.5, 2, 640, 0, 1, 641, 481, 2] + [0.0] * 42
    changed = Counter()
    cell = keypoints_cell(points, (640, 480), where="here", changed=changed)
    assert cell.split(",")[:6] == ["0", "480", "640", "0", "640", "480"]
    assert +changed == {"clipped-keypoint": 2}
    for k, beyond in ((0, -1.01), (1, 481.01)):
        with pytest.raises(FaultError, match="here: the keypoint"):
            keypoints_cell([*points[:k], beyond, *points[k + 1 :]], (640, 480), where="here", changed=changed)


def test_a_point_outside_the_picture_is_a_fault():
    points = [700.0, 5, 2] + [0.0] * 48
    with pytest.raises(FaultError, match="here: the keypoint 700,5 leaves") as error:
        keypoints_cell(points, (640, 480), where="here", changed=Counter())
    assert error.value.kind == "keypoint-outside"


@pytest.mark.parametrize(
    ("count", "name"), [(14, "CrowdPose"), (16, "MPII or LIP"), (26, "Halpe"), (136, "Halpe"), (133, "COCO-WholeBody")]
)
def test_other_skeletons_are_refused_by_name(count, name):
    with pytest.raises(DataError, match=f"here: expected 51 numbers.*{count} keypoints .*{name}"):
        check_skeleton([1] * 3 * count, None, where="here")


def test_another_order_of_17_points_is_refused():
    names = [*KEYPOINT_NAMES[:5], *KEYPOINT_NAMES[:4:-1]]
    with pytest.raises(DataError, match="COCO's order, got 17, 'right_ankle' as number 5"):
        check_skeleton([1] * 51, names, where="here")
    assert len(check_skeleton([1] * 51, list(KEYPOINT_NAMES), where="here")) == 51


@pytest.mark.parametrize(
    "wrong", [[1] * 50 + ["x"], [1] * 50 + [True], [1] * 50 + [float("nan")], [3] * 51, "many", None]
)
def test_keypoints_that_are_none_are_refused(wrong):
    with pytest.raises(DataError, match="here"):
        check_skeleton(wrong, None, where="here")


def test_texts_are_one_line_with_their_letters():
    assert text_cell("  Männer\t mit\r\n Hut's ") == "Männer mit Hut's"
    with pytest.raises(LeftOutError, match="empty-text"):
        text_cell(" \n")


def test_captions_are_joined_and_hold_no_separator():
    assert captions_cell([" a man&&in red ", "", "b\tc"]) == "a man in red&&b c"
    with pytest.raises(LeftOutError, match="empty-text"):
        captions_cell([" ", "&&"])


def test_boxes_go_from_left_to_right_once():
    changed = Counter()
    cell = boxes_cell([(30, 0, 40, 9), (2.5, 0, 9, 9), (30, 0, 40, 9)], changed=changed)
    assert cell == "2.5,0,9,9;30,0,40,9"
    assert changed["repeated-box"] == 1
    assert boxes_cell([], changed=changed) == ""
    assert boxes_cell([(k, 0, k + 5, 5) for k in range(20)], changed=changed).count(";") == 19
    with pytest.raises(LeftOutError, match="many-boxes"):
        boxes_cell([(k, 0, k + 5, 5) for k in range(21)], changed=changed)
