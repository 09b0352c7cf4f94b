"""An answer as the page shows it: the picture to draw on, its legend, a table and a sentence."""

import html
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from ...inference.answers import Answer, Keypoints, NoKeypoints
from ...inference.drawing import CARD_PX, draw_answers, person_colour
from ...utils.drawing import PART_COLOURS, PREDICTION, SIDES, Colour
from ...utils.parsing import CLASS_NAMES, resize_label_map
from ..cli.ask.summary import DOUBTFUL, counted

BOX, KEYPOINTS = "box", f"keypoints ({', '.join(SIDES)})"

Row = tuple[str, str, float | None]  # what, value, confidence


@dataclass(frozen=True)
class Shown:
    """What it takes to show an answer again: a picture small enough to keep for each visitor, the people in its px."""

    picture: Image.Image
    people: tuple[Answer, ...]
    rows: tuple[Row, ...]  # of the table, in px of the visitor's picture


def prepare(picture: Image.Image, people: Sequence[Answer], *, asked_box: Sequence[float] = ()) -> Shown:
    """asked_box: x0, y0, x1, y1 in image px, if the question names a box; it is drawn, clipped to the picture."""
    longest = max(picture.size)
    scale = min(max(longest, CARD_PX[0]), CARD_PX[1]) / longest
    width, height = (max(1, round(side * scale)) for side in picture.size)
    small = picture.resize((width, height), Image.Resampling.LANCZOS)
    return Shown(small, tuple(_scaled(one, (width, height), asked_box) for one in people), tuple(_rows(people)))


def _scaled(answer: Answer, size_wh: tuple[int, int], asked_box: Sequence[float]) -> Answer:
    ratio = np.array([new / old for new, old in zip(size_wh, answer.size_wh, strict=True)], np.float32)
    box, points, labels = answer.box_xyxy, answer.keypoints, answer.label_map
    if box is None and asked_box:
        box = np.asarray(asked_box, np.float32)
    if labels is not None:
        labels = resize_label_map(labels, size_wh[::-1])
    return replace(
        answer,
        size_wh=size_wh,
        box_xyxy=None if box is None else box * np.tile(ratio, 2),
        keypoints=replace(points, xy=points.xy * ratio) if points else points,
        label_map=labels,
    )


def legend(shown: Shown, *, box: bool = True) -> list[dict[str, Any]]:
    """The value of `components.legend`: everything that can be drawn, switched on. box: whether boxes are, too."""
    people, several = shown.people, len(shown.people) > 1
    colours: dict[str, Sequence[Colour]] = {}
    if any(one.box_xyxy is not None for one in people):
        colours[BOX] = [person_colour(k) for k in range(len(people))] if several else [PREDICTION]
    if any(one.keypoints for one in people):
        colours[KEYPOINTS] = list(SIDES.values())
    shown_parts = {name for one in people for name in one.parts}
    colours |= {name: [colour] for name, colour in PART_COLOURS.items() if name in shown_parts}
    colours |= {_person(k): [person_colour(k)] for k in range(len(people)) if several}
    return [
        {"name": name, "colours": [f"rgb{colour}" for colour in several], "on": box or name != BOX}
        for name, several in colours.items()
    ]


def _person(k: int) -> str:
    return f"person {k + 1}"


def draw(shown: Shown, names: Collection[str] | None = None, *, least: float = 0.0) -> Image.Image:
    """The picture with the people on it, numbered if there are several.

    names: the entries of the legend to draw; None: all. least: the confidence below which nothing is drawn.
    """
    several = len(shown.people) > 1
    drawn = []
    for k, one in enumerate(shown.people):
        on = names is None or not several or _person(k) in names
        drawn.append(_left(one, names, least) if on else _left(one, (), least))
    return draw_answers(shown.picture, drawn, numbers=several)


def _left(person: Answer, names: Collection[str] | None, least: float) -> Answer:
    """A person with what is switched on and sure enough."""
    sure, points, labels = person.confidence, person.keypoints, person.label_map
    if not _enough(sure.box, least):
        names = ()
    if points and (names is None or KEYPOINTS in names):
        own = sure.keypoints or {}
        visible = points.visible & [_enough(own.get(name), least) for name in points.names]
        points = Keypoints(points.xy * visible[:, None], visible)
    else:
        points = NoKeypoints()
    if labels is not None:
        own = sure.parts or {}
        on = [name for name in person.parts if (names is None or name in names) and _enough(own.get(name), least)]
        labels = np.where(np.isin(labels, [CLASS_NAMES.index(name) for name in on]), labels, 0)
    box = person.box_xyxy if names is None or BOX in names else None
    return replace(person, box_xyxy=box, keypoints=points, label_map=labels)


def _enough(confidence: float | None, least: float) -> bool:
    return confidence is None or confidence >= least


def sentence(people: Sequence[Answer], *, expression: str = "", everyone: bool = False) -> str:
    """HTML: the captions, what was found, and what is wrong with an answer. everyone: asked for all who fit."""
    if not people:
        return (
            f"<p><strong>Nobody in this picture fits “{html.escape(expression)}”.</strong></p>"
            "<p>Try other words, or untick “Everyone who fits” to see the closest match.</p>"
        )
    lines = []
    if everyone:
        count = sum(one.box_xyxy is not None for one in people)
        lines += [f"<p><strong>{count} people fit.</strong></p>"] * (count > 1)
        lines += ["<p><strong>One person fits.</strong></p>"] * (count == 1)
    elif people[0].found is not None and people[0].found < DOUBTFUL:
        lines.append(
            f"<p><strong>Probably nobody here fits “{html.escape(expression)}”</strong> "
            f"({_percent(people[0].found)} sure that someone does). This is the closest match.</p>"
        )
    for number, one in enumerate(people, 1):
        lines += _of_person(one, f"{number}: " if len(people) > 1 else "")
    return "".join(lines)


def _of_person(answer: Answer, number: str) -> list[str]:
    lines, found = [], []
    if answer.caption is not None:
        lines.append(f"<blockquote>{number}{html.escape(answer.caption)}</blockquote>")
    if answer.box_xyxy is not None:
        own = answer.confidence.box
        found.append("a box" if own is None else f"a box ({_percent(own)} sure)")
    if answer.keypoints:
        found.append(counted(int(answer.keypoints.visible.sum()), "keypoint"))
    if answer.label_map is not None:
        found.append(counted(len(answer.parts), "part"))
    if found:
        lines.append(f"<p>{number or 'Found: '}{', '.join(found)}.</p>")
    if not answer.valid:
        lines.append(problem(f"{number}Part of the answer could not be read, or is about somebody else."))
    return lines + [f"<p>{number}{html.escape(note)}</p>" for note in answer.notes]


def problem(message: str) -> str:
    """HTML: what went wrong."""
    return f'<p class="problem">{html.escape(message)}</p>'


def described(people: Sequence[Answer]) -> str:
    """The drawing in words, for those who cannot see it."""
    if not people:
        return "The picture, with nothing drawn on it"
    captions = [one.caption for one in people if one.caption]
    who = "a person" if len(people) == 1 else f"{len(people)} people with numbers"
    return f"The picture with {who} marked" + (f": {'; '.join(captions)}" if captions else "")


def table(rows: Iterable[Row], *, least: float = 0.0) -> list[list[str]]:
    """Rows of what, value and confidence, without those that are less sure than `least`."""
    return [
        [what, value, "" if own is None else f"{own:.2f}"] for what, value, own in rows if own is None or own >= least
    ]


def _rows(people: Sequence[Answer]) -> Iterable[Row]:
    for number, one in enumerate(people, 1):
        for what, value, own in _person_rows(one):
            yield (f"{number} · {what}" if len(people) > 1 else what), value, own


def _person_rows(answer: Answer) -> Iterable[Row]:
    """A caption has the mean of its words' confidences."""
    sure = answer.confidence
    if answer.found is not None:
        yield "somebody fits", "", answer.found
    if answer.caption is not None:
        yield "caption", answer.caption, sure.mean("caption")
    if answer.box_xyxy is not None:
        yield "box (x0, y0, x1, y1)", _numbers(answer.box_xyxy), sure.box
    for name, point in answer.keypoints or ():
        if point is not None:
            yield name.replace("_", " "), _numbers(point), (sure.keypoints or {}).get(name)
    for name, mask in answer.parts.items():
        yield name, f"{int(mask.sum())} px", (sure.parts or {}).get(name)


def _percent(confidence: float) -> str:
    return f"{100 * confidence:.0f} %"


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in values)
