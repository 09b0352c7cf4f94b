"""What the user gave, as a browser or a program sends it, checked and put into Python's words."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gradio.utils import get_upload_folder
from PIL import Image

from ...data.columns import shorten
from ...data.pictures import MAX_BYTES, open_picture
from ...inference.questions import check_box, check_text
from ...models.generation import GenerationSettings
from ...utils.errors import UserError

# Largest values of the settings: what keeps one question from occupying the server.
LONGEST, WIDEST, HOTTEST = 500, 20, 5.0


@dataclass(frozen=True)
class Given:
    """A question. Fields that its kind does not ask for are as they are by default."""

    picture: Image.Image
    words: str = ""
    box: np.ndarray | None = None
    instruction: str = ""
    wanted: tuple[str, ...] = ()
    generation: GenerationSettings | None = None


def read_picture(path: Any) -> Image.Image:
    """The upright picture of an uploaded file."""
    if path is None:
        raise UserError("image: there is none yet; upload a picture, or click on an example")
    if not isinstance(path, str):
        raise UserError(f"image: needs an uploaded picture, got {shorten(str(path))}")
    try:
        inside = Path(path).resolve().is_relative_to(Path(get_upload_folder()).resolve())
        if not inside:  # a program could name any file of this machine
            raise UserError("image: needs an uploaded picture, got the name of another file")
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise UserError("image: the uploaded picture is not there any more; upload it again") from error
    return open_picture(data)


def read_text(name: str, text: Any) -> str:
    """One text: a list, which Python takes as many questions, is refused."""
    check_text(text, name)
    return text


def read_box(box: Any) -> np.ndarray:
    """One box, float32 [4] image px, of four numbers or a text such as "10, 20, 200, 400"."""
    if box is None or (isinstance(box, str) and not box.strip()):
        raise UserError("box: there is none yet; draw one on the picture, or type x0, y0, x1, y1")
    if isinstance(box, str):
        box = box.replace(",", " ").replace(";", " ").split()
    return check_box(box, "box")["box_xyxy"]


def read_generation(min_len: Any, max_len: Any, beam: Any, temperature: Any) -> GenerationSettings:
    """How to search, within what the server allows."""
    return GenerationSettings(
        min_len=_number("min_len", min_len, 0, LONGEST),
        max_len_b=_number("max_len", max_len, 1, LONGEST),
        beam=_number("beam", beam, 1, WIDEST),
        temperature=_number("temperature", temperature, 0.1, HOTTEST, whole=False),
    )


def _number(name: str, value: Any, low: float, high: float, *, whole: bool = True) -> Any:
    known = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    if isinstance(value, bool) or not known or not low <= value <= high or (whole and value != int(value)):
        kind = "a whole number" if whole else "a number"
        raise UserError(f"{name}: needs {kind} from {low:g} to {high:g}, got {shorten(str(value))}")
    return int(value) if whole else float(value)


def read_switch(name: str, value: Any) -> bool:
    """true or false; None is false."""
    if not isinstance(value, bool | None):
        raise UserError(f"{name}: needs true or false, got {shorten(str(value))}")
    return bool(value)
