"""RKpt, referring keypoints: expression -> box, then named keypoints (paper, section 3; docs/vocabulary.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..data.annotation import Annotation, Labels, Prediction, given
from ..data.canvas import Placed
from ..data.columns import parse_keypoints
from ..data.tables import TABLES
from ..data.text import Ids, plain_ids
from ..models.generation_settings import GenerationSettings
from ..utils.keypoints import KEYPOINT_NAMES, NUM_KEYPOINTS, oks, visible_keypoints
from ..utils.metrics import OKS_THRESHOLD, keypoint_metrics, values_of
from ..utils.symbols import BOX_SYMBOLS
from .base import Task, column, mean_of


class ReferringKeypoints(Task):
    """Expression or box -> box and up to 17 keypoints by name."""

    name = "rkpt"
    part = "keypoints"
    columns, default_cols = TABLES["rkpt"].columns, TABLES["rkpt"].default_cols
    prompt = ' which region does the text " {} " describe? Provide the bounding box and keypoints.'
    asks_by_box = TABLES["rkpt"].asks_by_box
    generation = GenerationSettings(min_len=50)

    def asking_settings(self) -> GenerationSettings:
        """As in the published demos (docs/generation.md): a half-hidden person needs fewer than evaluation's 50."""
        return replace(self.generation, min_len=4)

    def annotation(self, row: Mapping[str, str], where: str) -> Annotation:
        """With 34 numbers in image px."""
        return replace(super().annotation(row, where), keypoints=parse_keypoints(row["keypoints"], where))

    def sample(self, annotation: Annotation, *, training: bool) -> dict[str, Any]:
        """With the keypoints in image px."""
        return super().sample(annotation, training=training) | {"keypoints": annotation.keypoints}

    def target(self, annotation: Annotation, placed: Placed, *, training: bool) -> np.ndarray:
        """Box, then name and point of each visible keypoint."""
        keypoints = given(annotation.keypoints)
        points = self.bins(keypoints, placed).reshape(-1, 2)
        parts = [self.box_bins(annotation, placed)]
        for index in np.flatnonzero(visible_keypoints(keypoints.reshape(-1, 2))).tolist():
            parts += [self.text.encode(" " + KEYPOINT_NAMES[index]), points[index]]
        return np.concatenate(parts)

    def parse(self, ids: Ids) -> Prediction:
        """Inverse of `target`: the i-th name takes the i-th pair of bins after the box (docs/evaluation.md)."""
        symbols = plain_ids(ids)
        end = symbols.index(self.vocabulary.eos()) if self.vocabulary.eos() in symbols else len(symbols)
        bins = [symbol for symbol in symbols[:end] if symbol in self.vocabulary.bin_ids]
        names = self.text.decode(symbols[:end]).split()
        coordinates = self.vocabulary.coordinates(bins[BOX_SYMBOLS:], self.canvas_size)
        keypoints = np.zeros((NUM_KEYPOINTS, 2), np.float32)
        for i, name in enumerate(names[: len(coordinates) // 2]):
            if name in KEYPOINT_NAMES:
                keypoints[KEYPOINT_NAMES.index(name)] = coordinates[2 * i : 2 * i + 2]
        box = self.parse_box(bins)
        valid = len(bins) >= BOX_SYMBOLS + 2 * len(names)
        return Prediction(valid=valid and box is not None, box_xyxy=box, keypoints=keypoints.ravel())

    def record(self, prediction: Prediction, labels: Labels) -> dict[str, Any]:
        """Box and keypoints in image px, and the answer's score, by which average precision ranks."""
        return {
            "uniq_id": str(labels["id"]),
            "box": self.box_in_image(prediction, labels).tolist(),
            "keypoints": self._keypoints_in_image(prediction, labels).tolist(),
            "oks_score": float(self._oks(prediction, labels) >= OKS_THRESHOLD),
            "score": float(prediction.score),
        }

    def _keypoints_in_image(self, prediction: Prediction, labels: Labels) -> np.ndarray:
        return self.in_image(given(prediction.keypoints), labels)

    def _oks(self, prediction: Prediction, labels: Labels) -> float:
        found = self._keypoints_in_image(prediction, labels).reshape(1, -1, 2)
        return float(oks(found, labels["keypoints"].reshape(1, -1, 2), labels["region_coords"][None])[0])

    def statistics(self, prediction: Prediction, labels: Labels) -> dict[str, Any]:
        """Box hit, OKS, and the numbers for average precision, in image px."""
        return {
            "hit": self.hit(prediction, labels),
            "oks": self._oks(prediction, labels),
            "invalid": not prediction.valid,
            "keypoints": self._keypoints_in_image(prediction, labels),
            "label": labels["keypoints"],
            "box": labels["region_coords"],
            "score": prediction.score,
        }

    def summarize(self, statistics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Box accuracy, share and mean of OKS, OKS average precision, and the rate of malformed answers."""
        if not statistics:
            return {}
        metrics = keypoint_metrics(
            column(statistics, "hit"),
            column(statistics, "oks"),
            prediction=column(statistics, "keypoints"),
            label=column(statistics, "label"),
            box_xyxy=column(statistics, "box"),
            scores=column(statistics, "score"),
        )
        return values_of(metrics) | {"invalid": mean_of(statistics, "invalid")}
