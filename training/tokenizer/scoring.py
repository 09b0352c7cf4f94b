"""What the tokenizer makes of a table's masks: their codes, and how well label maps survive it (docs/tokenizer.md)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...data.columns import parse_codes
from ...models.vqgan import VQTokenizer
from ...models.vqgan.config import GRID_HW
from ...tasks.settings import TaskSettings
from ...utils.files import replacing
from ...utils.parsing import CLASS_NAMES, NUM_CLASSES, confusion_matrix, paste_label_map, segmentation_scores
from .masks import COLUMNS, MaskRow, MaskRows, batches


def encoded(
    tokenizer: VQTokenizer, persons: MaskRows, *, batch_size: int, num_workers: int, name: str
) -> Iterator[tuple[list[MaskRow], Tensor, Tensor]]:
    """Batch by batch: the persons, their crops int64 [B, h, w], and the crops' codes int64 [B, 48]; on the CPU."""
    for batch in batches(persons, batch_size=batch_size, num_workers=num_workers, name=name):
        # A person about whom several rows speak is encoded once.
        persons_of = [(person.row["mask"], person.row["box"]) for person in batch]
        places = {key: place for place, key in enumerate(dict.fromkeys(persons_of))}
        rows = torch.tensor([places[key] for key in persons_of])
        first = [batch[persons_of.index(key)] for key in places]
        crops = torch.stack([person.crop(tokenizer.input_size_hw) for person in first])
        yield batch, crops[rows], tokenizer.encode(crops).cpu()[rows]


def encode(tokenizer: VQTokenizer, persons: MaskRows, *, out: Path, batch_size: int, num_workers: int) -> int:
    """Writes the table with the codes column (made, or made anew), as a whole or not at all. Returns its rows."""
    made = encoded(tokenizer, persons, batch_size=batch_size, num_workers=num_workers, name="encode")
    with replacing(out) as part, open(part, "w", encoding="utf-8", newline="\n") as table:
        for batch, _, codes in made:
            for person, row_codes in zip(batch, codes.tolist(), strict=True):
                row = person.row | {"codes": ",".join(map(str, row_codes))}
                table.write("\t".join(row[column] for column in COLUMNS) + "\n")
    return len(persons)


class _Side:
    """Confusion of one kind of map with the truth: on the canvas as evaluation has it, and in the crop."""

    def __init__(self) -> None:
        self.canvas = torch.zeros(NUM_CLASSES, NUM_CLASSES, dtype=torch.int64)
        self.crop = torch.zeros_like(self.canvas)

    def add(self, label_map: Tensor, crop: Tensor, *, person: MaskRow, gt: Tensor) -> None:
        """label_map, crop: [h, w], what was made of the person and its truth. gt: [size, size], canvas."""
        pasted = paste_label_map(label_map, person.box_canvas(len(gt)), len(gt))
        self.canvas += confusion_matrix(pasted, label=gt)
        self.crop += confusion_matrix(label_map, label=crop)


def score(
    tokenizer: VQTokenizer,
    persons: MaskRows,
    *,
    batch_size: int,
    num_workers: int,
    canvas_size: int = TaskSettings.max_image_size,
) -> dict[str, Any]:
    """How well label maps survive the tokenizer: what RPar would score if every box and code were right.

    miou, pixel_acc, mean_acc, mean_precision, class_iou: on the canvas of `canvas_size` px a side, as evaluation of a
    network with that `max_image_size`; on a smaller one they are lower. crop_miou: at the tokenizer's size. nearest_*:
    of an 8 x 6 nearest-neighbour grid of classes instead. code_usage: share of the codebook in use. same_codes: share
    of the table's codes that the tokenizer gives, too; absent where the table has none.
    """
    made, nearest = _Side(), _Side()
    use = torch.zeros(tokenizer.n_embed, dtype=torch.int64)
    same = []
    for batch, crops, codes in encoded(
        tokenizer, persons, batch_size=batch_size, num_workers=num_workers, name="score"
    ):
        use += torch.bincount(codes.flatten(), minlength=len(use))
        decoded, coarse = tokenizer.decode(codes).cpu(), nearest_grid(crops)
        for k, person in enumerate(batch):
            gt = person.gt(canvas_size)
            made.add(decoded[k], crops[k], person=person, gt=gt)
            nearest.add(coarse[k], crops[k], person=person, gt=gt)
            if person.row.get("codes"):  # a drawn world's table has the column, empty until the tokenizer fills it
                known = parse_codes(person.row["codes"], person.where, num_codes=TaskSettings.code_dict_size)
                same.append((torch.from_numpy(known) == codes[k]).float().mean())
    canvas = segmentation_scores(made.canvas)
    return {
        "rows": len(persons),
        **canvas,
        "class_iou": dict(zip(CLASS_NAMES, canvas["class_iou"], strict=True)),
        "crop_miou": segmentation_scores(made.crop)["miou"],
        "nearest_miou": segmentation_scores(nearest.canvas)["miou"],
        "nearest_crop_miou": segmentation_scores(nearest.crop)["miou"],
        "code_usage": (use > 0).float().mean().item(),
        **({"same_codes": torch.stack(same).mean().item()} if same else {}),
    }


def nearest_grid(crops: Tensor) -> Tensor:
    """Label maps [B, h, w] -> the same with each cell of the 8 x 6 grid in the class of its centre."""
    # By the centre ("nearest-exact"): by its corner a cell is off by half its size, and a reference too easy to beat.
    grid = F.interpolate(crops[None].float(), size=GRID_HW, mode="nearest-exact")
    return F.interpolate(grid, size=crops.shape[-2:], mode="nearest-exact")[0].to(crops.dtype)
