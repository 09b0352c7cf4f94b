"""Rows of several files side by side, as multitask training wants them (docs/data.md, "Multitask mixing")."""

from collections.abc import Sequence

import numpy as np
from torch.utils.data import Dataset

from .dataset import BadRow, ReferringDataset, Sample


class Mixture(Dataset):
    """Item i is a sample of each part, or more. Parts wrap around on their own, over the epochs: no row is left out.

    Where epochs have other lengths, as with REC files of several lengths, some rows come sooner again than others.
    """

    def __init__(
        self,
        parts: Sequence[ReferringDataset],
        length: int,
        *,
        rows: Sequence[int] | None = None,
        weights: Sequence[float] | None = None,
    ) -> None:
        """length: items of an epoch. rows: of each part in an item; None: one.

        weights: of the parts' losses; None: every symbol counts the same.
        """
        self.parts, self.length, self.weights = list(parts), length, weights
        self.rows = [1] * len(self.parts) if rows is None else list(rows)
        self._passes: list[dict[int, np.ndarray]] = [{} for _ in parts]
        self._first, self._seed, self._shuffle = 0, 0, False

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, i: int) -> list[Sample | BadRow]:
        """Samples of each part, in their order."""
        places = [(number, (self._first + i) * rows + k) for number, rows in enumerate(self.rows) for k in range(rows)]
        return [self._row(number, place) for number, place in places]

    def order(self, epoch: int, *, seed: int, shuffle: bool) -> np.ndarray:
        """Items in the order of this epoch, int64 [len]; from here on items are this epoch's."""
        self._first, self._seed, self._shuffle = (epoch - 1) * self.length, seed, shuffle
        self._passes = [{} for _ in self.parts]
        return np.arange(self.length)

    def _row(self, number: int, place: int) -> Sample | BadRow:
        part, passes = self.parts[number], self._passes[number]
        turn, place = divmod(place, len(part))
        if turn not in passes:
            passes[turn] = part.order(turn + 1, seed=self._seed, shuffle=self._shuffle)
        sample = part[int(passes[turn][place])]
        if self.weights is None or isinstance(sample, BadRow):
            return sample
        return sample | {"conf": self.weights[number]}
