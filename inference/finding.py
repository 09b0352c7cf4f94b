"""Everyone whom an expression fits, from left to right, and how probable it is that there is anyone."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

from ..data.annotation import LOWEST_SCORE, given
from ..models.generated import Generated
from ..tasks.base import Task
from ..utils.boxes import iou
from ..utils.symbols import BOX_SYMBOLS
from .answers import Answer, Confidence
from .confidence import Reader, somebody
from .engine import Engine, Row
from .parts import Parts
from .reading import read_box

DOUBLED = 0.9  # IoU of two boxes of one answer from which on they are the same person, written twice


def everyone(engine: Engine, task: Task, rows: Sequence[Row], *, min_confidence: float = 0.0) -> list[list[Answer]]:
    """The people of each row, from left to right, with box, confidence and `found`. task: grec.

    If some of an answer cannot be read, its people are not valid and their notes say why; where no box is left, one
    answer without a box says it: no people at all means that nobody fits. min_confidence: of the boxes that are kept.
    """
    written = engine.generate(task, rows, task.asking_settings())
    people = [_people(engine, task, row, one) for row, one in zip(rows, written, strict=True)]
    return [[one for one in each if one.box_xyxy is None or _sure(one) >= min_confidence] for each in people]


def _sure(person: Answer) -> float:
    return person.confidence.box or 0.0


def _people(engine: Engine, task: Task, row: Row, generated: Generated) -> list[Answer]:
    size_wh, vocabulary = row.context.size_wh, task.vocabulary
    symbols = list(takewhile(lambda symbol: symbol != vocabulary.eos(), generated.ids.tolist()))
    bins = len(list(takewhile(lambda symbol: symbol in vocabulary.bin_ids, symbols)))
    whole = bins // BOX_SYMBOLS * BOX_SYMBOLS
    reader, found = Reader(task, generated, Parts()), _found(engine, task, generated)
    people, problems = [], []
    for first in range(0, whole, BOX_SYMBOLS):
        ids = generated.ids[first : first + BOX_SYMBOLS]
        corners = given(task.parse_box(ids))  # whole boxes hold nothing but bins
        box, problem = read_box(task.in_image(corners, row.context.ratios), size_wh)
        if problem:
            problems.append(f"box {first // BOX_SYMBOLS + 1}: {problem}")
            continue
        sure = engine.calibration.adjusted(task.name, Confidence(box=reader.box(first)))
        people.append(_answer(task, ids.tolist(), size_wh, box_xyxy=box, confidence=sure, found=found))
    if len(symbols) > whole:
        problems.append(f"{len(symbols) - whole} symbols belong to no box, first {vocabulary[symbols[whole]]}")
    if generated.score <= LOWEST_SCORE:
        problems.append("box: the network found no answer")
    if problems and not people:
        people = [_answer(task, symbols, size_wh, found=found)]
    people = [replace(one, valid=not problems, notes=(*one.notes, *problems)) for one in _once(people)]
    return sorted(people, key=lambda one: [] if one.box_xyxy is None else one.box_xyxy.tolist())


def _answer(task: Task, ids: list[int], size_wh: tuple[int, int], **fields: Any) -> Answer:
    symbols = tuple(task.vocabulary[symbol] for symbol in ids)
    return Answer(size_wh, True, symbols, task.text.transcribe(ids), **fields)


def _once(people: Sequence[Answer]) -> list[Answer]:
    """Of boxes that are the same person's, the one that is surest, with a note."""
    kept: list[Answer] = []
    for one in sorted(people, key=_sure, reverse=True):
        twin = next((k for k, other in enumerate(kept) if _overlap(one, other) >= DOUBLED), None)
        if twin is None:
            kept.append(one)
        else:
            kept[twin] = replace(kept[twin], notes=(*kept[twin].notes, "box: was written twice, and counts once"))
    return kept


def _overlap(one: Answer, other: Answer) -> float:
    if one.box_xyxy is None or other.box_xyxy is None:
        return 0.0
    return float(iou(one.box_xyxy[None], other.box_xyxy[None])[0])


def probabilities(engine: Engine, task: Task, rows: Sequence[Row]) -> list[float | None]:
    """How probable it is that somebody in each row's picture fits its expression: one step of `task`, grec."""
    settings = replace(task.asking_settings(), beam=1, min_len=0, max_len_a=0, max_len_b=0)
    return [_found(engine, task, one) for one in engine.generate(task, rows, settings)]


def _found(engine: Engine, task: Task, generated: Generated) -> float | None:
    """`somebody`, calibrated."""
    raw = somebody(generated)
    return None if raw is None else engine.calibration.probability(task.name, "found", "", raw)
