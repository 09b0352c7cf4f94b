"""Answers of none to many boxes: the metrics of gRefCOCO and HumanRef for any weights of the rows (docs/scoring.md)."""

from collections.abc import Sequence

import numpy as np

from ...data.columns import kind_of
from ...utils.generalized import THRESHOLDS, Matched, match
from ...utils.metrics import Summed, Values
from .labels import Labels
from .measuring import Answers, Measured

_SCORES = {
    "recall": Matched.recall,
    "precision": Matched.precision,
    "f1": Matched.f1,
    "density_f1": Matched.density_f1,
}


def measure_generalized(answers: Answers, labels: Labels) -> Measured:
    """A row without an answer is wrong, also where nobody was the right answer."""
    none = np.zeros((0, 4))
    rows = []
    for answer, label, name in zip(answers, labels.boxes, labels.ids, strict=True):
        boxes = none if answer is None or answer.boxes is None else answer.boxes
        said = answer is not None and answer.readable and answer.boxes is not None
        rows.append(Matched(match(boxes, label), len(boxes), len(label), said and not len(boxes), kind_of(name)))
    quality = np.array([row.f1(0.5) for row in rows])
    return Measured([generalized_metrics(rows)], quality, "F1 at IoU 0.5")


def generalized_metrics(rows: Sequence[Matched]) -> Summed:
    """`utils.generalized.generalized_scores` from sums over rows; NaN where that has None."""
    several = np.array([row.labels > 0 for row in rows])
    rejected = np.array([row.rejected for row in rows])
    kinds = sorted({row.kind for row in rows if not row.labels})
    columns: dict[str, tuple[np.ndarray, np.ndarray]] = {
        "pr_f1": (np.array([row.f1(0.5) == 1 for row in rows]), np.ones(len(rows))),
        "n_acc": (rejected & ~several, ~several),
        "t_acc": (several & [row.predictions > 0 for row in rows], several),
        "rejection": (rejected & ~several, ~several),
    }
    for kind in kinds:
        of_kind = ~several & [row.kind == kind for row in rows]
        columns[f"rejection_{kind}"] = rejected & of_kind, of_kind
    for name, score in _SCORES.items():
        scores = np.array([[score(row, t) if row.labels else 0.0 for t in THRESHOLDS] for row in rows])
        columns[name] = scores[:, 0], several
        columns[f"{name}_mean"] = scores.mean(1), several
    sums = np.stack([part for pair in columns.values() for part in pair], axis=1).astype(np.float64)
    return Summed(sums, lambda totals: _finish(totals, list(columns)))


def _finish(totals: np.ndarray, names: Sequence[str]) -> Values:
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = totals[..., 0::2] / totals[..., 1::2]
    values = {name: shares[..., k] for k, name in enumerate(names)}
    kinds = [values[name] for name in names if name.startswith("rejection_")]
    if kinds:
        known = ~np.isnan(kinds)
        with np.errstate(invalid="ignore"):
            values["rejection_by_kind"] = np.where(known, kinds, 0).sum(0) / np.where(
                known.any(0), known.sum(0), np.nan
            )
    values.pop("rejection_", None)  # of rows whose id names no kind
    return values
