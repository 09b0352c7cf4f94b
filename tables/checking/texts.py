"""Faults of expressions and captions."""

import contextlib
import unicodedata
from collections.abc import Iterator

from ...data.columns import NO_EXPRESSION, shorten
from ...utils.captions import REFERENCE_SEPARATOR, clean
from .findings import Fault

NO_TEXT = {"none", "nan", "null"}  # what programs write for a missing value
_INVISIBLE = {"Cc", "Zl", "Zp"}  # Unicode's categories: control characters, separators of lines and paragraphs
_NO_WIDTH = "\ufeff\u200b"


def expression_faults(text: str, *, may_be_none: bool) -> Iterator[Fault]:
    """may_be_none: the task reads `None` as "the box is named instead"."""
    if not text.strip():
        yield "blank-text", shorten(text)
        return
    if text.strip().lower() in NO_TEXT and not (may_be_none and text == NO_EXPRESSION):
        yield "none-text", shorten(text)
    if REFERENCE_SEPARATOR in text:
        yield "separator-in-expression", shorten(text)
    yield from _letters(text)


def caption_faults(text: str) -> Iterator[Fault]:
    """Of one caption, or several with && between."""
    captions = text.split(REFERENCE_SEPARATOR)
    if not any(map(clean, captions)):
        yield "blank-text", shorten(text)
        return
    if not all(map(clean, captions)):
        yield "blank-caption", shorten(text)
    missing = next((caption for caption in captions if caption.strip().lower() in NO_TEXT), None)
    if missing is not None:
        yield "none-text", shorten(missing)
    yield from _letters(text)


def _letters(text: str) -> Iterator[Fault]:
    if text.isascii() and text.isprintable():
        return
    if any(unicodedata.category(letter) in _INVISIBLE or letter in _NO_WIDTH for letter in text):
        yield "control-characters", ascii(shorten(text))
    if "\ufffd" in text or _decoded_wrongly(text):
        yield "mojibake", shorten(text)


def _decoded_wrongly(text: str) -> bool:
    """Whether text beyond ASCII encodes, as Latin-1 or its Windows variant, to bytes that are UTF-8."""
    if text.isascii():
        return False
    for encoding in ("cp1252", "latin-1"):
        with contextlib.suppress(UnicodeError):
            text.encode(encoding).decode("utf-8")
            return True
    return False
