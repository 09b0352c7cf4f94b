"""Checks what a browser or a program sent, and converts it to Python values."""

import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder
from PIL import Image

from ...data.columns import shorten
from ...data.pictures import MAX_BYTES, MAX_PIXELS, open_picture, reading, stored_pixels
from ...inference.questions import check_box, check_text
from ...models.generation_settings import GenerationSettings
from ...utils.errors import UserError
from ...utils.memory import return_freed_memory
from .turns import Turns

# Upper limits of the generation settings, so that one question cannot occupy the server.
LONGEST, WIDEST, HOTTEST = 500, 20, 5.0
# A pixel takes up to 16 bytes while a picture is opened and asked about.
TURNS = Turns(MAX_PIXELS + 20_000_000)
LARGE = 8_000_000  # px of a picture whose memory goes back to the system at once


@dataclass(frozen=True)
class Given:
    """A question. Fields that its way does not ask for keep their defaults."""

    picture: Image.Image
    expression: str = ""
    box: Sequence[float] = ()  # x0, y0, x1, y1 in image px
    instruction: str = ""
    wanted: Sequence[str] = ()  # some of `kinds.WANTED`
    everyone: bool = False  # all who fit, not the one who fits best
    parallel: bool = False  # parts by Query Parallel Generation
    generation: GenerationSettings | None = None


@contextmanager
def opened(path: Any) -> Iterator[Image.Image]:
    """The upright picture of an uploaded file, closed at the end. It may have to wait until others are closed."""
    data = _uploaded(path)
    with reading("image"):
        pixels = stored_pixels(data)
    with TURNS.of(pixels):
        picture = open_picture(data)
        del data
        try:
            _return_memory(pixels)  # of decoding
            yield picture
        finally:
            picture.close()
            _return_memory(pixels)


def _return_memory(pixels: int) -> None:
    if pixels > LARGE:
        return_freed_memory()


def _uploaded(path: Any) -> bytes:
    if path is None:
        raise UserError("image: no picture yet; upload one or click an example")
    if not isinstance(path, str):
        raise UserError(f"image: needs an uploaded picture, got {shorten(str(path))}")
    try:
        if not Path(path).resolve().is_relative_to(Path(get_upload_folder()).resolve()):
            # A program could name any file of this machine.
            raise UserError("image: needs an uploaded picture, got the path of another file")
        with open(path, "rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise UserError("image: the uploaded picture is gone; upload it again") from error


def read_text(name: str, text: Any) -> str:
    """One text. A list, which Python's methods take as several questions, is refused."""
    check_text(text, name)
    return text


def read_box(box: Any) -> list[float]:
    """x0, y0, x1, y1 in image px, from four numbers or a text such as "10, 20, 200, 400"."""
    if box is None or (isinstance(box, str) and not box.strip()):
        raise UserError("box: no box yet; draw one on the picture or type x0, y0, x1, y1")
    numbers = box.replace(",", " ").replace(";", " ").split() if isinstance(box, str) else ()
    if len(numbers) == 4:
        with suppress(ValueError):  # not numbers: the text is refused as it was typed
            box = [float(number) for number in numbers]
    return check_box(box, "box")["box_xyxy"].tolist()


def read_generation(min_len: Any, max_len: Any, beam: Any, temperature: Any) -> GenerationSettings:
    """The generation settings, within the server's limits."""
    shortest, longest = int(_number("min_len", min_len, 0, LONGEST)), int(_number("max_len", max_len, 1, LONGEST))
    if shortest > longest:
        raise UserError(f"min_len: the shortest answer, {shortest} symbols, is longer than the longest, {longest}")
    return GenerationSettings(
        min_len=shortest,
        max_len_b=longest,
        beam=int(_number("beam", beam, 1, WIDEST)),
        temperature=_number("temperature", temperature, 0.1, HOTTEST, whole=False),
    )


def _number(name: str, value: Any, low: float, high: float, *, whole: bool = True) -> float:
    known = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    if isinstance(value, bool) or not known or not low <= value <= high or (whole and value != int(value)):
        kind = "a whole number" if whole else "a number"
        raise UserError(f"{name}: needs {kind} from {low:g} to {high:g}, got {shorten(str(value))}")
    return float(value)


def read_choice(name: str, value: Any, known: Collection[str]) -> str:
    """One of the known names."""
    if not isinstance(value, str) or value not in known:
        raise UserError(f"{name}: needs one of {', '.join(known)}, got {shorten(str(value))}")
    return value


def read_wanted(wanted: Any, known: Collection[str], *, least: int = 1) -> list[str]:
    """Some of the known names, at least so many; None counts as none."""
    wanted = [] if wanted is None else wanted
    if not isinstance(wanted, list) or not all(isinstance(name, str) and name in known for name in wanted):
        raise UserError(f"what you want to know: needs some of {', '.join(known)}, got {shorten(str(wanted))}")
    if len(wanted) < least:
        raise UserError("Tick what you want to know.")
    return wanted


def read_confidence(name: str, value: Any) -> float:
    """A number from 0 to 1; None counts as 0."""
    return 0.0 if value is None else _number(name, value, 0, 1, whole=False)


def read_switch(name: str, value: Any) -> bool:
    """True or false; None counts as false."""
    if not isinstance(value, bool | None):
        raise UserError(f"{name}: needs true or false, got {shorten(str(value))}")
    return bool(value)
