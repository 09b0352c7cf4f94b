"""What a task is given and what it gives: a row or question, and what the network's answer means."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from PIL import Image

Labels = Mapping[str, Any]  # one row of a batch's numpy fields
LOWEST_SCORE = float(np.finfo(np.float32).min)  # of a missing answer; finite, because average precision ranks by it
T = TypeVar("T")


@dataclass(frozen=True)
class Annotation:
    """One row of a table, or a user's question, in image px. What it does not give is None."""

    id: str
    where: str
    image: Image.Image | None
    box_xyxy: np.ndarray | None = None  # float32 [4]
    expression: str = ""
    picture_key: Hashable = None  # rows with the same key are about the same picture
    boxes_xyxy: np.ndarray | None = None  # float32 [N, 4], of everyone whom the expression fits
    keypoints: np.ndarray | None = None  # float32 [34]
    codes: np.ndarray | None = None  # int64 [48]
    label_map: np.ndarray | None = None  # integers [h, w]: classes, or 255 where nobody labelled
    remarks: tuple[str, ...] = ()  # what the user should know about the row; said once for each file


@dataclass(frozen=True)
class Prediction:
    """An answer, in canvas px. `valid` is False if some of it could not be read; the rest is kept."""

    valid: bool
    box_xyxy: np.ndarray | None = None  # float32 [4]
    boxes_xyxy: np.ndarray | None = None  # float32 [N, 4]
    keypoints: np.ndarray | None = None  # float32 [34], (0, 0) where not named
    codes: np.ndarray | None = None  # int64 [48], may be out of range
    label_map: np.ndarray | None = None  # int64 [h, w], the inside of the box
    # float32 [classes], of `soft_overlaps`; None unless distributions were kept
    part_overlaps: np.ndarray | None = None
    caption: str | None = None
    score: float = 0.0  # from generation; average precision ranks by it


def given(value: T | None) -> T:
    """A field that every row or prediction of the calling task has. Raises ValueError for None."""
    if value is None:
        raise ValueError("the annotation or prediction lacks a field that its task needs")
    return value
