"""Faults of parsing maps: codes, and masks."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...data.columns import parse_codes, shorten
from ...data.images import LabelMapClassError, LabelMapSizeError, read_label_map
from ...utils.errors import DataError
from ...utils.parsing import IGNORED, pixel_box
from ..making.rules import tight_box
from .findings import Fault

TOLERANCE = 1  # px: boxes are rounded


def code_faults(cell: str, num_codes: int) -> Iterator[Fault]:
    """Of the codes of a row that has some."""
    try:
        parse_codes(cell, "", num_codes=num_codes)
    except DataError:
        yield "bad-codes", f"{len(cell.split(','))} codes, of a tokenizer with 0..{num_codes - 1}: {shorten(cell)}"


def mask_faults(cell: str, box_xyxy: np.ndarray | None, size_wh: tuple[int, int], *, root: Path) -> Iterator[Fault]:
    """Of a person's mask. box_xyxy: float32 [4] with x1 > x0, y1 > y0; None if it cannot be read."""
    try:
        mask = read_label_map(cell, size_wh, root=root, where="")
    except DataError as error:
        kinds = {LabelMapSizeError: "mask-size", LabelMapClassError: "mask-class"}
        yield kinds.get(type(error), "unreadable-mask"), str(error).removeprefix(": column mask: ")
        return
    if box_xyxy is None:
        return
    labelled = (mask > 0) & (mask != IGNORED)
    x0, y0, x1, y1 = pixel_box(box_xyxy, size_wh)
    inside = int(labelled[y0:y1, x0:x1].sum())
    if not inside:
        yield "empty-mask", f"{cell}: {int(labelled.sum())} labelled pixels, none of them in the box"
        return
    margin = TOLERANCE
    near = labelled[max(y0 - margin, 0) : y1 + margin, max(x0 - margin, 0) : x1 + margin]
    total = int(labelled.sum())
    if total > near.sum():
        yield "mask-outside-box", f"{cell}: {total - inside} of {total} labelled pixels outside"
        return
    tight = tight_box(labelled)
    if max(abs(a - b) for a, b in zip(tight, (x0, y0, x1, y1), strict=True)) > TOLERANCE:
        yield "mask-not-tight", f"{cell}: box {x0},{y0},{x1},{y1}, tight {','.join(map(str, tight))}"
