"""Pictures and label maps of a row: base64 or files below an annotation root, or a clear error (docs/data.md)."""

import base64
import binascii
import io
import os
import struct
import warnings
import zlib
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..utils.errors import DataError
from ..utils.parsing import NUM_CLASSES
from .columns import shorten

FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
URL_SAFE_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
# What Pillow's readers are known to raise on broken files; none of them says which file it was.
PILLOW_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    EOFError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


@cache
def picture_formats() -> tuple[str, ...]:
    """Pillow's readers that pictures are opened with; others run programs (EPS: Ghostscript), or read what is none."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def path_below(root: str | Path | None, text: str, *, where: str, column: str) -> Path:
    """File that a cell names relative to `root`; a DataError if it leads out of there."""
    if root is None:
        raise DataError(f"{where}: column {column}: names a file, {shorten(text)}, but no annotation root was given")
    folder = os.path.normpath(root)
    path = Path(os.path.normpath(os.path.join(folder, text)))  # not resolved: datasets are full of links
    if "\0" in text or not path.is_relative_to(folder):
        raise DataError(f"{where}: column {column}: {shorten(text)} leads out of {folder}")
    return path


def decode_base64(text: str, *, where: str, column: str) -> bytes:
    """Bytes of base64 in the standard or the URL-safe alphabet, padded or not."""
    try:
        data = text.strip().encode("ascii").rstrip(b"=")
        if b"-" in data or b"_" in data:
            data = data.translate(URL_SAFE_TO_STANDARD)
        return base64.b64decode(data + b"=" * (-len(data) % 4), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise DataError(f"{where}: column {column}: needs base64 or a path, got {shorten(text)} ({error})") from error


def read_image(text: str, *, root: str | Path | None = None, where: str, column: str = "image") -> Image.Image:
    """RGB picture of a cell: base64, or a path below `root`. All of it, or a DataError (docs/deviations.md, 7).

    A path has a suffix, and no alphabet of base64 has a dot: the cell itself tells which it is.
    The same picture comes back as the same object while it is asked for again and again: do not draw on it.
    """
    path = path_below(root, text, where=where, column=column) if "." in text else None
    data = decode_base64(text, where=where, column=column) if path is None else None
    try:
        return _decode(path.read_bytes() if data is None else data)
    except PILLOW_ERRORS as error:
        of_file = "" if path is None else f" {path}"
        reason = why_unreadable(error)
        raise DataError(f"{where}: column {column}: picture{of_file} can not be read ({reason})") from error


def why_unreadable(error: Exception) -> str:
    """What one of `PILLOW_ERRORS` says, in brackets behind our own words."""
    if isinstance(error, UnidentifiedImageError):  # its text is the address of an object
        return "it has no known format"
    return f"{type(error).__name__}: {error}"


@lru_cache(maxsize=8)  # a few: rows about one picture are neighbours
def _decode(data: bytes) -> Image.Image:
    # Pillow's other warnings are about metadata: corrupt EXIF does not spoil the pixels.
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(io.BytesIO(data), formats=picture_formats()) as image:
            image.load()
            return image if image.mode == "RGB" else image.convert("RGB")


def read_label_map(
    text: str, size_wh: tuple[int, int], *, root: str | Path, where: str, column: str = "mask"
) -> np.ndarray:
    """Label map (`.npy` below `root`) of a picture of `size_wh` px, integers [h, w] in 0..19, or a DataError."""
    path = path_below(root, text, where=where, column=column)
    try:
        label_map = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, MemoryError, zlib.error) as error:
        raise DataError(f"{where}: column {column}: {path} can not be read ({error})") from error
    place = f"{where}: column {column}: {path}"
    if not isinstance(label_map, np.ndarray) or label_map.ndim != 2 or label_map.dtype.kind not in "iu":
        got = f"{label_map.dtype} {label_map.shape}" if isinstance(label_map, np.ndarray) else "an archive"
        raise DataError(f"{place}: needs a 2-D array of integers, got {got}")
    if label_map.shape != size_wh[::-1]:
        height, width = label_map.shape
        raise DataError(f"{place}: is {width} x {height}, its picture {size_wh[0]} x {size_wh[1]} px")
    if label_map.min() < 0 or label_map.max() >= NUM_CLASSES:
        got = f"{label_map.min()}..{label_map.max()}"
        raise DataError(f"{place}: needs classes 0..{NUM_CLASSES - 1}, got {got}")
    return label_map
