"""Scores of answers that give everyone whom an expression fits: nobody, one or several.

gRefCOCO's Pr@(F1=1, IoU>=.5), N-acc and T-acc; HumanRef's recall, precision, DensityF1 and rejection score
(docs/evaluation.md). Boxes are x0, y0, x1, y1 in one frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .boxes import iou
from .metrics import Summed, Values

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


_KIND = "rejection_"
_SCORES = {
    "recall": Matched.recall,
    "precision": Matched.precision,
    "f1": Matched.f1,
    "density_f1": Matched.density_f1,
}


def generalized_metrics(answers: Sequence[Matched]) -> Summed:
    """Metrics of the rows, each in 0..1; NaN where no row of its kind was asked.

    Rows that fit nobody count in `pr_f1`, `n_acc` and `rejection` alone. `..._mean`: over `THRESHOLDS`, else at .5.
    `rejection_by_kind`: every kind of row that fits nobody counts the same, whatever its number of rows.
    """
    several = np.array([one.labels > 0 for one in answers], bool)
    rejected = np.array([one.rejected for one in answers], bool)
    answered = np.array([one.predictions > 0 for one in answers], bool)
    kinds = np.array([one.kind for one in answers], str)
    columns: dict[str, tuple[np.ndarray, np.ndarray]] = {
        "pr_f1": (np.array([one.f1(0.5) == 1 for one in answers], bool), np.ones(len(answers))),
        "n_acc": (rejected & ~several, ~several),
        "t_acc": (answered & several, several),
        "rejection": (rejected & ~several, ~several),
    }
    for kind in sorted(set(kinds[~several].tolist())):
        of_kind = ~several & (kinds == kind)
        columns[f"{_KIND}{kind}"] = rejected & of_kind, of_kind
    for name, score in _SCORES.items():
        rows = [[score(one, t) if one.labels else 0.0 for t in THRESHOLDS] for one in answers]
        scores = np.array(rows, np.float64).reshape(-1, len(THRESHOLDS))
        columns[name] = scores[:, 0], several
        columns[f"{name}_mean"] = scores.mean(1), several
    sums = np.stack([part for pair in columns.values() for part in pair], axis=1).astype(np.float64)
    return Summed(sums, lambda totals: _finish(totals, list(columns)))


def _finish(totals: np.ndarray, names: Sequence[str]) -> Values:
    of_kinds = [k for k, name in enumerate(names) if name.startswith(_KIND)]
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = totals[..., 0::2] / totals[..., 1::2]
        by_kind = np.nansum(shares[..., of_kinds], -1) / (~np.isnan(shares[..., of_kinds])).sum(-1)
    values: Values = {}
    for k, name in enumerate(names):
        if name != _KIND:  # of rows whose id names no kind
            values[name] = shares[..., k]
        if name == "rejection":
            values["rejection_by_kind"] = by_kind
    return values


def generalized_scores(answers: Sequence[Matched]) -> dict[str, float | None]:
    """`generalized_metrics` of all rows, with None for NaN."""
    return {name: None if np.isnan(value) else value for name, value in generalized_metrics(answers).values().items()}
