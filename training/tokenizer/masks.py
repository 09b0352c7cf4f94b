"""Masks by the rows of an RPar table, for the tokenizer's commands (docs/tokenizer.md and docs/data.md)."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ...data.canvas import resize_label_map
from ...data.columns import check_box_in_picture, parse_box
from ...data.dataset import BadRow
from ...data.images import PILLOW_ERRORS, path_below, read_label_map
from ...data.tsv import TsvFile
from ...utils.errors import DataError
from ...utils.parsing import crop_label_map, mirror_label_map

COLUMNS = ("id", "expression", "box", "codes", "mask", "image")
JITTER = 0.1  # of the box's sides: how far each edge moves at most in training


@dataclass(frozen=True)
class MaskRow:
    """A row's person. mask: int64 [H, W] of the whole picture; box_xyxy: image px; where: "file:line"."""

    where: str
    row: dict[str, str]
    mask: Tensor
    box_xyxy: np.ndarray

    def crop(self, size_hw: tuple[int, int]) -> Tensor:
        """The person at the tokenizer's size, int64 [*size_hw]."""
        return crop_label_map(self.mask, self.box_xyxy, size_hw)

    def box_canvas(self, size: int) -> tuple[float, ...]:
        """The box in px of the canvas, whose side is `size`."""
        height, width = self.mask.shape
        ratios = (size / width, size / height) * 2
        return tuple(float(edge) * ratio for edge, ratio in zip(self.box_xyxy, ratios, strict=True))

    def gt(self, size: int) -> Tensor:
        """The mask as evaluation sees it, int64 [size, size]."""
        return torch.from_numpy(resize_label_map(self.mask.numpy(), size)).long()


def open_table(path: str | Path) -> TsvFile:
    """An RPar table: id, expression, box, codes, mask, image; or the same without codes."""
    file = TsvFile(path, (0,), names=("id",))
    with open(path, "rb") as lines:
        width = lines.readline().count(b"\t") + 1
    names = {len(COLUMNS): COLUMNS, len(COLUMNS) - 1: tuple(name for name in COLUMNS if name != "codes")}.get(width)
    if names is None:
        raise DataError(f"{file.where(0)}: has {width} columns, expected {', '.join(COLUMNS)}, with or without codes")
    return TsvFile(path, None, names=names)


def read_person(file: TsvFile, i: int, *, root: Path) -> MaskRow:
    """Row i; masks lie below `root`/gts, pictures below `root`/imgs. DataError names file, row and column."""
    row, where = file[i], file.where(i)
    size_wh = _picture_size(row["image"], root=root / "imgs", where=where)
    mask = read_label_map(row["mask"], size_wh, root=root / "gts", where=where)
    box_xyxy = parse_box(row["box"], where)
    check_box_in_picture(box_xyxy, size_wh, where=where)
    return MaskRow(where, row, torch.from_numpy(mask.astype(np.int64)), box_xyxy)


def _picture_size(text: str, *, root: Path, where: str) -> tuple[int, int]:
    """Width and height by the picture's header: its pixels are not needed."""
    path = path_below(root, text, where=where, column="image")
    try:
        with Image.open(path) as image:
            return image.size
    except PILLOW_ERRORS as error:
        raise DataError(f"{where}: column image: picture {path} can not be read ({error})") from error


class MaskRows(Dataset):
    """Every row once, in order. A row that can not be used is a BadRow: workers can not raise clear errors."""

    def __init__(self, file: TsvFile, root: Path) -> None:
        self.file = file
        self.root = root
        self._last: MaskRow | None = None

    def __len__(self) -> int:
        return len(self.file)

    def __getitem__(self, i: int) -> MaskRow | BadRow:
        try:
            row, last = self.file[i], self._last
            if last is not None and all(row[name] == last.row[name] for name in ("image", "mask", "box")):
                return replace(last, row=row, where=self.file.where(i))  # neighbours often speak of one person
            self._last = read_person(self.file, i, root=self.root)
            return self._last
        except DataError as error:
            return BadRow(i, str(error))


class Draws(Dataset, ABC):
    """Draw k of an endless shuffled stream, a function of (seed, k) alone: so a resumed run sees what it would have."""

    def __init__(self, persons: MaskRows, size_hw: tuple[int, int], *, seed: int) -> None:
        self.persons = persons
        self.size_hw = size_hw
        self.seed = seed
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def row(self, draw: int) -> tuple[int, np.random.Generator]:
        """The row of a draw, and the generator of all else that is random about it."""
        epoch, position = divmod(draw, len(self.persons))
        if epoch != self._epoch:
            self._order = np.random.default_rng((self.seed, 0, epoch)).permutation(len(self.persons))
            self._epoch = epoch
        return int(self._order[position]), np.random.default_rng((self.seed, 1, draw))

    @abstractmethod
    def __getitem__(self, draw: int) -> Any:
        """What is learned from, of tensors; or a BadRow."""


class TrainingCrops(Draws):
    """Crops, int64 [*size_hw]. Half of the draws have the edges of their box moved, half are mirrored."""

    def __getitem__(self, draw: int) -> Tensor | BadRow:
        row, rng = self.row(draw)
        person = self.persons[row]
        if isinstance(person, BadRow):
            return person
        box_xyxy = person.box_xyxy
        if rng.random() < 0.5:
            box_xyxy = _jittered(box_xyxy, rng)
        crop = crop_label_map(person.mask, box_xyxy, self.size_hw)
        return mirror_label_map(crop) if rng.random() < 0.5 else crop


def _jittered(box_xyxy: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    sides = np.tile(box_xyxy[2:] - box_xyxy[:2], 2)
    return box_xyxy + rng.uniform(-JITTER, JITTER, size=4) * sides


def batches(persons: MaskRows, *, batch_size: int, num_workers: int, name: str) -> Iterator[list[MaskRow]]:
    """Every person once, in order, under a progress bar of rows. DataError at the first row that can not be used."""
    loader = DataLoader(persons, batch_size=batch_size, num_workers=num_workers, collate_fn=list)
    with tqdm(total=len(persons), desc=name, unit="row") as progress:
        for batch in loader:
            refuse_bad(batch)
            yield batch
            progress.update(len(batch))


def refuse_bad(batch: list) -> None:
    """DataError of the first BadRow, if any."""
    for item in batch:
        if isinstance(item, BadRow):
            raise DataError(item.message)
