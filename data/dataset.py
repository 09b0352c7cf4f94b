"""Rows of a TSV as samples. Bad rows travel as data: the main process counts them (docs/deviations.md, 1, 2, 20)."""

import logging
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch.utils.data import Dataset
from tqdm import tqdm

from ..utils.errors import DataError
from .tsv import TsvFile

logger = logging.getLogger(__name__)

Sample = dict[str, Any]  # the fields of docs/data.md, "A sample"


@dataclass(frozen=True)
class BadRow:
    """A row that gave no sample. message: where, what came, what was expected."""

    row: int
    message: str


class ReferringDataset(Dataset[Sample | BadRow]):
    """One sample for each row of `file`, made by `make_sample(row, where)`."""

    def __init__(
        self, file: TsvFile, make_sample: Callable[[dict[str, str], str], Sample], *, together: int = 1, name: str = ""
    ) -> None:
        """together: how many rows about one picture stay neighbours, at most, when rows are shuffled.

        Tables over the same pictures then visit these in the same order; each draws its rows by its own `name`.
        """
        self.file = file
        self.make_sample = make_sample
        self.together, self.name = together, name

    def __len__(self) -> int:
        return len(self.file)

    def __getitem__(self, i: int) -> Sample | BadRow:
        """Sample i with its `row` and `where`, or a BadRow instead of a DataError."""
        where = self.file.where(i)
        try:
            sample = self.make_sample(self.file[i], where)
        except DataError as error:  # raised in a worker, it would end the run before it is counted
            return BadRow(i, str(error))
        return sample | {"row": i, "where": where}

    def order(self, epoch: int, *, seed: int, shuffle_after: float) -> np.ndarray:
        """Row numbers in the order of this epoch, int64 [len]; the same on every rank.

        shuffle_after: the first so many epochs keep the file's order.
        """
        if epoch <= shuffle_after:
            return np.arange(len(self))
        random = np.random.default_rng((seed, epoch))
        if self.together == 1:
            return random.permutation(len(self))
        own = np.random.default_rng((seed, epoch, zlib.crc32(self.name.encode())))
        rows = np.lexsort((own.random(len(self)), self.pictures))  # by picture, shuffled within each
        first = np.searchsorted(self.pictures, self.pictures)  # position at which each row's picture begins
        begins = (np.arange(len(self)) - first) % self.together == 0
        group = np.cumsum(begins) - 1
        return rows[np.argsort(random.permutation(group[-1] + 1)[group], kind="stable")]

    @cached_property
    def pictures(self) -> np.ndarray:
        """Number of each row's picture, int64 [len]: neighbouring rows with the same cell share a picture."""
        name = f"pictures of {self.file.path.name}"
        cells = (self.file[i]["image"] for i in tqdm(range(len(self)), desc=name, unit="row", leave=False, delay=5))
        seen = np.fromiter((zlib.crc32(cell.encode()) for cell in cells), np.int64, len(self))
        return np.cumsum(np.diff(seen, prepend=seen[0]) != 0)


class BadRowCounter:
    """Counts a run's bad rows (`--skip-bad-rows`) and its rows with clipped coordinates, each row once.

    Passes on what is remarkable about a row, once for each file.
    """

    def __init__(self, limit: int) -> None:
        """limit: how many bad rows a run may skip."""
        self.limit = limit
        self._bad: dict[str, None] = {}  # in the order in which they came
        self._clipped: dict[str, set[str]] = defaultdict(set)
        self._reported: set[str] = set()
        self._remarks: set[tuple[str, str]] = set()

    def check(self, batch: dict[str, Any]) -> None:
        """Take `bad_rows`, `clipped_rows` and `remarks` out of a batch.

        Warns of the first row of a file that a remark is about. Raises DataError when more rows are bad than allowed.
        """
        for where, remark in batch.pop("remarks", []):
            path, _, _ = where.rpartition(":")
            if (path, remark) not in self._remarks:
                self._remarks.add((path, remark))
                logger.warning("%s: %s (said once for this file)", where, remark)
        for where in batch.pop("clipped_rows", []):
            path, _, _ = where.rpartition(":")
            self._clipped[path].add(where)
        for message in batch.pop("bad_rows", []):
            if message in self._bad:
                continue
            self._bad[message] = None
            if (excess := self.excess(self.bad)) is not None:
                raise excess
            logger.warning("skipped bad row %d of at most %d: %s", len(self._bad), self.limit, message)

    @property
    def bad(self) -> list[str]:
        """What is wrong with each bad row so far."""
        return list(self._bad)

    def excess(self, bad: Sequence[str]) -> DataError | None:
        """The error of bad rows, such as all ranks', that are more than allowed."""
        if len(bad) <= self.limit:
            return None
        more = f": bad row {len(bad)}, --skip-bad-rows allows {self.limit}" if self.limit else ""
        return DataError(f"{bad[-1]}{more}")

    def report_clipped(self) -> None:
        """After a pass: warn once for each file how many of its rows were clipped."""
        for path in sorted(self._clipped.keys() - self._reported):
            wheres = self._clipped[path]
            logger.warning(
                "%s: %d rows have coordinates outside the picture, which were clipped; one of them is %s",
                path,
                len(wheres),
                min(wheres, key=lambda where: (len(where), where)),
            )
            self._reported.add(path)
