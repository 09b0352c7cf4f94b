"""Reading the result files of evaluate.py (docs/evaluation.md): a JSON list, one record for each row of the TSV."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..utils.errors import DataError


def read_results(path: str | Path, count: int, *, data: str | Path) -> list[Mapping[str, Any]]:
    """The records of a result file, one for each of the `count` rows of the TSV `data`. Raises DataError."""
    try:
        records = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a result file: {error}") from error
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise DataError(f"{path}: a result file is a JSON list of objects")
    if len(records) != count:
        raise DataError(f"{path}: has {len(records)} records, {data} has {count} rows: give the table that it answers")
    return records


def read_numbers(record: Mapping[str, Any], field: str, *, count: int, where: str) -> np.ndarray:
    """A field of a record: finite numbers, float32 [count]. Raises DataError naming `where`."""
    try:
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused below
            numbers = np.asarray(record.get(field), np.float32)
    except (TypeError, ValueError, OverflowError):
        numbers = np.empty(0, np.float32)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise DataError(f"{where}: {field}: needs {count} finite numbers, got {str(record.get(field))[:60]}")
    return numbers


def check_row(record: Mapping[str, Any], row_id: str, *, where: str, row: str) -> None:
    """Raises DataError unless the record is for the row `row_id` at `row`, "file:line"."""
    name = record.get("uniq_id", record.get("image_id"))
    if str(name) != row_id:
        raise DataError(f"{where}: answers {name!r}, the row ({row}) is {row_id!r}")
