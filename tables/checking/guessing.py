"""Which task a table belongs to, as its columns tell."""

import codecs
from collections import Counter
from itertools import islice
from pathlib import Path

from ...data.columns import box_cells
from ...data.tables import TABLES
from ...utils.errors import DataError, UserError, reason_of
from .boxes import read_box
from .keypoints import read_points

_LOOKED_AT = 200  # rows
_PICTURE_CELL = 100  # letters of base64: no picture is smaller


def guess_task(path: Path) -> str:
    """The task whose columns most of the first rows have. UserError if there is none."""
    votes = Counter(filter(None, map(_task_of, _first_rows(path))))
    if votes["grec"]:  # other rows of one box read as REC's
        votes["grec"] += votes.pop("refcoco", 0)
    if not votes:
        raise UserError(f"{path}: its columns are those of no task; name it with --task {{{','.join(TABLES)}}}")
    return votes.most_common(1)[0][0]


def _first_rows(path: Path) -> list[list[str]]:
    try:
        with path.open("rb") as file:
            lines = [line.removeprefix(codecs.BOM_UTF8) for line in islice(file, _LOOKED_AT)]
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or reason_of(error)}") from error
    return [line.decode("utf-8", "replace").rstrip("\r\n").split("\t") for line in lines]


def _task_of(cells: list[str]) -> str | None:
    """The task of a row; None for a row of none."""
    match cells:
        case [_, _, _, box, points, picture, *_] if _is_box(box) and read_points(points) is not None:
            return "rkpt" if _is_picture(picture) else None
        case [_, _, box, _, mask, picture, *_] if _is_box(box) and "." in mask and _is_picture(picture):
            return "rpar"
        case [_, _, _, boxes, picture, *_] if all(map(_is_box, box_cells(boxes))) and _is_picture(picture):
            return "refcoco" if _is_box(boxes) else "grec"
        case [_, _, box, picture, *_] if _is_box(box) and _is_picture(picture):
            return "rhrc"
    return None


def _is_box(cell: str) -> bool:
    return read_box(cell) is not None


def _is_picture(cell: str) -> bool:
    """Whether a cell looks like base64 or a path."""
    return " " not in cell and ("." in cell or len(cell) > _PICTURE_CELL) and "," not in cell
