"""Intervals and paired tests by resampling pictures: the rows of one picture are not independent (docs/scoring.md)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .metrics import Metrics, values_of

LEVEL = 0.95
CHUNK = 2**23  # weights that are held at once


@dataclass(frozen=True)
class Estimate:
    """A metric of all rows, and the interval of LEVEL in which it would lie for other pictures; NaN: not known."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """A metric minus that of other answers to the same rows. p: of a difference as large by chance, two-sided."""

    value: float
    low: float
    high: float
    p: float


def resampled(metrics: Sequence[Metrics], groups: np.ndarray, *, resamples: int, seed: int) -> dict[str, np.ndarray]:
    """Each metric of `resamples` sets of pictures, drawn with replacement: [resamples].

    groups: int64 [N], the picture of each row, 0..G-1, each with a row. The sets follow from seed and G alone, so that
    other answers to the same rows get the same.
    """
    count = int(groups.max()) + 1
    parts = [metric.by_weight(groups, count) for metric in metrics]
    drawn = [
        {name: value for part in parts for name, value in part(weights).items()}
        for weights in _weights(count, resamples=resamples, seed=seed)
    ]
    return {name: np.concatenate([chunk[name] for chunk in drawn]) for name in drawn[0]}


def _weights(count: int, *, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each picture was drawn, float64 [b, count], in chunks."""
    random = np.random.default_rng(seed)
    step = max(1, min(64, CHUNK // count))
    for start in range(0, resamples, step):
        rows = range(start, min(start + step, resamples))
        drawn = [np.bincount(random.integers(0, count, count), minlength=count) for _ in rows]
        yield np.array(drawn, np.float64)


def estimates(metrics: Sequence[Metrics], draws: dict[str, np.ndarray]) -> dict[str, Estimate]:
    """Each metric with its percentile interval."""
    return {name: Estimate(value, *_interval(draws[name])) for name, value in values_of(metrics).items()}


def differences(
    metrics: Sequence[Metrics],
    draws: dict[str, np.ndarray],
    *,
    other: Sequence[Metrics],
    other_draws: dict[str, np.ndarray],
) -> dict[str, Difference]:
    """Each metric that both have, minus the other's, on the same resamples.

    p: the share of resamples whose difference is as far from the observed one as that is from 0.
    """
    mine, theirs = values_of(metrics), values_of(other)
    found = {}
    for name in mine:
        if name not in theirs:
            continue
        value, drawn = mine[name] - theirs[name], draws[name] - other_draws[name]
        known = drawn[~np.isnan(drawn)]
        extreme = np.count_nonzero(np.abs(known - value) >= abs(value) * (1 - 1e-12))
        found[name] = Difference(value, *_interval(drawn), (extreme + 1) / (len(known) + 1))
    return found


def _interval(draws: np.ndarray) -> tuple[float, float]:
    known = draws[~np.isnan(draws)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
