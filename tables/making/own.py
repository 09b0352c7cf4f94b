"""Rows from data of one's own: COCO-style JSON, or a CSV of pictures, expressions and boxes (docs/own_data.md)."""

import csv
import math
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from ...utils.errors import DataError, shown
from ...utils.keypoints import NUM_KEYPOINTS
from .captions import read_captions
from .coco import CocoFile, box_of, labelled, name_of, read_coco, size_of
from .plan import Draft, Plan
from .rules import Box, FaultError, LeftOutError, captions_cell, from_xywh, text_cell

TEXT_KEYS = ("expression", "expressions", "caption", "captions")  # of a COCO-style annotation
_BOX, _XYWH, _TEXT = ("x0", "y0", "x1", "y1"), ("x", "y", "width", "height"), ("expression", "caption")


def plan_coco(
    path: Path, layout: str, *, texts: Path | None = None, min_keypoints: int = 0, partial: bool = False
) -> Plan:
    """A row for each text of each annotation; in RHrc one for each annotation, with all its texts.

    texts: id of an annotation<TAB>text; None: the annotation's `expression` or `caption`, a text or a list of texts.
    """
    plan = Plan(partial=partial, inputs=[path, *([texts] if texts else [])])
    file = read_coco(path)
    said = None if texts is None else read_captions(texts)
    if said is not None:
        unknown = [i for i in said if i not in {str(known) for known in file.annotations}]
        if unknown:
            raise DataError(
                f"{texts}: {path} has no annotation {shown(unknown[0])}; so for {len(unknown)} of {len(said)} ids"
            )
    for ann_id, annotation in file.annotations.items():
        found = _texts(annotation, file.where(annotation)) if said is None else said.get(str(ann_id), [])
        try:
            _add(plan, file, annotation, found, layout, min_keypoints)
        except LeftOutError as reason:
            plan.left_out[str(reason)] += 1 if layout == "rhrc" else max(len(found), 1)
    if not plan.pictures and set(plan.left_out) == {"no-text"}:
        raise DataError(f"{path}: no annotation has a text; expected 'expression' in them, or give a file with --texts")
    return plan


def _add(
    plan: Plan, file: CocoFile, annotation: Mapping[str, Any], found: list[str], layout: str, min_keypoints: int
) -> None:
    where, image = file.where(annotation), file.image_of(annotation)
    if annotation.get("iscrowd"):
        raise LeftOutError("crowd")
    if not found:
        raise LeftOutError("no-text")
    keypoints = file.keypoints(annotation) if layout == "rkpt" else None
    if keypoints is not None and labelled(keypoints) < min_keypoints:
        raise LeftOutError("few-keypoints")
    box = box_of(annotation, where)
    if layout == "rhrc":
        rows = {str(annotation["id"]): captions_cell(found)}
    else:
        rows = {f"{annotation['id']}_{place}": text_cell(text) for place, text in enumerate(found)}
    for row_id, text in rows.items():
        draft = Draft(row_id, str(image["id"]), text, (box,), where, keypoints)
        plan.add(name_of(image, where), size_of(image), draft)


def _texts(annotation: Mapping[str, Any], where: str) -> list[str]:
    value: Any = next((annotation[key] for key in TEXT_KEYS if annotation.get(key)), [])
    texts = [value] if isinstance(value, str) else value
    if not (isinstance(texts, list) and all(isinstance(text, str) for text in texts)):
        raise DataError(f"{where}: expected a text or a list of texts, got {shown(value)}")
    return texts


def plan_csv(path: Path, layout: str, *, min_keypoints: int = 0, partial: bool = False) -> Plan:
    """A row for each line of a CSV (or TSV) with a header.

    Columns: image; expression, or caption in RHrc; x0, y0, x1, y1, or x, y, width, height, in px; for RKpt `keypoints`,
    51 numbers x,y,v or 34 numbers x,y in one cell; `id`, if there are ids.
    """
    plan = Plan(partial=partial, inputs=[path])
    for number, where, line in _lines(path):
        try:
            text = text_cell(_one_of(line, _TEXT))
            keypoints = _keypoints(line, where) if layout == "rkpt" else None
            if keypoints is not None and labelled(keypoints) < min_keypoints:
                raise LeftOutError("few-keypoints")
            row_id = (line.get("id") or "").strip() or str(number)
            name = (line.get("image") or "").strip()
            if not name:
                raise DataError(f"{where}: the column image is empty")
            draft = Draft(row_id, name, text, (_box(line, where),), where, keypoints)
        except LeftOutError as reason:
            plan.left_out[str(reason)] += 1
            continue
        except FaultError as error:
            plan.fault(error)
            continue
        plan.add(name, None, draft)
    return plan


def _lines(path: Path) -> Iterator[tuple[int, str, dict[str, str]]]:
    """The number of each row from 0, its "file:line", and its cells by name. DataError if columns are missing."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, delimiter="\t" if path.suffix.lower() in (".tsv", ".txt") else ",", strict=True)
            names = [name.strip().lower() for name in rows.fieldnames or ()]
            has_box = set(_BOX) <= set(names) or set(_XYWH) <= set(names)
            if "image" not in names or not has_box or not set(_TEXT) & set(names):
                expected = "a header with image, expression (or caption), and x0,y0,x1,y1 (or x,y,width,height)"
                raise DataError(f"{path}:1: expected {expected}, got {shown(','.join(names))}")
            rows.fieldnames = names
            for number, line in enumerate(rows):
                where = f"{path}:{rows.line_num}"
                if None in line:
                    raise DataError(f"{where}: has more cells than the header's {len(names)}; is a comma not quoted?")
                yield number, where, line
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a CSV in UTF-8 ({error})") from error


def _one_of(line: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((line[name] for name in names if line.get(name)), "")


def _numbers(cells: list[str], where: str, what: str) -> list[float]:
    try:
        found = [float(cell) for cell in cells]
    except (ValueError, TypeError):
        found = [math.nan]
    if not all(map(math.isfinite, found)):
        raise FaultError("bad-numbers", f"{where}: {what}: expected finite numbers, got {shown(cells)}")
    return found


def _box(line: Mapping[str, str], where: str) -> Box:
    corners = all(name in line for name in _BOX)
    a, b, c, d = _numbers([line[name] for name in (_BOX if corners else _XYWH)], where, "box")
    return (a, b, c, d) if corners else from_xywh((a, b, c, d))


def _keypoints(line: Mapping[str, str], where: str) -> tuple[float, ...]:
    cells = (line.get("keypoints") or "").replace(";", ",").replace(" ", ",").split(",")
    found = _numbers([cell for cell in cells if cell], where, "keypoints")
    if len(found) == 2 * NUM_KEYPOINTS:
        pairs = zip(found[::2], found[1::2], strict=True)
        return tuple(v for x, y in pairs for v in (x, y, 2.0 if x or y else 0.0))
    if len(found) != 3 * NUM_KEYPOINTS:
        expected = f"{3 * NUM_KEYPOINTS} numbers x,y,v or {2 * NUM_KEYPOINTS} numbers x,y of COCO's 17 keypoints"
        raise FaultError("bad-numbers", f"{where}: keypoints: expected {expected}, got {len(found)}")
    return tuple(found)


def divide(plan: Plan, share: int) -> tuple[Plan, Plan]:
    """The plan in two by picture: all but about `share` of 100 pictures, and these. The same names fall the same way.

    Of two pictures or more, each part gets one.
    """
    order = sorted(plan.pictures, key=lambda name: sha256(name.encode()).digest())
    count = min(max(round(len(order) * share / 100), 1), len(order) - 1)
    chosen = set(order[:count])
    training = Plan(plan.partial, {n: p for n, p in plan.pictures.items() if n not in chosen}, plan.left_out)
    training.changed, training.problems, training.inputs = plan.changed, plan.problems, plan.inputs
    held_out = Plan(plan.partial, {n: p for n, p in plan.pictures.items() if n in chosen}, inputs=plan.inputs)
    return training, held_out
