"""Pictures and label maps of a row: base64 or files below an annotation root, or a clear error (docs/data.md)."""

import base64
import binascii
import os
import warnings
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from tokenize import TokenError
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..utils.errors import DataError
from ..utils.parsing import IGNORED, NUM_CLASSES
from .columns import shorten
from .pictures import PILLOW_ERRORS, decode, read_bytes, reading, upright_size

NUMPY, PNG = b"\x93NUMPY", b"\x89PNG\r\n\x1a\n"  # how the files of label maps begin
URL_SAFE_TO_STANDARD = bytes.maketrans(b"-_", b"+/")


class LabelMapSizeError(DataError):
    """A label map of another size than its picture."""


class LabelMapClassError(DataError):
    """A label map with labels that are no classes."""


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
    """An upright RGB picture. key: digest of the file, by which `collate` finds the rows that share a picture.

    turned: whether the picture's EXIF orientation has turned it.
    """

    image: Image.Image
    key: bytes
    turned: bool


def read_picture(text: str, *, root: str | Path | None = None, where: str, column: str = "image") -> Picture:
    """The whole picture of a cell, base64 or a path below `root`, or a DataError (docs/deviations.md, 7 and 25).

    A cell with a dot is a path: a path has a suffix, and base64 has no dots. The pixels are those of `open_picture`.
    Neighbouring rows about one picture get the same object: do not draw on it.
    """
    data, place = _picture_file(text, root=root, where=where, column=column)
    with reading(place):
        return _decode(data)


def read_size(text: str, *, root: str | Path | None = None, where: str, column: str = "image") -> tuple[int, int]:
    """Width and height of `read_picture`'s picture, without decoding it. The same errors, but for broken pixels."""
    data, place = _picture_file(text, root=root, where=where, column=column)
    with reading(place), warnings.catch_warnings(action="ignore", category=UserWarning):
        return upright_size(data)


def _picture_file(text: str, *, root: str | Path | None, where: str, column: str) -> tuple[bytes, str]:
    """The bytes of a cell's picture, and the place that an error about it names."""
    place = f"{where}: column {column}"
    if "." not in text:
        return decode_base64(text, where=where, column=column), place
    path = path_below(root, text, where=where, column=column)
    place = f"{place}: {path}"
    with reading(place):
        return read_bytes(path), place


@lru_cache(maxsize=8)  # a few are enough: rows about one picture are neighbours
def _decode(data: bytes) -> Picture:
    # Pillow's other warnings are about metadata: the pixels are fine even where the EXIF data is corrupt.
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        image, turned = decode(data)
    return Picture(image, blake2b(data, digest_size=16).digest(), turned)


def read_label_map(
    text: str, size_wh: tuple[int, int], *, root: str | Path, where: str, column: str = "mask"
) -> np.ndarray:
    """Label map of a picture of `size_wh` px, integers [h, w] in 0..19 or 255 (ignored), or a DataError.

    A file below `root`: `.npy`, or a PNG of mode L or P, whose grey levels or palette indices are the labels.
    """
    path = path_below(root, text, where=where, column=column)
    place = f"{where}: column {column}: {path}"
    try:
        label_map = _load_label_map(path, size_wh)
    except DataError as error:
        raise type(error)(f"{place}: {error}") from error
    except (*PILLOW_ERRORS, TokenError) as error:  # numpy's of a broken file are among them
        raise DataError(f"{place}: cannot be read ({error})") from error
    if label_map.ndim != 2 or label_map.dtype.kind not in "iu":
        raise DataError(f"{place}: needs a 2-D array of integers, got {label_map.dtype} {label_map.shape}")
    if label_map.shape != size_wh[::-1]:
        raise LabelMapSizeError(f"{place}: {_other_size(label_map.shape[::-1], size_wh)}")
    known = label_map[label_map != IGNORED]
    if known.size and (known.min() < 0 or known.max() >= NUM_CLASSES):
        expected = f"classes 0..{NUM_CLASSES - 1}, or {IGNORED} (ignored)"
        raise LabelMapClassError(f"{place}: needs {expected}, got {known.min()}..{known.max()}")
    return label_map


def _load_label_map(path: Path, size_wh: tuple[int, int]) -> np.ndarray:
    """The array of a `.npy`, of any shape and type, or the labels of a PNG."""
    if path.exists() and not path.is_file():  # opening a pipe would wait for its other end
        raise DataError("is no regular file")
    with path.open("rb") as file:
        start = file.read(len(PNG) + 18)
        if start.startswith(NUMPY):
            stored = np.load(path, mmap_mode="r", allow_pickle=False)
            return np.array(stored) if stored.shape == size_wh[::-1] else stored  # another shape is not read
        if not start.startswith(PNG):
            raise DataError("needs a .npy file, or a PNG of mode L or P: it is neither")
        with Image.open(file, formats=("PNG",)) as image:
            # Pillow scales grey of 2 or 4 bits to 0..255, which would change the labels.
            if image.mode not in ("L", "P") or (image.mode == "L" and start[24] != 8):
                expected = "a .npy file, or a PNG of mode L with 8 bits or of mode P"
                raise DataError(f"needs {expected}, got a PNG of mode {image.mode} with {start[24]} bits")
            if image.size != size_wh:  # before its pixels are decoded
                raise LabelMapSizeError(_other_size(image.size, size_wh))
            return np.array(image)


def _other_size(size_wh: tuple[int, ...], picture_wh: tuple[int, int]) -> str:
    return f"is {size_wh[0]} x {size_wh[1]}, its picture {picture_wh[0]} x {picture_wh[1]} px"
