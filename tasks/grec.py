"""Generalised REC: expression -> the boxes of everyone whom it fits, none to many (docs/vocabulary.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.annotation import LOWEST_SCORE, Annotation, Labels, Prediction, given
from ..data.canvas import Placed
from ..data.columns import MOST_BOXES, check_box_in_picture, kind_of, parse_boxes, shorten
from ..data.tables import TABLES
from ..data.text import Ids, plain_ids
from ..models.generated import Generated
from ..models.generation_settings import GenerationSettings
from ..utils.errors import DataError
from ..utils.generalized import Matched, generalized_scores, match
from ..utils.symbols import BOX_SYMBOLS
from ..utils.words import has_word
from .base import Task, mean_of

if TYPE_CHECKING:
    import torch

    from ..models.generation import SequenceGenerator


class GeneralizedComprehension(Task):
    """Expression -> the boxes of everyone whom it fits; an empty answer for nobody."""

    name = "grec"
    columns, default_cols = TABLES["grec"].columns, TABLES["grec"].default_cols
    prompt = ' which regions does the text " {} " describe?'
    generation = GenerationSettings(beam=1, min_len=0, max_len_b=BOX_SYMBOLS * MOST_BOXES)

    @property
    def generator(self) -> type[SequenceGenerator]:
        """Of whole boxes."""
        from ..models.whole_boxes import BoxesGenerator

        return BoxesGenerator

    def generation_settings(self) -> GenerationSettings:
        """Only bins and eos may be written."""
        bins = self.vocabulary.bin_ids
        return replace(self.generation, constraint_range=f"{bins.start},{bins.stop}")

    def annotation(self, row: Mapping[str, str], where: str) -> Annotation:
        """With the boxes of everyone, [0, 4] for nobody."""
        annotation = super().annotation(row, where)
        if not has_word(annotation.expression):
            expression = shorten(annotation.expression)
            raise DataError(f"{where}: column expression: needs a letter or a digit, got {expression}")
        boxes = parse_boxes(row["boxes"], where)
        if len(boxes) and kind_of(annotation.id):
            cell = shorten(row["boxes"])
            raise DataError(f"{where}: column boxes: the id {annotation.id!r} is of a row that fits nobody, got {cell}")
        for box in boxes:
            check_box_in_picture(box, given(annotation.image).size, where=where, column="boxes")
        return replace(annotation, boxes_xyxy=boxes)

    def sample(self, annotation: Annotation, *, training: bool) -> dict[str, Any]:
        """With the boxes in image px, float32 [MOST_BOXES, 4], filled up with NaN: rows of a batch are stacked."""
        boxes = np.full((MOST_BOXES, BOX_SYMBOLS), np.nan, np.float32)
        boxes[: len(given(annotation.boxes_xyxy))] = annotation.boxes_xyxy
        return super().sample(annotation, training=training) | {"boxes": boxes}

    def target(self, annotation: Annotation, placed: Placed, *, training: bool) -> np.ndarray:
        """Four bins for each box, from left to right: in the order of these bins."""
        bins = self.bins(given(annotation.boxes_xyxy), placed)  # [N, 4]
        return np.array([symbol for box in sorted(bins.tolist()) for symbol in box], np.int64)

    def parse(self, ids: Ids) -> Prediction:
        """Inverse of `target`: the complete boxes before the first other symbol, if their corners are in order."""
        symbols = list(takewhile(lambda symbol: symbol != self.vocabulary.eos(), plain_ids(ids)))
        bins = list(takewhile(lambda symbol: symbol in self.vocabulary.bin_ids, symbols))
        whole = len(bins) // BOX_SYMBOLS * BOX_SYMBOLS
        read = np.array(bins[:whole], np.int64).reshape(-1, BOX_SYMBOLS)
        boxes = self.vocabulary.coordinates(read, self.canvas_size)
        in_order = (boxes[:, 2:] >= boxes[:, :2]).all(-1)
        return Prediction(valid=whole == len(symbols) and bool(in_order.all()), boxes_xyxy=boxes[in_order])

    def parse_batch(self, answers: Sequence[Generated], device: torch.device) -> list[Prediction]:
        """Where the network found no answer, that is not one about nobody."""
        predictions = super().parse_batch(answers, device)
        return [replace(found, valid=found.valid and found.score > LOWEST_SCORE) for found in predictions]

    def record(self, prediction: Prediction, labels: Labels) -> dict[str, Any]:
        """Answered boxes and labels in image px, the answer's score, and whether it could be read.

        Without the last, an unreadable answer that is empty would pass for "nobody".
        """
        return {
            "uniq_id": str(labels["id"]),
            "boxes": self.in_image(given(prediction.boxes_xyxy), labels).tolist(),
            "labels": _labelled(labels).tolist(),
            "score": float(prediction.score),
            "valid": prediction.valid,
        }

    def statistics(self, prediction: Prediction, labels: Labels) -> dict[str, Any]:
        """The boxes matched with the labels, in image px."""
        boxes, label = self.in_image(given(prediction.boxes_xyxy), labels), _labelled(labels)
        rejected = prediction.valid and not len(boxes)
        matched = Matched(match(boxes, label), len(boxes), len(label), rejected, kind_of(str(labels["id"])))
        return {"matched": matched, "invalid": not prediction.valid}

    def summarize(self, statistics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The scores of gRefCOCO and HumanRef, and the rate of malformed answers."""
        if not statistics:
            return {}
        scores = generalized_scores([row["matched"] for row in statistics])
        return {**scores, "invalid": mean_of(statistics, "invalid")}


def _labelled(labels: Labels) -> np.ndarray:
    boxes: np.ndarray = labels["boxes"]
    return boxes[~np.isnan(boxes[:, 0])]
