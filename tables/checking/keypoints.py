"""Faults of keypoints."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...data.columns import parse_keypoints, shorten
from ...utils.errors import DataError
from ...utils.keypoints import KEYPOINT_NAMES
from .boxes import from_xywh
from .findings import Fault

MOST_OUTSIDE = 0.5  # of a row: hidden keypoints of people who are partly covered lie below their boxes
FAR = 0.5  # times the box's longer side
TOLERANCE = 1.0  # px


@dataclass(frozen=True)
class PointCounts:
    """Labelled keypoints: all, those outside of the box, and those outside if it were x,y,width,height."""

    labelled: int = 0
    outside: int = 0
    outside_as_xywh: int = 0

    def __add__(self, other: "PointCounts") -> "PointCounts":
        return PointCounts(
            self.labelled + other.labelled,
            self.outside + other.outside,
            self.outside_as_xywh + other.outside_as_xywh,
        )


def read_points(cell: str) -> np.ndarray | None:
    """float32 [17, 2] in image px, (0, 0) where not labelled; None if the cell does not hold 34 numbers."""
    try:
        return parse_keypoints(cell, "").reshape(-1, 2)
    except DataError:
        return None


def keypoint_faults(cell: str, box_xyxy: np.ndarray | None, size_wh: tuple[int, int] | None) -> Iterator[Fault]:
    """Of a person's keypoints. box_xyxy, size_wh: None if they cannot be read."""
    points = read_points(cell)
    if points is None:
        yield "bad-keypoints", f"{len(cell.split(','))} values: {shorten(cell)}"
        return
    labelled = points.any(-1)
    if not labelled.any():
        yield "no-keypoints", "0 of 17 labelled"
        return
    if size_wh is not None:
        beyond = np.maximum(-points, points - np.array(size_wh)).max(-1)
        for k in np.flatnonzero(labelled & (beyond > TOLERANCE)).tolist():
            x, y = points[k].tolist()
            yield (
                "keypoint-outside",
                f"{KEYPOINT_NAMES[k]} at {x:g},{y:g} of a picture of {size_wh[0]} x {size_wh[1]} px",
            )
    if box_xyxy is not None and (box_xyxy[2:] > box_xyxy[:2]).all():
        beyond = _beyond(points[labelled], box_xyxy)
        outside, longer = int((beyond > TOLERANCE).sum()), float((box_xyxy[2:] - box_xyxy[:2]).max())
        if outside > MOST_OUTSIDE * len(beyond) or beyond.max() > FAR * longer:
            yield "keypoints-outside-box", f"{outside} of {len(beyond)} outside, by up to {beyond.max():.0f} px"


def count_points(points: np.ndarray, box: np.ndarray) -> PointCounts:
    """Keypoints [17, 2] against the box's 4 numbers, in either format."""
    labelled = points[points.any(-1)]
    outside, as_xywh = (int((_beyond(labelled, b) > TOLERANCE).sum()) for b in (box, from_xywh(box)))
    return PointCounts(len(labelled), outside, as_xywh)


def _beyond(points: np.ndarray, box_xyxy: np.ndarray) -> np.ndarray:
    """px by which each point [N, 2] lies outside of a box, [N]; 0 or less if it lies within."""
    distance: np.ndarray = np.maximum(box_xyxy[:2] - points, points - box_xyxy[2:]).max(-1)
    return distance
