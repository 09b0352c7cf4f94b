"""A record as the answer that a task needs, in image px (docs/scoring.md)."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...utils.errors import DataError, shown
from ...utils.keypoints import NUM_KEYPOINTS
from .box_text import Coordinates, boxes_in, has_symbols
from .records import TEXT_FIELDS, Record

NUM_CODES = 48
_BOXES = ("boxes", "extracted_predictions", "box", "bbox")
# What gives a task's answer, and how a file of another task is recognised.
FIELDS = {
    "refcoco": (*_BOXES, *TEXT_FIELDS),
    "grec": (*_BOXES, *TEXT_FIELDS),
    "rkpt": ("keypoints",),
    "rpar": ("image_code", "mask"),
    "rpar_full_mask": ("image_code", "mask"),
    "rhrc": ("caption", *TEXT_FIELDS),
}
_SIGNS = {"image_code": "rpar", "keypoints": "rkpt", "caption": "rhrc", "extracted_predictions": "grec"}
_SIGNS |= {"boxes": "grec", "box": "refcoco", "bbox": "refcoco"}


@dataclass(frozen=True)
class Answer:
    """What a record says. boxes: float64 [K, 4], None where it names none; keypoints: float64 [17, 2].

    mask: the file of a label map. readable: False where boxes were given and could not be read.
    """

    where: str
    boxes: np.ndarray | None = None
    keypoints: np.ndarray | None = None
    codes: np.ndarray | None = None
    mask: str | None = None
    caption: str | None = None
    score: float | None = None
    readable: bool = True


def check_task(record: Record, task: str) -> None:
    """Raises DataError unless the record has a field that answers the task."""
    if any(name in record.fields for name in FIELDS[task]):
        return
    other = next((sign for name, sign in _SIGNS.items() if name in record.fields), None)
    guess = f"; it looks like an answer of the task {other}" if other else ""
    raise DataError(
        f"{record.where}: --task {task} needs {' or '.join(f'`{name}`' for name in FIELDS[task])}, got the fields "
        f"{shown(sorted(record.fields))}{guess}"
    )


def read_answer(record: Record, task: str, *, coordinates: Coordinates, size_wh: tuple[int, int] | None) -> Answer:
    """The answer to a row whose picture has this size. Raises DataError naming the record and its field."""
    check_task(record, task)
    fields, where = record.fields, record.where
    score = None if fields.get("score") is None else float(_numbers(fields["score"], where, "score", count=1)[0])
    if task == "rhrc":
        return Answer(where, caption=_caption(fields, where), score=score)
    numbers, readable = _box_numbers(fields, where, coordinates)
    boxes = None if numbers is None else coordinates.boxes(numbers, size_wh)
    readable &= fields.get("valid") is not False  # evaluation's own word for an answer of `grec`
    answer = Answer(where, boxes, score=score, readable=readable)
    if task == "rkpt":
        points = coordinates.points(_keypoints(fields["keypoints"], where), size_wh)
        return replace(answer, keypoints=points)
    if "image_code" in fields:
        codes = _numbers(fields["image_code"], where, "image_code", count=NUM_CODES)
        return replace(answer, codes=codes.astype(np.int64))
    if "mask" in fields:
        if not isinstance(fields["mask"], str):
            raise DataError(f"{where}: mask: expected the name of a label map's file, got {shown(fields['mask'])}")
        return replace(answer, mask=fields["mask"])
    return answer


def _caption(fields: Mapping[str, Any], where: str) -> str:
    name = next(name for name in FIELDS["rhrc"] if name in fields)
    if not isinstance(fields[name], str):
        raise DataError(f"{where}: {name}: expected a text, got {shown(fields[name])}")
    return fields[name]


def _box_numbers(fields: Mapping[str, Any], where: str, coordinates: Coordinates) -> tuple[np.ndarray | None, bool]:
    """Boxes in the record's own frame, [K, 4], and whether they could be read; None where the record has none."""
    name = next((name for name in (*_BOXES, *TEXT_FIELDS) if name in fields), None)
    if name is None:
        return None, True
    value = fields[name]
    if isinstance(value, str):
        if has_symbols(value) and not coordinates.needs_size:
            raise DataError(
                f"{where}: {name}: {shown(value)} counts in symbols: say whose by --coordinates florence-2, paligemma "
                "or FRAME:ORDER"
            )
        numbers = boxes_in(value)
        if numbers is not None and not np.isfinite(numbers).all():
            numbers = None
        return (np.zeros((0, 4)), False) if numbers is None else (numbers, True)
    if value is None:
        return np.zeros((0, 4)), False
    flat = isinstance(value, list) and len(value) > 0 and not isinstance(value[0], list)
    rows = [value] if flat else value
    if not isinstance(rows, list):
        raise DataError(f"{where}: {name}: expected boxes of 4 numbers, got {shown(value)}")
    boxes = [_numbers(row, where, name, count=4) for row in rows]
    return np.array(boxes).reshape(-1, 4), True


def _keypoints(value: Any, where: str) -> np.ndarray:
    """34 numbers x, y, or 51 with COCO's third of each keypoint, which is left out: float64 [17, 2]."""
    width = 3 if isinstance(value, list) and len(value) == 3 * NUM_KEYPOINTS else 2
    return _numbers(value, where, "keypoints", count=width * NUM_KEYPOINTS).reshape(NUM_KEYPOINTS, width)[:, :2]


def _numbers(value: Any, where: str, name: str, *, count: int) -> np.ndarray:
    """Finite numbers, float64 [count]."""
    values = value if isinstance(value, list) else [value]
    kinds = all(type(number) in (int, float) for number in values)
    if len(values) != count or not kinds or not all(abs(number) <= sys.float_info.max for number in values):
        expected = "a finite number" if count == 1 else f"{count} finite numbers"
        raise DataError(f"{where}: {name}: expected {expected}, got {shown(value)}")
    return np.array(values, np.float64)
