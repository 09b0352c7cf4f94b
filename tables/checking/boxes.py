"""Faults of boxes, of one person and of none to many (`grec`)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ...data.columns import MOST_BOXES, box_cells, check_box_in_picture, parse_numbers, shorten
from ...utils.errors import DataError
from ..making import rules
from .findings import Fault

BEYOND = 0.01  # px: cells are rounded to 2 decimals
SMALL_SIDE = 1.0  # px


@dataclass(frozen=True)
class BoxCounts:
    """Of boxes with 4 numbers: all, those that cannot be x0,y0,x1,y1, and those that could be x,y,width,height."""

    total: int = 0
    impossible: int = 0
    as_xywh: int = 0

    def __add__(self, other: "BoxCounts") -> "BoxCounts":
        return BoxCounts(self.total + other.total, self.impossible + other.impossible, self.as_xywh + other.as_xywh)


def read_box(cell: str) -> np.ndarray | None:
    """The cell's 4 numbers in any order, float32 [4]; None if they are others."""
    try:
        return parse_numbers(cell, "", column="box", expected="", count=4)
    except DataError:
        return None


def box_faults(cell: str, size_wh: tuple[int, int] | None) -> Iterator[Fault]:
    """Of one box. size_wh: of its picture; None if that cannot be read."""
    box = read_box(cell)
    if box is None:
        yield "bad-box", shorten(cell)
        return
    x0, y0, x1, y1 = box.tolist()
    if x1 <= x0 or y1 <= y0:
        yield "box-order", cell
        return
    if min(x1 - x0, y1 - y0) <= SMALL_SIDE:
        yield "small-box", cell
    if size_wh is None:
        return
    picture = f"{cell} of a picture of {size_wh[0]} x {size_wh[1]} px"
    try:
        check_box_in_picture(box, size_wh, where="")
    except DataError:
        yield "box-outside", picture
        return
    if _beyond(box, size_wh) > BEYOND:
        yield "box-beyond-edge", picture


def boxes_faults(cell: str, size_wh: tuple[int, int] | None) -> Iterator[Fault]:
    """Of the boxes of a row of `grec`."""
    cells = box_cells(cell)
    for one in cells:
        yield from box_faults(one, size_wh)
    if len(cells) > MOST_BOXES:
        yield "many-boxes", f"{len(cells)} boxes"
    found = [tuple(box.tolist()) for box in map(read_box, cells) if box is not None]
    repeated = next((one for k, one in enumerate(found) if one in found[:k]), None)
    if repeated is not None:
        yield "repeated-box", ",".join(f"{number:g}" for number in repeated)


def count_boxes(cells: Iterable[str], size_wh: tuple[int, int]) -> BoxCounts:
    """How the boxes of a row would read in either format."""
    counts = BoxCounts()
    for box in map(read_box, cells):
        if box is not None:
            impossible = bool((box[2:] <= box[:2]).any())
            counts += BoxCounts(1, int(impossible), int((box >= 0).all() and _beyond(from_xywh(box), size_wh) <= 1))
    return counts


def from_xywh(box_xywh: np.ndarray) -> np.ndarray:
    """`rules.from_xywh` of an array, float32 [4]."""
    return np.array(rules.from_xywh(box_xywh.tolist()), np.float32)


def _beyond(box_xyxy: np.ndarray, size_wh: tuple[int, int]) -> float:
    """px by which a box leaves its picture; 0 or less if it does not."""
    return float(max(-box_xyxy.min(), (box_xyxy[2:] - np.array(size_wh)).max()))
