"""A table's masks through the tokenizer: their codes, and how well label maps survive (docs/tokenizer.md)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...data.columns import parse_codes
from ...models.vqgan.config import GRID_HW
from ...models.vqgan.tokenizer import VQTokenizer
from ...tasks.settings import TaskSettings
from ...utils import parsing
from ...utils.files import atomic_write
from .masks import COLUMNS, MaskRow, MaskRows, batches


def encoded(
    tokenizer: VQTokenizer, rows: MaskRows, *, batch_size: int, num_workers: int, name: str
) -> Iterator[tuple[list[MaskRow], Tensor, Tensor]]:
    """Batch by batch: the rows, their crops int64 [B, h, w], and the crops' codes int64 [B, 48]; on the CPU.

    Where a mask is ignored, its crop is 255, and background in the codes.
    """
    for batch in batches(rows, batch_size=batch_size, num_workers=num_workers, name=name):
        persons = [(row.columns["mask"], row.columns["box"]) for row in batch]
        first = {person: persons.index(person) for person in persons}  # of several rows about one person
        crops = torch.stack([batch[k].crop(tokenizer.input_size_hw) for k in first.values()])
        places = {person: place for place, person in enumerate(first)}
        back = torch.tensor([places[person] for person in persons])
        yield batch, crops[back], tokenizer.encode(parsing.without_ignored(crops)).cpu()[back]


def encode(tokenizer: VQTokenizer, rows: MaskRows, *, out: Path, batch_size: int, num_workers: int) -> int:
    """Writes the table with its codes column, made or made anew, atomically. Returns the number of rows."""
    made = encoded(tokenizer, rows, batch_size=batch_size, num_workers=num_workers, name="encode")
    with atomic_write(out) as part, open(part, "w", encoding="utf-8", newline="\n") as table:
        for batch, _, codes in made:
            for row, row_codes in zip(batch, codes.tolist(), strict=True):
                columns = row.columns | {"codes": ",".join(map(str, row_codes))}
                table.write("\t".join(columns[column] for column in COLUMNS) + "\n")
    return len(rows)


class _Confusion:
    """Confusion of a kind of map with the truth: on the canvas, as in evaluation, and in the crop."""

    def __init__(self) -> None:
        self.canvas = np.zeros((parsing.NUM_CLASSES, parsing.NUM_CLASSES), np.int64)
        self.crop = np.zeros_like(self.canvas)

    def add(self, label_map: Tensor, crop: Tensor, *, row: MaskRow, label: Tensor) -> None:
        """label_map, crop: [h, w], a row's map and its truth. label: [size, size], the truth on the canvas."""
        pasted = parsing.paste_label_map(label_map, row.box_canvas(len(label)), (len(label), len(label)))
        self.canvas += parsing.confusion_matrix(pasted, label=label)
        self.crop += parsing.confusion_matrix(label_map, label=crop)


def score(
    tokenizer: VQTokenizer,
    rows: MaskRows,
    *,
    batch_size: int,
    num_workers: int,
    canvas_size: int = TaskSettings.max_image_size,
) -> dict[str, Any]:
    """How well label maps survive the tokenizer: what RPar would score if every box and code were right.

    The keys are those of docs/tokenizer.md, "The command". canvas_size: px a side, a network's `max_image_size`; on a
    smaller canvas scores are lower.
    """
    made, nearest = _Confusion(), _Confusion()
    use = torch.zeros(tokenizer.n_embed, dtype=torch.int64)
    same = []
    for batch, crops, codes in encoded(tokenizer, rows, batch_size=batch_size, num_workers=num_workers, name="score"):
        use += torch.bincount(codes.flatten(), minlength=len(use))
        decoded, coarse = tokenizer.decode(codes).cpu(), nearest_grid(parsing.without_ignored(crops))
        for k, row in enumerate(batch):
            label = row.label(canvas_size)
            made.add(decoded[k], crops[k], row=row, label=label)
            nearest.add(coarse[k], crops[k], row=row, label=label)
            if row.columns.get("codes"):  # the column of a drawn world is empty until `encode` fills it
                known = parse_codes(row.columns["codes"], row.where, num_codes=TaskSettings.code_dict_size)
                same.append((torch.from_numpy(known) == codes[k]).float().mean())
    return {
        "rows": len(rows),
        **parsing.parsing_metrics(made.canvas),
        "crop_miou": parsing.parsing_metrics(made.crop)["miou"],
        "nearest_miou": parsing.parsing_metrics(nearest.canvas)["miou"],
        "nearest_crop_miou": parsing.parsing_metrics(nearest.crop)["miou"],
        "code_usage": (use > 0).float().mean().item(),
        **({"same_codes": torch.stack(same).mean().item()} if same else {}),
    }


def nearest_grid(crops: Tensor) -> Tensor:
    """Label maps [B, h, w] -> the same, each cell of the 8 x 6 grid in the class of its centre."""
    # "nearest-exact" takes the centre; "nearest" takes the corner, and would be a yardstick too easy to beat
    grid = F.interpolate(crops[None].float(), size=GRID_HW, mode="nearest-exact")
    return F.interpolate(grid, size=crops.shape[-2:], mode="nearest-exact")[0].to(crops.dtype)
