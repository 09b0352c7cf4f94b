"""Masks by the rows of an RPar table, for the tokenizer's commands (docs/tokenizer.md and docs/data.md)."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ...data.columns import check_box_in_picture, parse_box
from ...data.dataset import BadRow
from ...data.images import read_label_map, read_size
from ...data.tsv import TsvFile
from ...utils.errors import DataError
from ...utils.parsing import CLASS_NAMES, crop_label_map, without_ignored, zoom_label_map

Item = TypeVar("Item")
COLUMNS = ("id", "expression", "box", "codes", "mask", "image")
JITTER = 0.1  # of the box's sides: how far each edge moves at most in training


@dataclass(frozen=True)
class MaskRow:
    """A row and its mask, int64 [H, W] of the whole picture, 255 where it is ignored.

    columns: the row's text; where: "file:line".
    """

    where: str
    columns: dict[str, str]
    mask: Tensor
    box_xyxy: np.ndarray  # image px

    def crop(self, size_hw: tuple[int, int]) -> Tensor:
        """The mask in the box at the tokenizer's size, int64 [*size_hw]; also with 255."""
        return crop_label_map(self.mask, self.box_xyxy.tolist(), size_hw)

    def box_canvas(self, size: int) -> tuple[float, ...]:
        """The box in canvas px; `size` is the canvas's side."""
        height, width = self.mask.shape
        ratios = (size / width, size / height) * 2
        return tuple(float(edge) * ratio for edge, ratio in zip(self.box_xyxy, ratios, strict=True))

    def label(self, size: int) -> Tensor:
        """The mask on the canvas, as evaluation sees it, int64 [size, size]; also with 255."""
        return torch.from_numpy(zoom_label_map(self.mask.numpy(), size)).long()


def open_table(path: str | Path) -> TsvFile:
    """An RPar table with COLUMNS, or with all of them but `codes`. DataError on other columns."""
    file = TsvFile(path, (0,), names=("id",))
    with open(path, "rb") as lines:
        width = lines.readline().count(b"\t") + 1
    names = {len(COLUMNS): COLUMNS, len(COLUMNS) - 1: tuple(name for name in COLUMNS if name != "codes")}.get(width)
    if names is None:
        raise DataError(f"{file.where(0)}: has {width} columns, expected {', '.join(COLUMNS)}, with or without codes")
    return TsvFile(path, None, names=names)


def read_row(file: TsvFile, i: int, *, root: Path) -> MaskRow:
    """Row i; masks lie below `root`/gts, pictures below `root`/imgs. DataError names file, row and column."""
    columns, where = file[i], file.where(i)
    size_wh = read_size(columns["image"], root=root / "imgs", where=where)
    mask = read_label_map(columns["mask"], size_wh, root=root / "gts", where=where)
    box_xyxy = parse_box(columns["box"], where)
    check_box_in_picture(box_xyxy, size_wh, where=where)
    return MaskRow(where, columns, torch.from_numpy(mask.astype(np.int64)), box_xyxy)


class MaskRows(Dataset[MaskRow | BadRow]):
    """Every row once, in order. One that cannot be used is a BadRow: an error in a worker would not be clear."""

    def __init__(self, file: TsvFile, root: Path) -> None:
        self.file = file
        self.root = root
        self._last: MaskRow | None = None

    def __len__(self) -> int:
        return len(self.file)

    def __getitem__(self, i: int) -> MaskRow | BadRow:
        try:
            columns, last = self.file[i], self._last
            if last is not None and all(columns[name] == last.columns[name] for name in ("image", "mask", "box")):
                return replace(last, columns=columns, where=self.file.where(i))  # neighbours are often of one person
            self._last = read_row(self.file, i, root=self.root)
            return self._last
        except DataError as error:
            return BadRow(i, str(error))


class Draws(Dataset[Item | BadRow], ABC, Generic[Item]):
    """An endless shuffled stream. Draw k follows from seed and k alone, so that a resumed run sees the same draws."""

    def __init__(self, rows: MaskRows, size_hw: tuple[int, int], *, seed: int) -> None:
        self.rows = rows
        self.size_hw = size_hw
        self.seed = seed
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def row(self, draw: int) -> tuple[int, np.random.Generator]:
        """The row of a draw, and the generator of everything else that is random about it."""
        epoch, position = divmod(draw, len(self.rows))
        if epoch != self._epoch:
            self._order = np.random.default_rng((self.seed, 0, epoch)).permutation(len(self.rows))
            self._epoch = epoch
        return int(self._order[position]), np.random.default_rng((self.seed, 1, draw))

    @abstractmethod
    def __getitem__(self, draw: int) -> Item | BadRow:
        """What a run learns from."""


class TrainingCrops(Draws[Tensor]):
    """Crops, int64 [*size_hw], with background where the mask is ignored.

    Half of the draws have the edges of their box moved, half are mirrored.
    """

    def __getitem__(self, draw: int) -> Tensor | BadRow:
        index, rng = self.row(draw)
        row = self.rows[index]
        if isinstance(row, BadRow):
            return row
        box_xyxy = row.box_xyxy
        if rng.random() < 0.5:
            sides = np.tile(box_xyxy[2:] - box_xyxy[:2], 2)
            box_xyxy = box_xyxy + rng.uniform(-JITTER, JITTER, size=4) * sides
        crop = without_ignored(crop_label_map(row.mask, box_xyxy.tolist(), self.size_hw))
        return mirror_label_map(crop) if rng.random() < 0.5 else crop


def mirror_label_map(label_map: Tensor) -> Tensor:
    """The mirrored person: columns of [..., h, w] reversed, left and right parts exchanged."""
    swap = torch.arange(len(CLASS_NAMES))
    for label, name in enumerate(CLASS_NAMES):
        if name.startswith("left-"):
            other = CLASS_NAMES.index(name.replace("left-", "right-"))
            swap[label], swap[other] = other, label
    return swap.to(label_map)[label_map.flip(-1).long()]


def batches(rows: MaskRows, *, batch_size: int, num_workers: int, name: str) -> Iterator[list[MaskRow]]:
    """Every row once, in order, under a progress bar. DataError at the first row that cannot be used."""
    loader = DataLoader(rows, batch_size=batch_size, num_workers=num_workers, collate_fn=list)
    with tqdm(total=len(rows), desc=name, unit="row") as progress:
        for batch in loader:
            refuse_bad(batch)
            yield batch
            progress.update(len(batch))


def refuse_bad(batch: Sequence[object]) -> None:
    """DataError of the first BadRow, if any."""
    for item in batch:
        if isinstance(item, BadRow):
            raise DataError(item.message)
