"""Boxes x0, y0, x1, y1: overlap, REC's accuracy, and clipping to a picture (docs/evaluation.md, docs/deviations.md 14).

Functions take arrays or CPU tensors and return numpy arrays, computed in float32, as the golden numbers are.
"""

import numpy as np
from numpy.typing import ArrayLike

IOU_EPSILON = np.float32(1e-6)


def iou(a_xyxy: ArrayLike, b_xyxy: ArrayLike) -> np.ndarray:
    """Intersection over union of each pair of boxes, float32 [N] in 0..1; 0 where they share no area.

    a_xyxy, b_xyxy: [N, 4] in the same frame; a box with swapped corners shares no area with any.
    """
    a, b = np.asarray(a_xyxy, np.float32), np.asarray(b_xyxy, np.float32)
    shared_wh = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])  # [N, 2]
    overlap = (shared_wh > 0).all(-1)  # [N]
    shared = np.where(overlap, shared_wh.prod(-1), np.float32(0))
    union = np.where(overlap, box_area(a) + box_area(b) - shared, np.float32(1))
    return shared / (union + IOU_EPSILON)


def box_area(box_xyxy: ArrayLike) -> np.ndarray:
    """Width times height, float32 [N]; negative where one of them is."""
    box = np.asarray(box_xyxy, np.float32)
    return (box[..., 2:] - box[..., :2]).prod(-1)


def box_hits(prediction: ArrayLike, label: ArrayLike) -> np.ndarray:
    """Which predicted boxes [N, 4] are right, bool [N]: the mean is the paper's Acc@0.5."""
    return iou(prediction, label) >= 0.5


def clip_box(box_xyxy: ArrayLike, size_wh: tuple[float, float]) -> np.ndarray:
    """The box inside 0..width, 0..height and at least one pixel wide and high, float32 [..., 4].

    The first corner takes precedence: a box with x1 <= x0 becomes one pixel wide at x0. Whole numbers stay whole.
    """
    box, size = np.asarray(box_xyxy, np.float32), np.asarray(size_wh, np.float32)
    first = np.clip(box[..., :2], 0, size - 1)
    last = np.maximum(np.clip(box[..., 2:], 0, size), first + 1)
    return np.concatenate([first, last], axis=-1)
