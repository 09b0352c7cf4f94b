"""Rows of several files side by side, for multitask training (docs/data.md, "Multitask mixing")."""

import math
from collections.abc import Sequence

import numpy as np
from torch.utils.data import Dataset

from .dataset import BadRow, ReferringDataset, Sample


class Mixture(Dataset[list[Sample | BadRow]]):
    """Item i holds one or more samples of each part. Each part wraps around by itself, across epochs: no row is lost.

    Where the length of an epoch changes, as with REC files of several lengths, some rows come again sooner than others.
    """

    def __init__(
        self,
        parts: Sequence[ReferringDataset],
        length: int,
        *,
        rows: Sequence[int] | None = None,
        weights: Sequence[float] | None = None,
    ) -> None:
        """length: items of an epoch. rows: how many of each part an item holds; None: one.

        weights: of the parts' losses; None: every symbol counts the same.
        """
        self.parts, self.length, self.weights = list(parts), length, weights
        self.rows = [1] * len(self.parts) if rows is None else list(rows)
        self._passes: list[dict[int, np.ndarray]] = [{} for _ in parts]
        self._first, self._seed, self._shuffle_after = 0, 0, math.inf

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, i: int) -> list[Sample | BadRow]:
        """The samples of item i, part by part."""
        places = [(number, (self._first + i) * rows + k) for number, rows in enumerate(self.rows) for k in range(rows)]
        return [self._row(number, place) for number, place in places]

    def order(self, epoch: int, *, seed: int, shuffle_after: float) -> np.ndarray:
        """Item numbers in order, int64 [len]. From here on, items are those of this epoch.

        shuffle_after: passes that begin in the first so many epochs keep the files' order.
        """
        self._first, self._seed, self._shuffle_after = (epoch - 1) * self.length, seed, shuffle_after
        self._passes = [{} for _ in self.parts]
        return np.arange(self.length)

    def _row(self, number: int, place: int) -> Sample | BadRow:
        part, passes = self.parts[number], self._passes[number]
        turn, place = divmod(place, len(part))
        if turn not in passes:
            begins = (
                turn * len(part) // self.rows[number] // self.length + 1
            )  # the epoch, in which the pass ends or not
            kept = turn + 1 if begins <= self._shuffle_after else 0
            passes[turn] = part.order(turn + 1, seed=self._seed, shuffle_after=kept)
        sample = part[int(passes[turn][place])]
        if self.weights is None or isinstance(sample, BadRow):
            return sample
        return sample | {"conf": self.weights[number]}
