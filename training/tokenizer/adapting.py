"""Training of the tokenizer's decoder on the codes that a network answers (not in the paper).

A network misses many codes by little. A decoder that has seen such answers draws better maps of them. Encoder and
codebook stay as they are, and with them the codes of tables and what the network has learned about them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...data.columns import parse_box, parse_codes
from ...data.dataset import BadRow
from ...models.vqgan.config import NUM_CODES
from ...tasks.result_files import check_row, read_numbers
from ...utils.boxes import box_hits
from ...utils.parsing import crop_label_map, without_ignored
from .masks import Draws, MaskRows
from .trainer import TokenizerStepper

Records = Sequence[Mapping[str, Any]]
TRUE_CODES = 0.3  # share of draws with the table's codes in the table's box, so that maps of true codes stay good
PIXELS = 0.3  # weight of the cross-entropy beside the loss of the mean IoU


class Drawn(NamedTuple):
    """Codes, int64 [48], and the map to make of them, int64 [h, w]; or batches of both."""

    codes: Tensor
    crop: Tensor


class AnsweredCrops(Draws[Drawn]):
    """Answered codes with the mask in the answered box; where the answer missed the person, the table's own codes."""

    def __init__(
        self, rows: MaskRows, size_hw: tuple[int, int], *, n_embed: int, records: Records, where: str, seed: int
    ) -> None:
        """records: of a result file of RPar or its parallel form, one for each row of the table; where: the file."""
        super().__init__(rows, size_hw, seed=seed)
        self.boxes: list[np.ndarray] = []
        self.codes: list[np.ndarray] = []
        self.true_codes: list[np.ndarray] = []
        self.found: list[bool] = []
        self._kept: dict[int, Tensor] = {}
        for k, record in enumerate(records):
            row, row_at, at = rows.file[k], rows.file.where(k), f"{where}: record {k}"
            check_row(record, row["id"], where=at, row=row_at)
            self.true_codes.append(parse_codes(row.get("codes", ""), row_at, num_codes=n_embed))
            self.boxes.append(read_numbers(record, "bbox", count=4, where=at))
            self.codes.append(read_numbers(record, "image_code", count=NUM_CODES, where=at).astype(np.int64))
            known = ((self.codes[k] >= 0) & (self.codes[k] < n_embed)).all()
            self.found.append(bool(known and box_hits(self.boxes[k], parse_box(row["box"], row_at))))

    def __getitem__(self, draw: int) -> Drawn | BadRow:
        """The answered codes with what is right in their box; sometimes the true codes instead."""
        index, rng = self.row(draw)
        if index not in self._kept:
            row = self.rows[index]
            if isinstance(row, BadRow):
                return row
            crops = row.crop(self.size_hw), crop_label_map(row.mask, self.boxes[index].tolist(), self.size_hw)
            self._kept[index] = without_ignored(torch.stack(crops)).to(torch.uint8)  # crops never vary here: read once
        true, answered = self._kept[index].long()
        if not self.found[index] or rng.random() < TRUE_CODES:
            return Drawn(torch.from_numpy(self.true_codes[index]), true)
        return Drawn(torch.from_numpy(self.codes[index]), answered)


class DecoderTrainer(TokenizerStepper[Drawn]):
    """Trains the decoder alone, for the mean IoU of its maps."""

    def trained(self) -> Iterable[nn.Parameter]:
        """Everything behind the codebook."""
        return [*self.tokenizer.post_quant_conv.parameters(), *self.tokenizer.decoder.parameters()]

    def losses(self, batch: Drawn) -> dict[str, Tensor]:
        """1 - soft mean IoU of the batch, and some cross-entropy, without which single pixels are forgotten."""
        self.tokenizer.train()
        logits = self.tokenizer.decode_logits(batch.codes)
        crop = batch.crop.to(logits.device)
        return {"loss": iou_loss(logits, crop) + PIXELS * F.cross_entropy(logits, crop)}


def iou_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """1 - the mean, over the classes in `labels`, of the soft IoU of the whole batch (Rahman and Wang, 2016).

    A pixel-wise loss drops small parts in doubt; in a mean over classes they count as much as large ones.
    logits: [B, C, H, W]; labels: int64 [B, H, W].
    """
    chances = logits.softmax(dim=1)
    truth = F.one_hot(labels, logits.shape[1]).permute(0, 3, 1, 2).to(chances.dtype)
    both = (chances * truth).sum(dim=(0, 2, 3))
    either = (chances + truth).sum(dim=(0, 2, 3)) - both
    present = truth.sum(dim=(0, 2, 3)) > 0
    return 1 - (both[present] / either[present]).mean()
