"""Answers beside the rows that they answer, by id; what does not fit is counted (docs/scoring.md)."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...utils.errors import DataError, shown
from .records import Record

EXAMPLES = 3


@dataclass(frozen=True)
class Joined:
    """records: of each row, None where it is missing. The rest are ids, for the report."""

    records: list[Record | None]
    missing: list[str]
    unknown: list[str]
    doubled: list[str]

    def remarks(self) -> list[str]:
        """A line for each kind of id that does not fit."""
        kinds = (
            (self.missing, "rows have no answer, which counts as wrong"),
            (self.unknown, "answers are to ids that the table does not have, and are left out"),
            (self.doubled, "answers are to ids that are answered already; the first one counts"),
        )
        return [f"{len(ids)} {what}, such as {shown(ids[:EXAMPLES])}" for ids, what in kinds if ids]


def join(ids: Sequence[str], records: Sequence[Record], *, table: Path, answers: Path) -> Joined:
    """An id that the table has n times takes the first n answers to it, in order. DataError if nothing fits."""
    if records[0].id is None:
        return _in_order(ids, records, table=table, answers=answers)
    rows = defaultdict(list)
    for row, row_id in enumerate(ids):
        rows[row_id].append(row)
    found: list[Record | None] = [None] * len(ids)
    used: dict[str, int] = defaultdict(int)
    unknown, doubled = [], []
    for record in records:
        if (name := record.id) is None:
            raise DataError(f"{record.where}: has no id, earlier lines have one: expected id<TAB>answer on each line")
        if name not in rows:
            unknown.append(name)
        elif used[name] == len(rows[name]):
            doubled.append(name)
        else:
            found[rows[name][used[name]]] = record
            used[name] += 1
    if len(unknown) == len(records):
        raise DataError(
            f"{answers}: none of its {len(records)} ids is in {table}, such as {shown(unknown[0])}; the table has "
            f"ids such as {shown(ids[0])}"
        )
    missing = [name for name, record in zip(ids, found, strict=True) if record is None]
    return Joined(found, missing, unknown, doubled)


def _in_order(ids: Sequence[str], records: Sequence[Record], *, table: Path, answers: Path) -> Joined:
    if len(records) != len(ids) or any(record.id is not None for record in records):
        raise DataError(
            f"{answers}: has {len(records)} lines, {table} has {len(ids)} rows: without ids, expected one line a row"
        )
    return Joined(list(records), [], [], [])
