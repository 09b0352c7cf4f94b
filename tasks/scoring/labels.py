"""The labels of a table, without torch and without decoding its pictures (docs/scoring.md)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...data.cleaning import clean_caption
from ...data.columns import parse_box, parse_boxes, parse_caption, parse_keypoints, shorten
from ...data.images import read_size
from ...data.tables import TABLES
from ...data.tsv import TsvFile
from ...utils.captions import split_references
from ...utils.errors import DataError, shown

Size = tuple[int, int]


@dataclass
class Labels:
    """The rows of a table, N of them, image px. What the task does not have is empty.

    pictures: int64 [N], number of each row's picture, 0..G-1. sizes: width and height, where they were asked for.
    """

    ids: list[str] = field(default_factory=list)
    wheres: list[str] = field(default_factory=list)
    pictures: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    sizes: list[Size | None] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)  # float32 [4], or of grec [K, 4]
    keypoints: list[np.ndarray] = field(default_factory=list)  # float32 [34]
    masks: list[str] = field(default_factory=list)  # cells
    references: list[list[str]] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)


def read_labels(
    path: Path, task: str, *, selected_cols: str | None = None, root: Path, sizes: bool = False, by: int | None = None
) -> Labels:
    """All rows. root: where the table names files. by: number of the column that gives `groups`. Raises DataError."""
    table = TABLES[task]
    columns = selected_cols or table.default_cols
    names = (
        table.columns if task not in ("rpar", "rpar_full_mask") else ("id", "image", "expression", "box", "", "mask")
    )
    if by is not None:
        columns, names = f"{columns},{by}", (*names, "group")
    file = TsvFile(path, columns, names=names)
    labels, pictures = Labels(), np.zeros(len(file), np.int64)
    number: dict[int, int] = {}  # of a picture, by its cell's hash: base64 takes too much memory
    for i in range(len(file)):
        row, where = _row(file, i, by=by), file.where(i)
        cell = hash(row["image"])
        pictures[i] = number.setdefault(cell, len(number))
        labels.ids.append(row["id"])
        labels.wheres.append(where)
        # The first row's is always read: another column in its place would count pictures wrongly.
        size = read_size(row["image"], root=root / table.image_folder, where=where) if sizes or i == 0 else None
        labels.sizes.append(size)
        _add(labels, row, where)
        if by is not None:
            labels.groups.append(row["group"])
    labels.pictures = pictures
    return labels


def _row(file: TsvFile, i: int, *, by: int | None) -> dict[str, str]:
    try:
        return file[i]
    except DataError:
        count = len(file.cells(i))
        if by is None or by < count:
            raise
        raise DataError(f"{file.where(i)}: has {count} columns, counted from 0: --by {by} is none of them") from None


def _add(labels: Labels, row: Mapping[str, str], where: str) -> None:
    """What the row's columns hold."""
    if "boxes" in row:
        labels.boxes.append(parse_boxes(row["boxes"], where))
    if "box" in row:
        labels.boxes.append(parse_box(row["box"], where))
    if "keypoints" in row:
        labels.keypoints.append(parse_keypoints(row["keypoints"], where))
    if "mask" in row:
        labels.masks.append(row["mask"])
    if "caption" in row:
        references = split_references(clean_caption(parse_caption(row["caption"], where)))
        if not references:
            raise DataError(
                f"{where}: column caption: needs a caption with a word in it, got {shorten(row['caption'])}"
            )
        labels.references.append(references)


def read_facts(path: Path, key: str, ids: Sequence[str]) -> list[str]:
    """The value of `key` for each id, from JSON lines with an `id` and facts. Raises DataError for an id without."""
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
        facts = {str(fields["id"]): fields.get(key) for fields in lines}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: expected JSON lines with an `id` ({error!r})") from error
    missing = [name for name in ids if facts.get(name) is None]
    if missing:
        raise DataError(f"{path}: {len(missing)} of {len(ids)} rows have no `{key}` there, such as {shown(missing[0])}")
    return [str(facts[name]) for name in ids]
