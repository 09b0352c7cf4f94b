"""RPar, referring parsing: expression -> box, then the 48 codes of a parsing map (paper, section 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.annotation import Annotation, Labels, Prediction, given
from ..data.canvas import Placed
from ..data.columns import parse_codes
from ..data.images import read_label_map
from ..data.tables import TABLES
from ..data.text import Ids, plain_ids
from ..models.generated import Generated
from ..models.generation_settings import GenerationSettings
from ..models.vqgan.config import NUM_CODES
from ..utils.errors import UserError
from ..utils.parsing import confusion_matrix, parsing_metrics, paste_label_map, zoom_label_map
from ..utils.symbols import BOX_SYMBOLS
from .base import Task, mean_of

if TYPE_CHECKING:
    import torch

    from ..models.vqgan import VQTokenizer


class ReferringParsing(Task):
    """Expression or box -> box and parsing map."""

    name = "rpar"
    part = "parsing map"
    columns, default_cols = TABLES["rpar"].columns, TABLES["rpar"].default_cols
    image_folder = TABLES["rpar"].image_folder
    asks_by_box = TABLES["rpar"].asks_by_box
    prompt = ' which region does the text " {} " describe? Provide the bounding box and the parsing map.'
    generation = GenerationSettings(min_len=52, max_len_b=52)

    @cached_property
    def tokenizer(self) -> VQTokenizer:
        """The VQGAN of `--vq-config` and `--vq-ckpt`."""
        settings = self.settings
        if not (settings.vq_config and settings.vq_ckpt):
            raise UserError(f"--task {self.name} draws label maps: add --vq-config model.yaml and --vq-ckpt model.ckpt")
        from ..models.vqgan import load_tokenizer

        return load_tokenizer(settings.vq_config, settings.vq_ckpt, n_embed=settings.vq_n_embed)

    def prepare_scores(self) -> None:
        """Loads the tokenizer."""
        _ = self.tokenizer

    def annotation(self, row: Mapping[str, str], where: str) -> Annotation:
        """With 48 codes, and the mask of the picture."""
        annotation = super().annotation(row, where)
        codes = parse_codes(row["codes"], where, num_codes=self.settings.vq_n_embed)
        if not self.with_labels:
            return replace(annotation, codes=codes)
        root = Path(self.settings.annotation_root) / "gts"
        label_map = read_label_map(row["mask"], given(annotation.image).size, root=root, where=where)
        return replace(annotation, codes=codes, label_map=label_map)

    def sample(self, annotation: Annotation, *, training: bool) -> dict[str, Any]:
        """With expression, codes, and the mask on the canvas."""
        own = {"text": annotation.expression, "parsing_code": annotation.codes}
        if annotation.label_map is not None:
            own["gt"] = zoom_label_map(annotation.label_map, self.settings.max_image_size)
        return super().sample(annotation, training=training) | own

    def target(self, annotation: Annotation, placed: Placed, *, training: bool) -> np.ndarray:
        """Box, then codes."""
        codes = given(annotation.codes) + self.vocabulary.code_ids.start
        return np.concatenate([self.box_bins(annotation, placed), codes])

    def parse(self, ids: Ids) -> Prediction:
        """Inverse of `target`, by position: other symbols become numbers out of range (docs/evaluation.md)."""
        ids = np.array(plain_ids(ids), np.int64)
        box, codes = ids[:BOX_SYMBOLS], ids[BOX_SYMBOLS : BOX_SYMBOLS + NUM_CODES]
        if len(codes) < NUM_CODES:
            return Prediction(valid=False, box_xyxy=self.parse_box(ids), codes=np.zeros(NUM_CODES, np.int64))
        codes = codes - self.vocabulary.code_ids.start
        known = bool(((codes >= 0) & (codes < self.settings.vq_n_embed)).all())
        coordinates = self.vocabulary.positions(box, self.canvas_size)
        return Prediction(self.parse_box(ids) is not None and known, coordinates, codes=codes)

    def parse_batch(self, answers: Sequence[Generated], device: torch.device) -> list[Prediction]:
        """With the parsing maps, decoded together."""
        return with_maps(self.tokenizer, super().parse_batch(answers, device), answers, device=device)

    def record(self, prediction: Prediction, labels: Labels) -> dict[str, Any]:
        """Box in image px, the answered codes, and those of the TSV."""
        return {
            "uniq_id": str(labels["id"]),
            "bbox": self.box_in_image(prediction, labels).tolist(),
            "image_code": given(prediction.codes).tolist(),
            "gt_code": labels["parsing_codes"].tolist(),
        }

    def statistics(self, prediction: Prediction, labels: Labels) -> dict[str, Any]:
        """Box hit, and the confusion of the pasted map with the label map, both on the canvas."""
        box = np.zeros(BOX_SYMBOLS) if prediction.box_xyxy is None else prediction.box_xyxy
        label = labels["gt"]
        pasted = paste_label_map(given(prediction.label_map), box, (len(label), len(label)))
        confusion = confusion_matrix(pasted, label=label).astype(np.int32)
        return {"hit": self.hit(prediction, labels), "invalid": not prediction.valid, "confusion": confusion}

    def summarize(self, statistics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Box accuracy, scores and class IoUs of the summed confusion, and the rate of malformed answers."""
        if not statistics:
            return {}
        scores = parsing_metrics(sum(row["confusion"].astype(np.int64) for row in statistics))
        class_iou = scores.pop("class_iou")
        box_score, invalid = mean_of(statistics, "hit"), mean_of(statistics, "invalid")
        return {"box_score": box_score, **scores, "invalid": invalid, "class_iou": class_iou}


def with_maps(
    tokenizer: VQTokenizer, predictions: Sequence[Prediction], answers: Sequence[Generated], *, device: torch.device
) -> list[Prediction]:
    """Predictions that have codes, with their parsing maps; decoded together, on `device`."""
    import torch

    codes = torch.from_numpy(np.stack([given(prediction.codes) for prediction in predictions])).to(device)
    tokenizer = tokenizer.to(device)
    if any(answer.distributions is None for answer in answers):
        label_maps = tokenizer.decode(codes).cpu().numpy()
        return [replace(one, label_map=own) for one, own in zip(predictions, label_maps, strict=True)]
    label_maps, overlaps = (drawn.cpu().numpy() for drawn in tokenizer.draw(codes))
    return [
        replace(one, label_map=label_map, part_overlaps=own)
        for one, label_map, own in zip(predictions, label_maps, overlaps, strict=True)
    ]
