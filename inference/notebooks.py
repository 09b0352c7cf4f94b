"""An answer as notebooks show it: drawn, and in words below."""

import io
from base64 import b64encode
from collections.abc import Mapping
from html import escape
from typing import Any

from PIL import Image

from ..data.pictures import open_picture
from ..utils.drawing import draw_person
from ..utils.errors import DataError

LONGEST_PX = 640
PAPER = "#f4f4f2"  # where there is no picture


def figure(picture: str | None, person: Mapping[str, Any], *, size_wh: tuple[int, int], line: str) -> str:
    """HTML of the picture with a person drawn on it, and a line of words.

    picture: a file, or None for paper. person: what `draw_person` draws, in px of a picture of `size_wh`.
    """
    scale = LONGEST_PX / max(size_wh)
    small = (max(1, round(size_wh[0] * scale)), max(1, round(size_wh[1] * scale)))
    opened = _opened(picture, size_wh)
    image = Image.new("RGB", small, PAPER) if opened is None else opened.resize(small, Image.Resampling.LANCZOS)
    data = io.BytesIO()
    draw_person(image, **person, scale=scale).save(data, "JPEG", quality=88)
    source, words = f"data:image/jpeg;base64,{b64encode(data.getvalue()).decode()}", escape(line)
    return f'<figure style="margin:0"><img src="{source}" alt="{words}"><figcaption>{words}</figcaption></figure>'


def _opened(picture: str | None, size_wh: tuple[int, int]) -> Image.Image | None:
    """None if it is no file, or not the one of this size any more."""
    try:
        image = None if picture is None else open_picture(picture)
    except DataError:  # moved or deleted since: the answer is still shown
        return None
    return image if image is not None and image.size == size_wh else None
