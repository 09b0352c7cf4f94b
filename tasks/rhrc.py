"""RHrc, referring human-related caption: box -> caption (paper, section 3; docs/vocabulary.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from ..data.annotation import Annotation, Labels, Prediction, given
from ..data.canvas import Placed
from ..data.cleaning import clean_caption, first_words
from ..data.columns import parse_caption, shorten
from ..data.tables import TABLES
from ..data.text import Ids, TextEncoder
from ..models.generation_settings import GenerationSettings
from ..utils.captions import REFERENCE_SEPARATOR, caption_scores, clean, split_references, without_blanks
from ..utils.cider import CachedFrequencies, load_frequencies
from ..utils.errors import DataError
from .base import Task, mean_of
from .settings import TaskSettings

SEVERAL = (
    "the row has several captions, and training keeps the && between them, as published: the network learns to write "
    "it; give each caption a row of its own"
)


class ReferringCaption(Task):
    """Box -> caption."""

    name = "rhrc"
    part = "caption"
    columns, default_cols = TABLES["rhrc"].columns, TABLES["rhrc"].default_cols
    prompt = " what does the region {} describe?"
    generation = GenerationSettings()

    def __init__(self, text: TextEncoder, settings: TaskSettings, *, with_labels: bool = True) -> None:
        super().__init__(text, settings, with_labels=with_labels)
        self.canvas_size = settings.patch_image_size  # in this task alone (docs/data.md, "Image and coordinates")

    @cached_property
    def frequencies(self) -> CachedFrequencies | Literal["corpus"]:
        """Document frequencies of CIDEr-D: from a file, or of the evaluated set."""
        path = self.settings.eval_cider_cached_tokens
        return load_frequencies(path) if path else "corpus"

    def prepare_scores(self) -> None:
        """Reads the file of document frequencies."""
        _ = self.frequencies

    def annotation(self, row: Mapping[str, str], where: str) -> Annotation:
        """With the caption in place of the expression; of several, those that have a word."""
        text = parse_caption(row["caption"], where)
        caption = without_blanks(clean_caption(text))
        if not caption:
            raise DataError(f"{where}: column caption: needs a caption with a word in it, got {shorten(text)}")
        return replace(super().annotation(row, where), expression=caption)

    def sample(self, annotation: Annotation, *, training: bool) -> dict[str, Any]:
        """With the references, for evaluation."""
        sample = super().sample(annotation, training=training)
        if not training:
            return sample | {"text": self._references(annotation)}
        several = REFERENCE_SEPARATOR in annotation.expression
        return sample | {"remarks": (*annotation.remarks, SEVERAL) if several else annotation.remarks}

    def source(self, annotation: Annotation, placed: Placed) -> np.ndarray:
        """The prompt with the box's bins."""
        return self.box_prompt(annotation, placed)

    def target(self, annotation: Annotation, placed: Placed, *, training: bool) -> np.ndarray:
        """The caption, cut to `max_tgt_length` words, in training; all references in evaluation."""
        caption = clean_caption(annotation.expression)
        caption = first_words(caption, self.settings.max_tgt_length) if training else self._references(annotation)
        return self.text.encode(" " + caption)

    @staticmethod
    def _references(annotation: Annotation) -> str:
        return REFERENCE_SEPARATOR.join(split_references(clean_caption(annotation.expression)))

    def parse(self, ids: Ids) -> Prediction:
        """Inverse of `target`."""
        caption = self.text.decode(ids).strip()
        return Prediction(valid=bool(clean(caption)), caption=caption)

    def record(self, prediction: Prediction, labels: Labels) -> dict[str, Any]:
        """The caption without punctuation, and the box asked about, in image px."""
        return {
            "image_id": coco_id(str(labels["id"])),
            "region": labels["region_coords"].tolist(),
            "caption": clean(given(prediction.caption)),
        }

    def statistics(self, prediction: Prediction, labels: Labels) -> dict[str, Any]:
        """Caption and references."""
        references = labels["text"].split(REFERENCE_SEPARATOR)
        return {"caption": prediction.caption, "references": references, "invalid": not prediction.valid}

    def summarize(self, statistics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """CIDEr-D of the whole set, x100; BLEU, ROUGE-L and METEOR by flag; the rate of empty captions."""
        if not statistics:
            return {}
        scores = caption_scores(
            [row["caption"] for row in statistics],
            [row["references"] for row in statistics],
            document_frequency=self.frequencies,
            with_bleu=self.settings.eval_bleu,
            with_meteor=self.settings.eval_meteor,
        )
        return {**scores, "invalid": mean_of(statistics, "invalid")}


def coco_id(text: str) -> int | str:
    """A row's id as COCO's caption tools need it: a number where it is one, and back again by `str`; else the text."""
    return int(text) if re.fullmatch("0|[1-9][0-9]{0,17}", text) else text
