"""What users ask, checked: one picture or many, one question or many, expressions, and boxes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from ..data.cleaning import pre_caption
from ..data.columns import LARGEST_PX, shorten
from ..data.pictures import PictureSource
from ..utils.errors import UserError
from ..utils.words import has_word

MAX_CHARACTERS = 10_000  # of an expression or instruction; the prompt keeps `max_src_length` words of an expression


@dataclass(frozen=True)
class Question:
    """One question. picture: the number of its picture; where: "expression", or "expressions[3]" in a list."""

    picture: int
    where: str
    text: str = ""
    box_xyxy: np.ndarray | None = None  # float32 [4] image px


@dataclass(frozen=True)
class Questions:
    """The questions of one call and their pictures. names: what messages call each picture."""

    pictures: Sequence[PictureSource]
    names: Sequence[str]
    asked: Sequence[Question]

    def file(self, picture: int) -> str | None:
        """The file that a picture is, if it was given as one."""
        source = self.pictures[picture]
        return str(source) if isinstance(source, str | PathLike) else None


Check = Callable[[Any, str], dict[str, Any]]  # (what the user gave, where) -> fields of a Question


def pair(image: Any, question: Any, *, name: str, check: Check, many: bool) -> Questions:
    """One picture and one question, one picture and a list of questions, or two lists of equal length.

    many: whether `question` is a list. A picture that is given several times gets one number. Raises UserError.
    """
    plural = name + ("es" if name.endswith("x") else "s")
    items = list(question) if many else [question]
    wheres = [f"{plural}[{k}]" for k in range(len(items))] if many else [name]
    if not isinstance(image, list | tuple):
        pictures, names, numbers = [image], ["image"], [0] * len(items)
    elif many and len(image) == len(items):
        pictures, names = list(image), [f"images[{k}]" for k in range(len(image))]
        first: dict[Any, int] = {}
        # arrays and Pillow pictures are not compared by their pixels
        keys = [source if isinstance(source, str | bytes) else id(source) for source in image]
        numbers = [first.setdefault(key, k) for k, key in enumerate(keys)]
    else:
        got = f"{len(items)} {plural}" if many else f"one {name}"
        raise UserError(f"image: a list of pictures needs as many {plural}, got {len(image)} pictures and {got}")
    for source, called in zip(pictures, names, strict=True):
        if isinstance(source, str) and not source:
            raise UserError(f"{called}: is an empty path, needs the path of a picture")
    asked = [Question(k, where, **check(item, where)) for k, where, item in zip(numbers, wheres, items, strict=True)]
    return Questions(pictures, names, asked)


def is_list_of_boxes(boxes: Any) -> bool:
    """Whether boxes are given as a list or an array [N, 4], rather than one box's four numbers."""
    if isinstance(boxes, np.ndarray):
        return boxes.ndim != 1
    return isinstance(boxes, list | tuple) and all(isinstance(box, list | tuple | np.ndarray) for box in boxes)


def check_text(text: Any, where: str) -> dict[str, Any]:
    """A text that is not blank and has at most `MAX_CHARACTERS`. Raises UserError."""
    if not isinstance(text, str):
        raise UserError(f"{where}: needs text, got {type(text).__name__}")
    if len(text) > MAX_CHARACTERS:
        raise UserError(f"{where}: has {len(text)} characters, needs {MAX_CHARACTERS} or fewer")
    if not text.strip():
        raise UserError(f"{where}: is empty, needs some words")
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise UserError(f"{where}: is not valid Unicode (it has a lone surrogate), got {shorten(text)}")
    return {"text": text}


def check_expression(text: Any, where: str) -> dict[str, Any]:
    """A text of which the prompt keeps a letter or a digit. Raises UserError."""
    given = check_text(text, where)
    if not has_word(pre_caption(text)):
        raise UserError(f"{where}: needs some words, got {shorten(text)}")
    return given


def check_box(box: Any, where: str) -> dict[str, Any]:
    """Four finite numbers x0, y0, x1, y1 with x0 < x1 and y0 < y1 after rounding to float32. Raises UserError."""
    try:
        corners = np.asarray(box, np.float64)
    except (TypeError, ValueError, OverflowError):
        corners = np.empty(0)
    if corners.shape != (4,) or not (np.abs(corners) <= LARGEST_PX).all():  # the comparison is false for NaN
        raise UserError(f"{where}: needs 4 finite numbers x0, y0, x1, y1 in image px, got {shorten(str(box))}")
    corners = corners.astype(np.float32)
    if not (corners[:2] < corners[2:]).all():
        raise UserError(f"{where}: needs x0 < x1 and y0 < y1, got {_numbers(corners)}")
    return {"box_xyxy": corners}


def clip_to_picture(box_xyxy: np.ndarray, size_wh: tuple[int, int], *, where: str) -> np.ndarray:
    """The part of a box inside the picture, float32 [4]. Raises UserError if there is none."""
    clipped = np.clip(box_xyxy, 0, np.tile(np.asarray(size_wh, np.float32), 2))
    if not (clipped[:2] < clipped[2:]).all():
        picture = "{} x {} px".format(*size_wh)
        raise UserError(f"{where}: {_numbers(box_xyxy)} is wholly outside the picture of {picture}")
    return clipped


def _numbers(box_xyxy: np.ndarray) -> str:
    return ", ".join(f"{number:g}" for number in box_xyxy.tolist())


def check_probability(value: Any, where: str) -> float:
    """A number in 0..1. Raises UserError."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 <= float(value) <= 1:
        raise UserError(f"{where}: needs a number from 0 to 1, got {value!r}")
    return float(value)
