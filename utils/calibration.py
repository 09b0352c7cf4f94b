"""How good confidences are, and curves that make probabilities of them (docs/confidence.md)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

BINS = 15  # of the expected calibration error, as in Guo et al. (arXiv 1706.04599)
DECIMALS = 6  # of a curve's knots


def reliability(confidences: ArrayLike, right: ArrayLike) -> np.ndarray:
    """Count, mean confidence and share of right ones in each of `BINS` equal parts of 0..1: [BINS, 3]; NaN if empty."""
    confidences, right = np.asarray(confidences, np.float64), np.asarray(right, np.float64)
    place = np.minimum((confidences * BINS).astype(int), BINS - 1)  # 1.0 is in the last one
    count = np.bincount(place, minlength=BINS)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(place, weights=values, minlength=BINS) / count for values in (confidences, right)]
    return np.stack([count, *means], axis=1)


def ece(confidences: ArrayLike, right: ArrayLike) -> float:
    """Expected calibration error: mean over all of |confidence - share of right ones|, both means of their bin.

    0 for none at all.
    """
    count, confidence, share = reliability(confidences, right).T
    return float(np.nansum(count * np.abs(confidence - share)) / max(count.sum(), 1))


def auroc(confidences: ArrayLike, right: ArrayLike) -> float | None:
    """Chance that a right one has more confidence than a wrong one, ties counting half; None if either is missing."""
    right = np.asarray(right, bool)
    positive, negative = int(right.sum()), int((~right).sum())
    if not positive or not negative:
        return None
    from scipy.stats import rankdata  # slow to import, and no answer needs it

    above = float(rankdata(np.asarray(confidences, np.float64))[right].sum()) - positive * (positive + 1) / 2
    return above / (positive * negative)


@dataclass(frozen=True)
class Curve:
    """A rising curve from raw confidence to probability, both 0..1: straight between its knots, flat beyond them."""

    raw: tuple[float, ...]
    probability: tuple[float, ...]

    def __post_init__(self) -> None:
        """Raises ValueError unless both rise, from one knot on, within 0..1."""
        raw, probability = (np.asarray(values, np.float64) for values in (self.raw, self.probability))
        if raw.ndim != 1 or raw.shape != probability.shape or not raw.size:
            raise ValueError(
                f"a curve needs as many raw confidences as probabilities, got {raw.size} and {probability.size}"
            )
        within = [(values >= 0).all() and (values <= 1).all() for values in (raw, probability)]  # False for NaN
        if not (all(within) and (np.diff(raw) > 0).all() and (np.diff(probability) >= 0).all()):
            raise ValueError("a curve must rise within 0..1")

    def __call__(self, raw: ArrayLike) -> np.ndarray:
        """The probability of each, float64 [...]."""
        return np.interp(np.asarray(raw, np.float64), self.raw, self.probability)


def fit(raw: ArrayLike, right: ArrayLike) -> Curve:
    """The curve of right answers over raw confidence, both [N]: centred isotonic regression.

    Isotonic regression gives steps; the curve joins their centres (Oron and Flournoy, 2017), so that different raw
    confidences seldom get the same probability. No probability is nearer to 0 or 1 than 1 / (N + 2).
    """
    from scipy.optimize import isotonic_regression  # slow to import, and no answer needs it

    raw, right = np.asarray(raw, np.float64), np.asarray(right, np.float64)
    values, place, count = np.unique(raw.round(DECIMALS), return_inverse=True, return_counts=True)
    share = np.bincount(place, weights=right) / count
    steps = isotonic_regression(share, weights=count)
    starts = steps.blocks[:-1]
    weight = np.add.reduceat(count, starts)
    centres = np.add.reduceat(values * count, starts) / weight
    least = 1 / (len(raw) + 2)
    probability = steps.x[starts].clip(least, 1 - least).round(DECIMALS)
    centres, kept = np.unique(centres.round(DECIMALS), return_index=True)
    return Curve(tuple(centres.tolist()), tuple(probability[kept].tolist()))
