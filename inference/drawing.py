"""Answers drawn on their pictures, alone or on a card with a legend and text."""

from collections.abc import Collection

import torch
from PIL import Image

from ..utils import drawing
from ..utils.errors import UserError
from .answers import Answer

DRAWN = ("box", "keypoints", "parsing")
CARD_PX = (640, 1280)  # limits of the longest side of a card's picture, so that the text below it is readable


def draw_answer(image: Image.Image, answer: Answer, *, parts: Collection[str] | None = None) -> Image.Image:
    """The picture with an answer's box, keypoints with their skeleton, and parts in the palette's colours.

    image: the upright picture (`refhcm.open_picture`), at any scale. parts: some of `DRAWN`; None: all.
    Raises UserError for an unknown part or a picture of another shape.
    """
    parts = DRAWN if parts is None else parts
    unknown = sorted(set(parts) - set(DRAWN))
    if unknown:
        raise UserError(f"parts: needs some of {', '.join(DRAWN)}, got {', '.join(unknown)}")
    scale = image.width / answer.size_wh[0]
    if abs(image.height - answer.size_wh[1] * scale) > 1:
        got, of = (f"{width} x {height}" for width, height in (image.size, answer.size_wh))
        raise UserError(f"image: is {got} px, the answer's picture {of}: open that one with refhcm.open_picture")
    return drawing.draw_person(
        image.convert("RGB"),
        box_xyxy=answer.box_xyxy if "box" in parts else None,
        keypoints=answer.keypoints.xy if answer.keypoints is not None and "keypoints" in parts else None,
        label_map=answer.label_map if "parsing" in parts else None,
        scale=scale,
    )


def answer_colours(answer: Answer) -> dict[str, drawing.Colour]:
    """Entries of the legend: sides of the body if there are keypoints, and the parts in the label map."""
    sides = {} if answer.keypoints is None else drawing.SIDES
    return sides | ({} if answer.label_map is None else drawing.part_colours([torch.from_numpy(answer.label_map)]))


def answer_card(image: Image.Image, answer: Answer, *, question: str = "") -> Image.Image:
    """The drawn picture with the legend above it and the question, caption, scores and notes below."""
    longest = max(image.size)
    width = max(1, round(image.width * min(max(longest, CARD_PX[0]), CARD_PX[1]) / longest))
    height = max(1, round(image.height * width / image.width))  # not by the scale: rounding changes a thin width a lot
    drawn = draw_answer(image.resize((width, height), Image.Resampling.LANCZOS), answer)
    scores = [f"{name} {score:.2f}" for name, score in vars(answer.scores).items() if score is not None]
    lines = [
        drawing.Line(question, drawing.INK),
        drawing.Line(answer.caption or "", drawing.PREDICTION),
        drawing.Line(" · ".join(scores), drawing.GREY),
        *(drawing.Line(note, drawing.PREDICTION) for note in answer.notes),
    ]
    tile = drawing.captioned(drawn, [line for line in lines if line.text], width=max(drawn.width, CARD_PX[0]))
    return drawing.contact_sheet([tile], 1, colours=answer_colours(answer))
