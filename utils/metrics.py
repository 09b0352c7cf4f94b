"""Metrics of a set of rows: once for all of them, or for every resample of their pictures (docs/scoring.md).

The tasks' `summarize` and `refhcm score` share these functions, so that they cannot differ.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from .average_precision import keypoint_precision
from .keypoints import NUM_KEYPOINTS
from .parsing import CLASS_NAMES, NUM_CLASSES, segmentation_scores

Values = dict[str, np.ndarray]
OKS_THRESHOLD = 0.5


class Metrics(Protocol):
    """Some metrics of the same rows."""

    def values(self) -> dict[str, float]:
        """Each metric of all rows; NaN where it is not defined."""
        ...

    def by_weight(self, groups: np.ndarray, count: int) -> Callable[[np.ndarray], Values]:
        """groups: int64 [N], the picture of each row, of `count`. The result takes weights of pictures, [B, count],
        to each metric, [B]."""
        ...

    def subset(self, rows: np.ndarray) -> "Metrics":
        """The metrics of the rows that are True in bool [N]."""
        ...


@dataclass(frozen=True)
class Summed:
    """Metrics that follow from sums over rows. rows: [N, K]; finish: sums, float64 [..., K] -> each metric, [...]."""

    rows: np.ndarray
    finish: Callable[[np.ndarray], Values]

    def values(self) -> dict[str, float]:
        """Each metric of all rows."""
        return {name: float(value) for name, value in self.finish(self.rows.sum(0, dtype=np.float64)).items()}

    def by_weight(self, groups: np.ndarray, count: int) -> Callable[[np.ndarray], Values]:
        """See `Metrics`."""
        sums = sum_by_group(self.rows, groups, count)
        return lambda weights: self.finish(weights @ sums)

    def subset(self, rows: np.ndarray) -> "Summed":
        """See `Metrics`."""
        return Summed(self.rows[rows], self.finish)


def sum_by_group(rows: np.ndarray, groups: np.ndarray, count: int) -> np.ndarray:
    """Sums of the rows [N, K] of each of `count` groups, none of which is empty: float64 [count, K]."""
    order = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[order], np.arange(count))
    return np.add.reduceat(rows[order], starts, axis=0, dtype=np.float64)


def ratios(**parts: tuple[ArrayLike, ArrayLike]) -> Summed:
    """Metrics that are sums over sums: name -> numerator and denominator of each row, both [N]; NaN for 0 / 0."""
    columns = [np.asarray(column, np.float64) for pair in parts.values() for column in pair]
    return Summed(np.stack(columns, axis=1), lambda sums: _ratios(sums, list(parts)))


def _ratios(sums: np.ndarray, names: Sequence[str]) -> Values:
    with np.errstate(invalid="ignore", divide="ignore"):
        found = sums[..., 0::2] / sums[..., 1::2]
    return {name: found[..., k] for k, name in enumerate(names)}


def means(**columns: ArrayLike) -> Summed:
    """Metrics that are means over all rows: name -> the rows' values, [N]."""
    return ratios(**{name: (column, np.ones(len(np.asarray(column)))) for name, column in columns.items()})


def values_of(metrics: Sequence[Metrics]) -> dict[str, float]:
    """Each metric of all rows, in order."""
    return {name: value for group in metrics for name, value in group.values().items()}


# The metrics of each task


def box_metrics(hits: ArrayLike) -> list[Metrics]:
    """REC: `score`, the share of boxes that are right, bool [N]."""
    return [means(score=hits)]


def keypoint_metrics(
    hits: ArrayLike | None,
    oks: ArrayLike,
    *,
    prediction: ArrayLike,
    label: ArrayLike,
    box_xyxy: ArrayLike,
    scores: ArrayLike | None,
    answered: ArrayLike | None = None,
) -> list[Metrics]:
    """RKpt: box accuracy (without boxes, None: left out), share and mean of OKS [N], and average precision.

    prediction, label: [N, 34 or 17, 2], and box_xyxy, the labels' [N, 4], image px. answered: bool [N], else all.
    """
    points, labels = (np.asarray(array).reshape(-1, NUM_KEYPOINTS, 2) for array in (prediction, label))
    similarity = np.asarray(oks, np.float64)
    of_box = {} if hits is None else {"box_score": hits}
    of_points = {"oks_score": similarity >= OKS_THRESHOLD, "oks": similarity}
    ranked = keypoint_precision(points, labels, box_xyxy=box_xyxy, scores=scores, answered=answered)
    return [means(**of_box, **of_points), ranked]


def label_map_metrics(hits: ArrayLike | None, confusions: np.ndarray) -> list[Metrics]:
    """RPar: box accuracy (without boxes, None: left out), and the scores of the summed confusions [N, 20, 20]."""
    of_box: list[Metrics] = [] if hits is None else [means(box_score=hits)]
    return [*of_box, Summed(confusions.reshape(len(confusions), -1), _label_map_scores)]


def _label_map_scores(sums: np.ndarray) -> Values:
    scores = segmentation_scores(sums.reshape(*sums.shape[:-1], NUM_CLASSES, NUM_CLASSES))
    class_iou = scores.pop("class_iou")
    return scores | {f"iou.{name}": class_iou[..., k] for k, name in enumerate(CLASS_NAMES)}


def caption_metrics(cider: ArrayLike) -> list[Metrics]:
    """RHrc: `cider`, of each caption 0..10, x100. Document frequencies stay those of the whole set in resamples."""
    return [means(cider=100 * np.asarray(cider, np.float64))]
