"""One person in one answer: further tasks asked by the box, joined, and asked again where they mean somebody else."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from ..tasks.base import Task
from ..utils.boxes import iou
from .answers import Answer, Confidence, Field, NoKeypoints
from .engine import Engine, Row

T = TypeVar("T")

SAME_PERSON = 0.5  # IoU of two answered boxes


def with_task(
    engine: Engine, task: Task, rows: Sequence[Row], people: Sequence[Answer], *, by_box_task: Task, size: int
) -> list[Answer]:
    """People with what a task answers to the same rows; where that is about somebody else, it is asked by the box.

    by_box_task: what is asked then; size: how many are asked together.
    """
    others = engine.answer(task, rows)
    joined = [join(one, other, part=task.part) for one, other in zip(people, others, strict=True)]
    again = [k for k, two in enumerate(zip(people, others, strict=True)) if apart(*two) is not None]
    chosen = [rows[k] for k in again], [people[k] for k in again]
    for k, one in zip(again, by_box(engine, by_box_task, *chosen, size=size), strict=True):
        joined[k] = one
    return joined


def by_box(engine: Engine, task: Task, rows: Sequence[Row], people: Sequence[Answer], *, size: int) -> list[Answer]:
    """People with what a task answers about each one's box; those without a box stay as they are.

    rows: one for each of them; size: how many are asked together.
    """
    answers = list(people)
    boxed = [k for k, one in enumerate(people) if one.box_xyxy is not None]
    for start in range(0, len(boxed), size):
        places = boxed[start : start + size]
        questions = [replace(rows[k].question, text="", box_xyxy=people[k].box_xyxy) for k in places]
        asked = [replace(rows[k], question=question) for k, question in zip(places, questions, strict=True)]
        for k, new in zip(places, engine.answer(task, asked), strict=True):
            answers[k] = join(people[k], _of_box(new, people[k].confidence.box), part=task.part)
    return answers


def _of_box(answer: Answer, box: float | None) -> Answer:
    """An answer about a given box: its points and parts are right if that box is, too. box: that one's confidence."""

    def times(field: Field, _: str, own: float) -> float:
        return own * box if box is not None and field in ("keypoints", "parts") else own

    return replace(answer, confidence=answer.confidence.adjusted(times))


def sure_enough(answer: Answer, least: float) -> Answer:
    """The answer, or, if its box's confidence is below `least`, nothing of it but its symbols and why."""
    sure = answer.confidence.box or 0.0
    if answer.box_xyxy is None or sure >= least:
        return answer
    note = f"nobody is sure enough: the box's confidence is {sure:.2f}, below {least:g}"
    return Answer(
        answer.size_wh,
        False,
        answer.symbols,
        answer.text,
        confidence=Confidence(box=sure),
        notes=(note, *answer.notes),
        found=answer.found,
    )


def with_file(found: T, file: str | None) -> T:
    """An answer, or a list of them, that names the picture's file."""
    if file is None:
        return found
    if isinstance(found, Answer):
        return replace(found, picture=file)
    return type(found)(with_file(one, file) for one in found) if isinstance(found, list) else found


def apart(first: Answer, second: Answer) -> float | None:
    """The IoU of two answers' boxes where it says that they are about two people; else None."""
    if first.box_xyxy is None or second.box_xyxy is None:
        return None
    overlap = float(iou(first.box_xyxy[None], second.box_xyxy[None])[0])
    return overlap if overlap < SAME_PERSON else None


def join(first: Answer, second: Answer, *, part: str) -> Answer:
    """`merge` for one person: of an answer about another one nothing is kept but a note, and the symbols.

    part: what the second was asked for, for the note.
    """
    overlap = apart(first, second)
    if overlap is None:
        return merge(first, second)
    note = f"{part}: left out, because it is another person's (IoU of the boxes {overlap:.2f})"
    return merge(first, Answer(second.size_wh, False, second.symbols, second.text, notes=(*second.notes, note)))


def merge(first: Answer, second: Answer) -> Answer:
    """Two answers about one person: what the first lacks comes from the second."""
    names = ("box_xyxy", "keypoints", "label_map", "caption")
    values = {name: getattr(second, name) for name in names if isinstance(getattr(first, name), NoKeypoints | None)}
    confidence = {name: value for name, value in vars(first.confidence).items() if value is not None}
    return replace(
        first,
        **values,
        confidence=replace(second.confidence, **confidence),
        valid=first.valid and second.valid,
        symbols=first.symbols + second.symbols,
        text=f"{first.text} {second.text}",
        notes=first.notes + second.notes,
    )
