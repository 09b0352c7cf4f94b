"""Answers drawn on their pictures, alone or on a card with a legend and text."""

from collections.abc import Collection, Sequence

from PIL import Image

from ..data.pictures import PictureSource, open_picture
from ..utils import drawing
from ..utils.errors import UserError
from .answers import FIELDS, Answer

DRAWN = ("box", "keypoints", "parsing")
CARD_PX = (640, 1280)  # limits of the longest side of a card's picture, so that the text below it is readable


def draw_answer(image: PictureSource, answer: Answer, *, parts: Collection[str] | None = None) -> Image.Image:
    """The picture with an answer's box, keypoints with their skeleton, and parts with their outlines.

    image: what was asked about, at any scale. parts: some of `DRAWN`; None: all.
    Raises UserError for an unknown part, and for a picture that cannot be read or has another shape.
    """
    return draw_answers(image, [answer], parts=parts, numbers=False)


def draw_answers(
    image: PictureSource, answers: Sequence[Answer], *, parts: Collection[str] | None = None, numbers: bool = True
) -> Image.Image:
    """`draw_answer` for several people in one picture, each in a colour of its own, and with its number from 1 on.

    numbers: False leaves them out, and all boxes have one colour.
    """
    parts = DRAWN if parts is None else parts
    unknown = sorted(set(parts) - set(DRAWN))
    if unknown:
        raise UserError(f"parts: needs some of {', '.join(DRAWN)}, got {', '.join(unknown)}")
    image = open_picture(image)
    drawn = image
    colours = [person_colour(k) if numbers else drawing.PREDICTION for k in range(len(answers))]
    for answer, colour in zip(answers, colours, strict=True):
        drawn = drawing.draw_person(
            drawn,
            box_xyxy=answer.box_xyxy if "box" in parts else None,
            keypoints=answer.keypoints.xy if answer.keypoints and "keypoints" in parts else None,
            label_map=answer.label_map if "parsing" in parts else None,
            scale=_scale(image, answer),
            colour=colour,
        )
    for k, answer in enumerate(answers):  # last, so that nobody covers a number
        if numbers and answer.box_xyxy is not None:
            corner = answer.box_xyxy * _scale(image, answer)
            drawn = drawing.draw_number(drawn, k + 1, corner, colour=colours[k])
    return drawn


def person_colour(k: int) -> drawing.Colour:
    """Of the box and the number of the person at place `k` of a list."""
    return drawing.PEOPLE[k % len(drawing.PEOPLE)]


def _scale(image: Image.Image, answer: Answer) -> float:
    scale = image.width / answer.size_wh[0]
    if abs(image.height - answer.size_wh[1] * scale) > 1:
        got, of = (f"{width} x {height}" for width, height in (image.size, answer.size_wh))
        raise UserError(f"image: is {got} px, the answer's picture {of}")
    return scale


def answer_colours(answer: Answer) -> dict[str, drawing.Colour]:
    """Entries of the legend: sides of the body if there are keypoints, and the parts in the label map."""
    sides = drawing.SIDES if answer.keypoints else {}
    return sides | ({} if answer.label_map is None else drawing.part_colours([answer.label_map]))


def answer_card(image: Image.Image, answer: Answer, *, question: str = "") -> Image.Image:
    """The drawn picture with the legend above it and the question, caption, confidences and notes below."""
    longest = max(image.size)
    width = max(1, round(image.width * min(max(longest, CARD_PX[0]), CARD_PX[1]) / longest))
    height = max(1, round(image.height * width / image.width))  # not by the scale: rounding changes a thin width a lot
    drawn = draw_answer(image.resize((width, height), Image.Resampling.LANCZOS), answer)
    means = {field: answer.confidence.mean(field) for field in FIELDS}
    sure = [f"{field} {mean:.2f}" for field, mean in means.items() if mean is not None]
    lines = [
        drawing.Line(question, drawing.INK),
        drawing.Line(answer.caption or "", drawing.PREDICTION),
        drawing.Line(" · ".join(sure), drawing.GREY),
        *(drawing.Line(note, drawing.PREDICTION) for note in answer.notes),
    ]
    tile = drawing.captioned(drawn, [line for line in lines if line.text], width=max(drawn.width, CARD_PX[0]))
    return drawing.contact_sheet([tile], 1, colours=answer_colours(answer))
