"""COCO's 17 keypoints: names, skeleton and similarity (OKS).

See docs/vocabulary.md (names, order, what is visible) and docs/evaluation.md (OKS).
Functions take arrays or CPU tensors and return numpy arrays; `oks` computes in float32, as the golden numbers do.
"""

import numpy as np
from numpy.typing import ArrayLike

from .boxes import box_area

KEYPOINT_NAMES = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
NUM_KEYPOINTS = len(KEYPOINT_NAMES)

# COCO's, in the order of the names.
EXACT_SIGMAS = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000  # float64
SIGMAS = EXACT_SIGMAS.astype(np.float32)

# COCO's skeleton in COCO's order: the two keypoints of each limb.
SKELETON = (
    (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10),
    (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
)  # fmt: skip

_OKS_EPSILON = np.finfo(np.float32).eps


def visible_keypoints(keypoints: ArrayLike) -> np.ndarray:
    """Which keypoints [..., 17, 2] are annotated, bool [..., 17]: (0, 0) is COCO's "not labelled"."""
    return np.asarray(keypoints).max(-1) > 0


def oks(prediction: ArrayLike, label: ArrayLike, box_xyxy: ArrayLike) -> np.ndarray:
    """Object keypoint similarity of each person, float32 [N] in 0..1, over the label's visible keypoints.

    prediction, label: [N, 17, 2]; box_xyxy: [N, 4], the label's box: all image px. A person without any visible
    keypoint is measured as in COCO: over all 17, by the distance to its box with a margin of the box's own size.
    """
    prediction, label = np.asarray(prediction, np.float32), np.asarray(label, np.float32)
    box = np.asarray(box_xyxy, np.float32)
    if not prediction.shape == label.shape == (len(box), NUM_KEYPOINTS, 2) or box.shape != (len(box), 4):
        raise ValueError(f"oks needs two [N, 17, 2] and [N, 4], got {prediction.shape}, {label.shape}, {box.shape}")
    box = box[:, None]  # [N, 1, 4]
    visible = visible_keypoints(label)  # [N, 17]
    any_visible = np.any(visible, axis=-1, keepdims=True)  # [N, 1]
    size = box[..., 2:] - box[..., :2]
    outside = np.maximum(box[..., :2] - size - prediction, 0) + np.maximum(prediction - box[..., 2:] - size, 0)
    offset = np.where(any_visible[..., None], prediction - label, outside)  # [N, 17, 2]
    error = (offset**2).sum(-1) / (2 * SIGMAS) ** 2 / (box_area(box) + _OKS_EPSILON) / 2  # [N, 17]
    counted = visible | ~any_visible
    return (np.exp(-error) * counted).sum(-1) / counted.sum(-1, dtype=np.float32)
