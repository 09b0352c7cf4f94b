"""Scores of answers that give everyone whom an expression fits: nobody, one or several.

gRefCOCO's Pr@(F1=1, IoU>=.5), N-acc and T-acc; HumanRef's recall, precision, DensityF1 and rejection score
(docs/evaluation.md). Boxes are x0, y0, x1, y1 in one frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .boxes import iou

THRESHOLDS = tuple(round(0.5 + 0.05 * k, 2) for k in range(10))  # .50:.05:.95


@dataclass(frozen=True)
class Matched:
    """The boxes of one answer beside those of its label.

    overlaps: IoU of the pairs, best first, float32 [min(predictions, labels)]. kind: of a row that fits nobody, or "".
    """

    overlaps: np.ndarray
    predictions: int
    labels: int
    rejected: bool  # whether the answer says that nobody fits; an unreadable answer says nothing
    kind: str = ""

    def counts(self, threshold: float) -> tuple[int, int, int]:
        """True positives, false positives, false negatives: a box is right if its pair's IoU reaches the threshold."""
        hits = int((self.overlaps >= threshold).sum())
        return hits, self.predictions - hits, self.labels - hits

    def recall(self, threshold: float) -> float:
        """Share of the labels that were found. The label is not empty."""
        return self.counts(threshold)[0] / self.labels

    def precision(self, threshold: float) -> float:
        """Share of the answered boxes that are right; 0 where there are none."""
        return self.counts(threshold)[0] / max(self.predictions, 1)

    def f1(self, threshold: float) -> float:
        """2 TP / (2 TP + FP + FN). Where nobody fits: 1 for an answer that says so, else 0."""
        if not self.labels:
            return float(self.rejected)
        hits, extra, missed = self.counts(threshold)
        return 2 * hits / (2 * hits + extra + missed)

    def density_f1(self, threshold: float) -> float:
        """F1, lowered by labels / predictions where there are more boxes than people."""
        return self.f1(threshold) * min(1.0, self.labels / max(self.predictions, 1))


def match(prediction: ArrayLike, label: ArrayLike) -> np.ndarray:
    """IoU of boxes matched one to one, the best pair first: float32 [min(P, L)], falling.

    prediction: [P, 4], label: [L, 4]. Whatever the threshold, the pairs that reach it are the same.
    """
    return np.array([overlap for _, overlap in _pairs(prediction, label)], np.float32)


def hits(prediction: ArrayLike, label: ArrayLike, threshold: float) -> np.ndarray:
    """Which predictions [P, 4] are matched with a label [L, 4] at an IoU of `threshold` or more: bool [P]."""
    found = np.zeros(len(np.asarray(prediction).reshape(-1, 4)), bool)
    for row, overlap in _pairs(prediction, label):
        found[row] = overlap >= threshold
    return found


def _pairs(prediction: ArrayLike, label: ArrayLike) -> list[tuple[int, float]]:
    """(number of the prediction, IoU) of boxes matched one to one, the best pair first."""
    predicted, labelled = (np.asarray(boxes, np.float32).reshape(-1, 4) for boxes in (prediction, label))
    overlaps = iou(predicted[:, None], labelled[None])  # [P, L]
    pairs = []
    for _ in range(min(overlaps.shape)):
        row, column = np.unravel_index(overlaps.argmax(), overlaps.shape)
        pairs.append((int(row), float(overlaps[row, column])))
        overlaps[row], overlaps[:, column] = -1, -1
    return pairs


def generalized_scores(answers: Sequence[Matched]) -> dict[str, float | None]:
    """Metrics of all rows, each in 0..1; None where no row of its kind was asked.

    Rows that fit nobody count in `pr_f1`, `n_acc` and `rejection` alone. `..._mean`: over `THRESHOLDS`, else at .5.
    `rejection_by_kind`: every kind of row that fits nobody counts the same, whatever its number of rows.
    """
    several = [one for one in answers if one.labels]
    nobody = [one for one in answers if not one.labels]
    rejected = _mean([one.rejected for one in nobody])
    kinds = sorted({one.kind for one in nobody})
    by_kind = {kind: _mean([one.rejected for one in nobody if one.kind == kind]) for kind in kinds}
    scores = {
        "pr_f1": _mean([one.f1(0.5) == 1 for one in answers]),
        "n_acc": rejected,
        "t_acc": _mean([one.predictions > 0 for one in several]),
        "rejection": rejected,
        "rejection_by_kind": _mean(list(by_kind.values())),
        **{f"rejection_{kind}": share for kind, share in by_kind.items() if kind},
    }
    for name, score in (
        ("recall", Matched.recall),
        ("precision", Matched.precision),
        ("f1", Matched.f1),
        ("density_f1", Matched.density_f1),
    ):
        scores[name] = _mean([score(one, 0.5) for one in several])
        scores[f"{name}_mean"] = _mean([score(one, threshold) for one in several for threshold in THRESHOLDS])
    return scores


def _mean(values: Sequence[float | None]) -> float | None:
    return float(np.mean(np.array(values, float))) if values else None
