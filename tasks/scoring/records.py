"""Files of answers: JSON lists, JSON lines, and plain text (docs/scoring.md). What a record holds is read elsewhere."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...utils.errors import DataError, shown

ID_FIELDS = ("uniq_id", "id", "image_id")
TEXT_FIELDS = ("answer", "response", "prediction", "output", "text")


@dataclass(frozen=True)
class Record:
    """A record of a file. id: as text; None in a text file without ids, whose lines follow the table's rows."""

    id: str | None
    fields: Mapping[str, Any]
    where: str


def read_records(path: Path) -> list[Record]:
    """All records of a file. Raises DataError naming what cannot be read."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a file of answers: {error}") from error
    start = text.lstrip()[:1]
    if start == "[":
        return _json_list(text, path)
    lines = text.split("\n")  # not splitlines: a caption may hold other line ends
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise DataError(f"{path}: is empty, expected answers")
    if start == "{":
        return [_record(_loads(line, f"{path}:{k}"), f"{path}:{k}") for k, line in enumerate(lines, 1) if line.strip()]
    return [_text_line(line.rstrip("\r"), f"{path}:{k}") for k, line in enumerate(lines, 1)]


def _json_list(text: str, path: Path) -> list[Record]:
    content = _loads(text, str(path))
    if not content or not isinstance(content, list):
        raise DataError(f"{path}: expected a JSON list of answers, got {shown(content)}")
    return [_record(fields, f"{path}: record {k}") for k, fields in enumerate(content)]


def _loads(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: cannot be read as JSON ({error})") from error


def _record(fields: Any, where: str) -> Record:
    if not isinstance(fields, dict):
        raise DataError(f"{where}: expected an object, got {shown(fields)}")
    name = next((name for name in ID_FIELDS if name in fields), None)
    if name is None:
        if {"images", "annotations"} <= fields.keys():
            raise DataError(f"{where}: is a COCO annotation file, expected answers; it can be the TABLE")
        raise DataError(f"{where}: has none of the fields {', '.join(ID_FIELDS)}: {shown(sorted(fields))}")
    if type(fields[name]) not in (int, str):
        raise DataError(f"{where}: `{name}` {shown(fields[name])}: expected a whole number or a text")
    return Record(str(fields[name]), fields, where)


def _text_line(line: str, where: str) -> Record:
    """`answer`, or `id<TAB>answer`."""
    name, tab, answer = line.partition("\t")
    return Record(name if tab else None, {TEXT_FIELDS[0]: answer if tab else line}, where)
