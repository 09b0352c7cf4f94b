"""Answers of none to many boxes, by the metrics of gRefCOCO and HumanRef (docs/scoring.md)."""

import numpy as np

from ...data.columns import kind_of
from ...utils.generalized import Matched, generalized_metrics, match
from .labels import Labels
from .measuring import Answers, Measured


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
