"""REC, referring expression comprehension: expression -> box (paper, section 3; docs/vocabulary.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..data.annotation import Annotation, Labels, Prediction
from ..data.canvas import Placed
from ..data.tables import TABLES
from ..data.text import Ids
from ..models.generation_settings import GenerationSettings
from ..utils.metrics import box_metrics, values_of
from .base import Task, column, mean_of


class ReferringComprehension(Task):
    """Expression -> box."""

    name = "refcoco"
    columns, default_cols = TABLES["refcoco"].columns, TABLES["refcoco"].default_cols
    prompt = ' which region does the text " {} " describe?'
    generation = GenerationSettings(min_len=4, max_len_b=4, no_repeat_ngram_size=3)

    def generation_settings(self) -> GenerationSettings:
        """Only bins may be written."""
        bins = self.vocabulary.bin_ids
        return replace(self.generation, constraint_range=f"{bins.start},{bins.stop}")

    def target(self, annotation: Annotation, placed: Placed, *, training: bool) -> np.ndarray:
        """Four bins."""
        return self.box_bins(annotation, placed)

    def parse(self, ids: Ids) -> Prediction:
        """Inverse of `target`."""
        box = self.parse_box(ids)
        return Prediction(valid=box is not None, box_xyxy=box)

    def record(self, prediction: Prediction, labels: Labels) -> dict[str, Any]:
        """Box in image px."""
        return {"uniq_id": str(labels["id"]), "box": self.box_in_image(prediction, labels).tolist()}

    def statistics(self, prediction: Prediction, labels: Labels) -> dict[str, Any]:
        """Whether the box is right at IoU 0.5."""
        return {"hit": self.hit(prediction, labels), "invalid": not prediction.valid}

    def summarize(self, statistics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Acc@0.5 and the rate of unreadable answers."""
        if not statistics:
            return {}
        return values_of(box_metrics(column(statistics, "hit"))) | {"invalid": mean_of(statistics, "invalid")}
