"""COCO's average precision, exactly, and again for every resample of the pictures (docs/scoring.md).

pycocotools gives the same numbers, but takes minutes for what resampling needs a thousand times.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from .keypoints import EXACT_SIGMAS, NUM_KEYPOINTS, visible_keypoints

THRESHOLDS = np.linspace(0.5, 0.95, 10)  # of similarity
RECALLS = np.linspace(0, 1, 101)  # at which precision is read
MOST_RANKS = 4096  # of a resample: with more predictions, neighbours in rank are counted together
_SPACING = np.spacing(1)  # added as in COCO


@dataclass(frozen=True)
class Ranked:
    """Average precision of ranked predictions over THRESHOLDS (T of them).

    hits, errors: bool [T, D], whether a prediction is right, or an error; neither: it does not count. scores: [D].
    row: int64 [D], the row that a prediction answers, of N. positives: [N], how many there are to be found.
    names: of the mean over thresholds, and of thresholds 0.50 and 0.75; recall: of the mean largest recall.
    """

    hits: np.ndarray
    errors: np.ndarray
    scores: np.ndarray
    row: np.ndarray
    positives: np.ndarray
    names: tuple[str, str, str] = ("oks_ap", "oks_ap50", "oks_ap75")
    recall: str | None = None

    def values(self) -> dict[str, float]:
        """Each metric of all rows; -1 where there is nothing to be found, as in COCO."""
        order = np.argsort(-self.scores, kind="stable")
        hits, errors = (np.cumsum(flags[:, order], axis=1, dtype=np.float64) for flags in (self.hits, self.errors))
        found = self._finish(hits[None], errors[None], np.array([self.positives.sum()], np.float64))
        return {name: -1.0 if np.isnan(value[0]) else float(value[0]) for name, value in found.items()}

    def by_weight(self, groups: np.ndarray, count: int) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
        """See `metrics.Metrics`."""
        from scipy.sparse import csr_array  # slow to import, and only resampling needs it

        total = len(self.scores)
        ranks = min(total, MOST_RANKS)
        rank = np.empty(total, np.int64)
        rank[np.argsort(-self.scores, kind="stable")] = np.arange(total) * ranks // max(total, 1)
        positives = np.bincount(groups, weights=self.positives, minlength=count)

        def matrix(flags: np.ndarray) -> "csr_array":
            threshold, place = np.nonzero(flags)
            cells = threshold * ranks + rank[place], groups[self.row[place]]
            return csr_array((np.ones(len(place)), cells), shape=(len(THRESHOLDS) * ranks, count))

        hits, errors = matrix(self.hits), matrix(self.errors)

        def finish(weights: np.ndarray) -> dict[str, np.ndarray]:
            shape = (len(THRESHOLDS), ranks, len(weights))
            summed = ((flags @ weights.T).reshape(shape) for flags in (hits, errors))
            hit, error = (np.cumsum(np.moveaxis(counts, -1, 0), axis=-1) for counts in summed)
            return self._finish(hit, error, weights @ positives)

        return finish

    def subset(self, rows: np.ndarray) -> "Ranked":
        """See `metrics.Metrics`."""
        kept = rows[self.row]
        place = np.cumsum(rows) - 1
        hits, errors, scores, row = self.hits[:, kept], self.errors[:, kept], self.scores[kept], place[self.row[kept]]
        return replace(self, hits=hits, errors=errors, scores=scores, row=row, positives=self.positives[rows])

    def _finish(self, hits: np.ndarray, errors: np.ndarray, positives: np.ndarray) -> dict[str, np.ndarray]:
        """hits, errors: [B, T, D] up to each rank; positives: [B]. Metrics [B], NaN without positives."""
        with np.errstate(invalid="ignore", divide="ignore"):
            recall = hits / positives[:, None, None]
        precision = hits / (hits + errors + _SPACING)
        envelope = np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]  # the best at this recall or more
        envelope = np.concatenate([envelope, np.zeros((*envelope.shape[:2], 1))], axis=-1)  # a recall never reached
        average = np.empty(hits.shape[:2])
        for b, t in np.ndindex(*average.shape):
            average[b, t] = envelope[b, t, np.searchsorted(recall[b, t], RECALLS, side="left")].mean()
        average[positives == 0] = np.nan
        found = dict(zip(self.names, (average.mean(-1), average[:, 0], average[:, 5]), strict=True))
        if self.recall is not None:
            largest = recall[..., -1] if recall.shape[-1] else np.zeros(average.shape)
            found[self.recall] = largest.mean(-1)
        return found


def keypoint_precision(
    prediction: np.ndarray,
    label: np.ndarray,
    *,
    box_xyxy: ArrayLike,
    scores: ArrayLike | None = None,
    answered: ArrayLike | None = None,
) -> Ranked:
    """RefHuman's protocol: each expression is an image entry of its own with one prediction; the area is the box's.

    prediction, label: [N, 17, 2] and box_xyxy [N, 4], image px. scores: [N] confidences, by which predictions rank.
    Without them, rows count in their order: shuffled rows give about the square of the share of hits, sorted rows
    another number. As in COCO, a person without visible keypoints is not to be found, but a prediction far from its
    box is an error. answered: bool [N]; rows without an answer have no prediction.
    """
    count = len(label)
    ranks = np.ones(count) if scores is None else np.asarray(scores, np.float64)
    if not prediction.shape == label.shape == (count, NUM_KEYPOINTS, 2) or ranks.shape != (count,):
        raise ValueError(f"expected [{count}, 17, 2] and [{count}], got {prediction.shape} and {ranks.shape}")
    there = np.ones(count, bool) if answered is None else np.asarray(answered, bool)
    if not (np.isfinite(prediction[there]).all() and np.isfinite(ranks[there]).all()):
        raise ValueError("predicted keypoints and scores must be finite: COCO would count a NaN as a hit")
    matched = coco_oks(prediction, label, box_xyxy) >= THRESHOLDS[:, None]  # [T, N]
    visible = np.any(visible_keypoints(label), axis=-1).reshape(count)
    hits, errors = matched & visible, ~matched
    return Ranked(hits[:, there], errors[:, there], ranks[there], np.flatnonzero(there), visible.astype(np.float64))


def coco_oks(prediction: np.ndarray, label: np.ndarray, box_xyxy: ArrayLike) -> np.ndarray:
    """COCO's keypoint similarity in float64, [N]: `keypoints.oks` is the paper's, in float32."""
    prediction, label, box = (np.asarray(array, np.float64) for array in (prediction, label, box_xyxy))
    visible = visible_keypoints(label)  # [N, 17]
    any_visible = np.any(visible, axis=-1, keepdims=True)  # [N, 1]
    first, last = box[:, None, :2], box[:, None, 2:]
    size = last - first
    outside = np.maximum(first - size - prediction, 0) + np.maximum(prediction - last - size, 0)
    offset = np.where(any_visible[..., None], prediction - label, outside)
    error = (offset**2).sum(-1) / (2 * EXACT_SIGMAS) ** 2 / (size.prod(-1) + _SPACING) / 2
    counted = visible | ~any_visible
    similarity: np.ndarray = (np.exp(-error) * counted).sum(-1) / counted.sum(-1)
    return similarity
