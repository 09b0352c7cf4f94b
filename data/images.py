"""Pictures and label maps of a row: base64 or files below an annotation root, or a clear error (docs/data.md)."""

import base64
import binascii
import io
import os
import warnings
import zlib
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..utils.errors import DataError
from ..utils.parsing import NUM_CLASSES
from .columns import shorten
from .pictures import picture_formats, reading

URL_SAFE_TO_STANDARD = bytes.maketrans(b"-_", b"+/")


def path_below(root: str | Path | None, text: str, *, where: str, column: str) -> Path:
    """The file that a cell names relative to `root`; a DataError if it lies outside."""
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


class Picture(NamedTuple):
    """An RGB picture. key: digest of the file, by which `collate` finds the rows that share a picture."""

    image: Image.Image
    key: bytes


def read_picture(text: str, *, root: str | Path | None = None, where: str, column: str = "image") -> Picture:
    """The whole picture of a cell, base64 or a path below `root`, or a DataError (docs/deviations.md, 7).

    A cell with a dot is a path: a path has a suffix, and base64 has no dots.
    Neighbouring rows about one picture get the same object: do not draw on it.
    """
    place = f"{where}: column {column}"
    if "." in text:
        path = path_below(root, text, where=where, column=column)
        place = f"{place}: {path}"
        with reading(place):
            data = path.read_bytes()
    else:
        data = decode_base64(text, where=where, column=column)
    with reading(place):
        return _decode(data)


@lru_cache(maxsize=8)  # a few are enough: rows about one picture are neighbours
def _decode(data: bytes) -> Picture:
    # Pillow's other warnings are about metadata: the pixels are fine even where the EXIF data is corrupt.
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(io.BytesIO(data), formats=picture_formats()) as image:
            image.load()
            rgb = image if image.mode == "RGB" else image.convert("RGB")
    return Picture(rgb, blake2b(data, digest_size=16).digest())


def read_label_map(
    text: str, size_wh: tuple[int, int], *, root: str | Path, where: str, column: str = "mask"
) -> np.ndarray:
    """Label map (`.npy` below `root`) of a picture of `size_wh` px, integers [h, w] in 0..19, or a DataError."""
    path = path_below(root, text, where=where, column=column)
    place = f"{where}: column {column}: {path}"
    try:
        label_map = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, MemoryError, zlib.error) as error:
        raise DataError(f"{place}: cannot be read ({error})") from error
    if not isinstance(label_map, np.ndarray) or label_map.ndim != 2 or label_map.dtype.kind not in "iu":
        got = f"{label_map.dtype} {label_map.shape}" if isinstance(label_map, np.ndarray) else "an archive"
        raise DataError(f"{place}: needs a 2-D array of integers, got {got}")
    if label_map.shape != size_wh[::-1]:
        height, width = label_map.shape
        raise DataError(f"{place}: is {width} x {height}, its picture {size_wh[0]} x {size_wh[1]} px")
    if label_map.min() < 0 or label_map.max() >= NUM_CLASSES:
        raise DataError(f"{place}: needs classes 0..{NUM_CLASSES - 1}, got {label_map.min()}..{label_map.max()}")
    return label_map
