"""What a row may hold, and how its cells are written (docs/datasets.md, "Rules")."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from ...data.columns import MOST_BOXES
from ...utils.captions import REFERENCE_SEPARATOR
from ...utils.errors import DataError, shown
from ...utils.keypoints import KEYPOINT_NAMES, NUM_KEYPOINTS

Box = tuple[float, float, float, float]

MOST_CLIPPED = 1.0  # px by which a box or a keypoint may leave its picture: annotations round
SMALLEST_SIDE = 1.0  # px

# Numbers of keypoints that other data sets have.
_SKELETONS = {
    14: "CrowdPose or AI Challenger",
    15: "JTA or PoseTrack",
    16: "MPII or LIP",
    26: "Halpe",
    133: "COCO-WholeBody",
    136: "Halpe",
}


class LeftOutError(Exception):
    """A rule leaves a row out; its text is the reason, as the manifest counts it."""


class FaultError(DataError):
    """A fault of the source. kind: its name in the manifest, where `--partial` leaves the rows out."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def number(value: float) -> str:
    """At most two decimals, without trailing zeros: 219.3, 112."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def from_xywh(box_xywh: Sequence[float]) -> Box:
    """COCO's x, y, width, height -> x0, y0, x1, y1."""
    x, y, width, height = box_xywh
    return x, y, x + width, y + height


def tight_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of the pixels that are set in a mask, bool [H, W], of which there are some.

    Half open: x1 and y1 are one beyond the last pixel.
    """
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def numbers(value: object, count: int, *, where: str, what: str) -> tuple[float, ...]:
    """`count` finite numbers of a JSON list; DataError for anything else."""
    plain = isinstance(value, list | tuple) and all(
        isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in value
    )
    if not (plain and isinstance(value, list | tuple) and len(value) == count):
        raise DataError(f"{where}: {what}: expected {count} finite numbers, got {shown(value)}")
    return tuple(map(float, value))


def fit_box(
    box_xyxy: Sequence[float],
    size_wh: tuple[int, int],
    *,
    where: str,
    changed: Counter[str],
    any_distance: bool = False,
) -> Box:
    """The box rounded to 2 decimals and clipped to its picture, image px.

    A FaultError if its corners are swapped, or if it leaves the picture by more than a pixel, unless `any_distance`.
    LeftOutError if a side is then at most 1 px. changed: counts what was clipped.
    """
    rounded = [round(edge, 2) for edge in box_xyxy]
    if rounded[2] < rounded[0] or rounded[3] < rounded[1]:
        said = f"the box {box_cell(rounded)} has a negative width or height"
        raise FaultError("box-order", f"{where}: {said}; expected x0,y0,x1,y1 with x1 > x0 and y1 > y0")
    limits = [*size_wh, *size_wh]
    clipped = [min(max(edge, 0.0), float(limit)) for edge, limit in zip(rounded, limits, strict=True)]
    beyond = max(abs(before - after) for before, after in zip(rounded, clipped, strict=True))
    if beyond > MOST_CLIPPED and not any_distance:
        box, (width, height) = box_cell(rounded), size_wh
        raise FaultError("box-outside", f"{where}: the box {box} leaves its picture of {width} x {height} px")
    x0, y0, x1, y1 = clipped
    if x1 - x0 <= SMALLEST_SIDE or y1 - y0 <= SMALLEST_SIDE:
        raise LeftOutError("small-box")
    changed["clipped-box"] += beyond > 0
    return x0, y0, x1, y1


def box_cell(box_xyxy: Sequence[float]) -> str:
    """x0,y0,x1,y1"""
    return ",".join(map(number, box_xyxy))


def check_skeleton(keypoints: object, names: object, *, where: str) -> tuple[float, ...]:
    """The 51 numbers of a person with COCO's 17 keypoints. DataError for another skeleton, by its name if known.

    names: of the file's category, or None where it gives none.
    """
    if isinstance(names, list) and tuple(names) != KEYPOINT_NAMES:
        other = [k for k in range(min(len(names), NUM_KEYPOINTS)) if names[k] != KEYPOINT_NAMES[k]]
        got = f"{len(names)}{_whose(len(names))}" + (
            f", {shown(names[other[0]])} as number {other[0]}" if other else ""
        )
        raise DataError(f"{where}: expected COCO's 17 keypoints in COCO's order, got {got}")
    if isinstance(keypoints, list) and len(keypoints) != 3 * NUM_KEYPOINTS:
        points, rest = divmod(len(keypoints), 3)
        got = f"{len(keypoints)} numbers" + ("" if rest else f", which are {points} keypoints{_whose(points)}")
        raise DataError(f"{where}: expected 51 numbers, x,y,v of COCO's 17 keypoints, got {got}")
    found = numbers(keypoints, 3 * NUM_KEYPOINTS, where=where, what="keypoints")
    if not set(found[2::3]) <= {0.0, 1.0, 2.0}:
        raise DataError(
            f"{where}: keypoints: expected each third number, the flag, to be 0, 1 or 2, got {shown(found[2::3])}"
        )
    return found


def _whose(points: int) -> str:
    """Who has so many keypoints."""
    return f" ({_SKELETONS[points]})" if points in _SKELETONS else ""


def keypoints_cell(keypoints: Sequence[float], size_wh: tuple[int, int], *, where: str, changed: Counter[str]) -> str:
    """34 numbers x,y of 51 numbers x,y,v in image px; 0,0 where v is 0.

    A labelled point at 0,0 becomes 0,1, which readers do not take for "not labelled". A FaultError if a labelled point
    leaves the picture by more than a pixel. changed: counts what was moved.
    """
    cells = []
    for x, y, flag in zip(keypoints[::3], keypoints[1::3], keypoints[2::3], strict=True):
        if not flag:
            cells += ["0", "0"]
            continue
        if not all(-MOST_CLIPPED <= v <= side + MOST_CLIPPED for v, side in zip((x, y), size_wh, strict=True)):
            width, height = size_wh
            message = f"{where}: the keypoint {number(x)},{number(y)} leaves its picture of {width} x {height} px"
            raise FaultError("keypoint-outside", message)
        point = [number(min(max(v, 0.0), float(side))) for v, side in zip((x, y), size_wh, strict=True)]
        changed["clipped-keypoint"] += not all(0 <= v <= side for v, side in zip((x, y), size_wh, strict=True))
        changed["moved-keypoint"] += point == ["0", "0"]
        cells += ["0", "1"] if point == ["0", "0"] else point
    return ",".join(cells)


def text_cell(text: str) -> str:
    """On one line, with single spaces. LeftOutError if nothing is left."""
    cleaned = " ".join(text.split())
    if not cleaned:
        raise LeftOutError("empty-text")
    return cleaned


def captions_cell(captions: Sequence[str]) -> str:
    """Captions with && between them, and none inside. LeftOutError if none has any text."""
    cleaned = [" ".join(caption.replace(REFERENCE_SEPARATOR, " ").split()) for caption in captions]
    return text_cell(REFERENCE_SEPARATOR.join(caption for caption in cleaned if caption))


def boxes_cell(boxes: Sequence[Box], *, changed: Counter[str]) -> str:
    """x0,y0,x1,y1;... from left to right, each once; empty for nobody. LeftOutError if there are more than 20."""
    different = sorted(set(boxes))
    changed["repeated-box"] += len(boxes) - len(different)
    if len(different) > MOST_BOXES:
        raise LeftOutError("many-boxes")
    return ";".join(map(box_cell, different))
