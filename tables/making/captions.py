"""Texts that a data set lacks: id<TAB>text, and the rows of RHrc that they make with boxes."""

from collections.abc import Iterator
from pathlib import Path

from ...data.columns import parse_box
from ...utils.errors import DataError, shown
from .plan import Draft, Plan
from .rules import FaultError, LeftOutError, captions_cell, text_cell

_ID_BOX_IMAGE = {6: (0, 2, 5), 3: (0, 1, 2)}  # columns of an RPar table, and of a plain one, by their number


def read_captions(path: Path) -> dict[str, list[str]]:
    """Texts by id, on one line each, in the file's order; an id may come several times. Empty ones are left out."""
    found: dict[str, list[str]] = {}
    for where, cells in _cells(path):
        if len(cells) != 2:
            raise DataError(f"{where}: expected id<TAB>text, got {len(cells)} columns: {shown(cells)}")
        try:
            found.setdefault(cells[0].strip(), []).append(text_cell(cells[1]))
        except LeftOutError:
            continue
    if not found:
        raise DataError(f"{path}: holds no texts")
    return found


def plan_captions(boxes: Path, captions: Path, *, partial: bool = False) -> Plan:
    """A row of RHrc for each row of `boxes` that has a caption; several captions of one id are joined by &&.

    boxes: an RPar table, or id<TAB>x0,y0,x1,y1<TAB>picture.
    """
    plan = Plan(partial=partial, inputs=[boxes, captions])
    texts, used = read_captions(captions), set()
    for where, cells in _cells(boxes):
        if len(cells) not in _ID_BOX_IMAGE:
            expected = "an RPar table of 6 columns, or id, box and picture"
            raise DataError(f"{where}: expected {expected}, got {len(cells)} columns: {shown(cells[:6])}")
        row_id, box, image = (cells[k] for k in _ID_BOX_IMAGE[len(cells)])
        used.add(row_id)
        if row_id not in texts:
            plan.left_out["no-caption"] += 1
            continue
        try:
            x0, y0, x1, y1 = (float(edge) for edge in box.split(","))
            parse_box(box, where)
        except ValueError as error:  # DataError is one, too
            plan.fault(FaultError("bad-box", f"{where}: expected a box x0,y0,x1,y1, got {shown(box)} ({error})"))
            continue
        try:
            cell = captions_cell(texts[row_id])
        except LeftOutError as reason:
            plan.left_out[str(reason)] += 1
            continue
        plan.add(image, None, Draft(row_id, image, cell, ((x0, y0, x1, y1),), where))
    plan.changed["unknown-caption"] = len(texts.keys() - used)
    return plan


def _cells(path: Path) -> Iterator[tuple[str, list[str]]]:
    """ "file:line" and the cells of each line that is not blank."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield f"{path}:{number}", line.rstrip("\r\n").split("\t")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 ({error})") from error
