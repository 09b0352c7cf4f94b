"""Pictures that users give: files, bytes, Pillow pictures and arrays, upright and in RGB, or a clear error."""

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ..utils.errors import DataError
from .images import PILLOW_ERRORS, picture_formats, why_unreadable

PictureSource = str | os.PathLike | bytes | Image.Image | np.ndarray

MAX_BYTES = 64 * 2**20  # of a file
MAX_PIXELS = 80_000_000  # below the number from which Pillow warns of decompression bombs
MAX_SIDE = 65_535  # px, JPEG's own limit; a thin picture of all pixels would grow when its width is resized


def open_picture(source: PictureSource, *, where: str = "image") -> Image.Image:
    """An RGB picture as a viewer shows it: turned by its EXIF orientation, on white, the first frame of an animation.

    source: path, encoded bytes, Pillow picture, or array, uint8 [H, W, 3] in RGB.
    Raises DataError, naming `where`, for what is none of these, can not be read to its end, or holds more than
    `MAX_BYTES`, `MAX_PIXELS` or `MAX_SIDE`.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, where)
    if isinstance(source, Image.Image):
        return _upright(source, where)
    if isinstance(source, bytes | bytearray | memoryview):
        return _from_bytes(bytes(source), where)
    if not isinstance(source, str | os.PathLike):
        raise DataError(
            f"{where}: needs a path, bytes, a Pillow picture or an array uint8 [H, W, 3], got {type(source).__name__}"
        )
    where = f"{where}: {Path(source)}"
    return _from_bytes(_read_file(Path(source), where), where)


def _read_file(path: Path, where: str) -> bytes:
    try:
        with path.open("rb") as file:  # not `stat`: a pipe or a device has no size
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise DataError(f"{where}: can not be read ({getattr(error, 'strerror', None) or error})") from error
    return data


def _from_bytes(data: bytes, where: str) -> Image.Image:
    if len(data) > MAX_BYTES:
        raise DataError(f"{where}: holds more than {MAX_BYTES} bytes")
    try:
        image = Image.open(io.BytesIO(data), formats=picture_formats())
    except PILLOW_ERRORS as error:
        raise _unreadable(error, where) from error
    with image:
        return _upright(image, where)


def _from_array(array: np.ndarray, where: str) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise DataError(f"{where}: needs an array uint8 [H, W, 3], got {array.dtype} {list(array.shape)}")
    _check_size((array.shape[1], array.shape[0]), where)
    return Image.fromarray(np.ascontiguousarray(array))


def _upright(image: Image.Image, where: str) -> Image.Image:
    _check_size(image.size, where)
    try:
        image.load()
        image = _turned(image)
        least, most = image.getextrema() if image.mode in ("F", "I") else (0, 0)
        if image.mode.startswith("I;16") or (least >= 0 and 255 < most < 2**16):  # Pillow would cut 16 bits at 255
            return Image.fromarray((np.asarray(image).astype(np.int32) >> 8).astype(np.uint8)).convert("RGB")
        if image.mode != "F" and least >= 0 and most < 2**16:
            return _opaque(image)
    except PILLOW_ERRORS as error:
        raise _unreadable(error, where) from error
    raise DataError(f"{where}: its pixels are {least:g} to {most:g} (mode {image.mode}), not of 8 or 16 bits")


def _turned(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except PILLOW_ERRORS:  # corrupt EXIF does not spoil the pixels
        return image


def _opaque(image: Image.Image) -> Image.Image:
    """In RGB, on white where it is transparent: the colours there are often black."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    ground = Image.new("RGBA", image.size, "white")
    ground.alpha_composite(image.convert("RGBA"))
    return ground.convert("RGB")


def _check_size(size_wh: tuple[int, int], where: str) -> None:
    width, height = size_wh
    if not (0 < width * height <= MAX_PIXELS and max(width, height) <= MAX_SIDE):
        limits = f"1 to {MAX_PIXELS} pixels, and sides of at most {MAX_SIDE}"
        raise DataError(f"{where}: is {width} x {height} px, needs {limits}")


def _unreadable(error: Exception, where: str) -> DataError:
    return DataError(f"{where}: is no picture that can be read ({why_unreadable(error)})")
