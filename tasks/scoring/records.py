"""Files of answers: JSON lists, JSON lines, and plain text (docs/scoring.md). What a record holds is read elsewhere."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...utils.errors import DataError, shown

ID_FIELDS = ("uniq_id", "id", "image_id")
COCO_ID_FIELDS = ("uniq_id", "image_id", "id")  # pycocotools numbers results by an `id` of their own
TEXT_FIELDS = ("answer", "response", "prediction", "output", "text")


@dataclass(frozen=True)
class Record:
    """A record of a file. id: as text; None in a text file without ids, whose lines follow the table's rows."""

    id: str | None
    fields: Mapping[str, Any]
    where: str


def read_records(path: Path, *, id_fields: Sequence[str] = ID_FIELDS) -> list[Record]:
    """All records of a file. Raises DataError naming what cannot be read.

    id_fields: of which a record's first gives its id.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a file of answers: {error}") from error
    start = text.lstrip()[:1]
    if start == "[" and (content := _json_list(text.strip(), path)) is not None:
        return [_record(fields, f"{path}: record {k}", id_fields) for k, fields in enumerate(content)]
    lines = text.split("\n")  # not splitlines: a caption may hold other line ends
    if not lines[-1].strip():  # what follows the last newline; a blank line before it is an answer
        lines.pop()
    if not lines:
        raise DataError(f"{path}: is empty, expected answers")
    numbered = [(f"{path}:{k}", line.rstrip("\r")) for k, line in enumerate(lines, 1)]
    if start == "{":
        return [_record(_loads(line, where), where, id_fields) for where, line in numbered if line.strip()]
    has_ids = "\t" in lines[0]
    return [_text_line(line, where) for where, line in numbered if line.strip() or not has_ids]


def _json_list(text: str, path: Path) -> list[Any] | None:
    """The records of a file that is one JSON list; None where each line is an answer, such as [12, 8, 90, 200]."""
    try:
        content, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError) as error:
        if not re.match(r"\[\s*(\{|$)", text):
            return None
        raise DataError(f"{path}: cannot be read as JSON ({error})") from error
    if end < len(text):
        return None
    if not content:
        raise DataError(f"{path}: expected a JSON list of answers, got {shown(content)}")
    return content if any(isinstance(one, dict) for one in content) else None


def _loads(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: cannot be read as JSON ({error})") from error


def _record(fields: Any, where: str, id_fields: Sequence[str]) -> Record:
    if not isinstance(fields, dict):
        raise DataError(f"{where}: expected an object, got {shown(fields)}")
    name = next((name for name in id_fields if name in fields), None)
    if name is None:
        if {"images", "annotations"} <= fields.keys():
            raise DataError(f"{where}: is a COCO annotation file, expected answers; it can be the TABLE")
        raise DataError(f"{where}: has none of the fields {', '.join(id_fields)}: {shown(sorted(fields))}")
    if type(fields[name]) not in (int, str):
        raise DataError(f"{where}: `{name}` {shown(fields[name])}: expected a whole number or a text")
    return Record(str(fields[name]), fields, where)


def _text_line(line: str, where: str) -> Record:
    """`answer`, or `id<TAB>answer`."""
    name, tab, answer = line.partition("\t")
    return Record(name if tab else None, {TEXT_FIELDS[0]: answer if tab else line}, where)
