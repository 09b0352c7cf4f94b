"""The one reader of pictures, for tables and for asking: upright and in RGB, or a clear error.

Files, bytes, Pillow pictures and arrays give the same pixels (docs/data.md, "Pictures").
"""

import contextlib
import io
import os
import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from ..utils.errors import DataError
from .archives import archive_of, read_member

PictureSource = str | os.PathLike[str] | bytes | Image.Image | np.ndarray

MAX_BYTES = 64 * 2**20  # of a file
MAX_PIXELS = 80_000_000  # below the number from which Pillow warns of decompression bombs
ADDRESSES = ("http://", "https://")
NO_ADDRESS = "is an address; download the picture, and give its file"
STRIP_PIXELS = 2**20  # of a transparent picture, put on white at once
MAX_SIDE = 65_535  # px, JPEG's own limit; resizing the width of a thinner picture would need too much memory

FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "HEIF")
HEIC_SUFFIXES = (".heic", ".heif", ".hif")  # HEIF needs the package pillow-heif
AVIF_SUFFIXES = (".avif",)  # Pillow 11.3 or later
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}  # ISO 23008-12; AVIF's brands are others
# What makes a picture upright, by EXIF orientation. (Pillow's exif_transpose also writes EXIF data anew, and can fail.)
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow's readers are known to raise on broken files; none of them names the file.
PILLOW_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
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
    """The formats that pictures are opened in. Pillow has more; some run programs (EPS: Ghostscript)."""
    Image.init()
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    return tuple(name for name in FORMATS if name in Image.OPEN)


class Decoded(NamedTuple):
    """An upright RGB picture. turned: whether its EXIF orientation has turned or mirrored the stored pixels."""

    image: Image.Image
    turned: bool


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Errors about a picture, Pillow's and ours, become a DataError that begins with `where`."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    except PILLOW_ERRORS as error:
        # Pillow's text for an unknown format is the address of an object.
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "unknown format" if unknown else f"{type(error).__name__}: {error}"
        raise DataError(f"{where}: cannot be read as a picture ({reason})") from error


def open_picture(source: PictureSource, *, where: str = "image") -> Image.Image:
    """An RGB picture as a viewer shows it: turned by its EXIF orientation, on white, the first frame of an animation.

    source: path, encoded bytes, Pillow picture, or array, uint8 [H, W, 3] in RGB.
    Raises DataError, naming `where`, for anything else, for a broken picture, and for one of more than `MAX_BYTES`,
    `MAX_PIXELS` or `MAX_SIDE`.
    """
    if isinstance(source, str) and source.startswith(ADDRESSES):
        raise DataError(f"{where}: {source}: {NO_ADDRESS}")
    if isinstance(source, str | os.PathLike):
        where = f"{where}: {Path(source)}"
    with reading(where):
        if isinstance(source, str | os.PathLike):
            source = read_bytes(Path(source))
        if isinstance(source, np.ndarray):
            return _from_array(source)
        if isinstance(source, Image.Image):
            return _upright(source).image
        return decode(source).image


def read_bytes(path: Path) -> bytes:
    """A picture's file, or a picture in an archive, ARCHIVE/NAME.

    Raises DataError, without its name, if it cannot be read, is too large or no regular file.
    """
    if (held := archive_of(path)) is not None:
        return read_member(*held, largest=MAX_BYTES)
    try:
        status = path.stat()
        regular = stat.S_ISREG(status.st_mode)  # opening a pipe would wait for its other end
        if regular and status.st_size <= MAX_BYTES:
            with path.open("rb") as file:
                return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise DataError(f"cannot be read ({getattr(error, 'strerror', None) or error})") from error
    raise DataError(_too_large() if regular else "cannot be read (it is no regular file)")


def decode(data: bytes | bytearray | memoryview) -> Decoded:
    """An encoded picture. Raises DataError or one of `PILLOW_ERRORS`, as `open_picture` says: use it in `reading`."""
    with _opened(data) as image:
        return _upright(image)


def stored_pixels(data: bytes) -> int:
    """Pixels of `decode(data)`, from the header alone. The same errors, but for broken pixels."""
    with _opened(data) as image:
        _check_size(image.size)
        return image.width * image.height


def upright_size(data: bytes) -> tuple[int, int]:
    """Width and height of `decode(data)`, mostly from the header alone. The same errors."""
    with _opened(data) as image:
        _check_size(image.size)
        swapped = image.format != "TIFF" and _orientation(image) >= 5  # of a TIFF, Pillow gives the upright size
        return image.size[::-1] if swapped else image.size


def _opened(data: bytes | bytearray | memoryview) -> Image.Image:
    if not isinstance(data, bytes | bytearray | memoryview):
        expected = "a path, bytes, a Pillow picture or an array uint8 [H, W, 3]"
        raise DataError(f"needs {expected}, got {type(data).__name__}")
    if len(data) > MAX_BYTES:
        raise DataError(_too_large())
    if _is_heic(data) and "HEIF" not in picture_formats():
        raise DataError("HEIC: pip install pillow-heif")
    if b"avif" in bytes(data[8:32]) and bytes(data[4:8]) == b"ftyp" and "AVIF" not in picture_formats():
        raise DataError("AVIF: pip install 'Pillow>=11.3'")
    return Image.open(io.BytesIO(data), formats=picture_formats())


def _too_large() -> str:
    return f"holds more than {MAX_BYTES} bytes"


def _is_heic(data: bytes | bytearray | memoryview) -> bool:
    """Whether the file's first box, `ftyp`, names a brand of HEIC."""
    head = bytes(data[:128])
    brands = head[8 : int.from_bytes(head[:4], "big")]
    return head[4:8] == b"ftyp" and any(brands[k : k + 4] in HEIC_BRANDS for k in range(0, len(brands), 4))


def _from_array(array: np.ndarray) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise DataError(f"needs an array uint8 [H, W, 3], got {array.dtype} {list(array.shape)}")
    _check_size((array.shape[1], array.shape[0]))
    return Image.fromarray(np.ascontiguousarray(array))


def _upright(image: Image.Image) -> Decoded:
    _check_size(image.size)
    turned = image.format == "TIFF" and _orientation(image) != 1  # loading turns a TIFF, and forgets that it did
    image.load()  # before EXIF is asked for: that would load a PNG, and its errors would be lost
    if (orientation := _orientation(image)) != 1:
        image, turned = image.transpose(TURNS[orientation]), True
    if image.mode not in ("F", "I") and not image.mode.startswith("I;16"):
        upright = _opaque(image)
        upright.info = {}  # with its EXIF data, it would be turned again when it is opened again
        return Decoded(upright, turned)
    pixels = np.asarray(image)
    least, most = pixels.min(), pixels.max()
    if image.mode == "F" or least < 0 or most >= 2**16:
        raise DataError(f"needs pixels of 8 or 16 bits, got numbers from {least:g} to {most:g} (mode {image.mode})")
    shift = 8 if image.mode != "I" or most > 255 else 0  # Pillow would clip 16 bits at 255
    return Decoded(Image.fromarray((pixels >> shift).astype(np.uint8)).convert("RGB"), turned)


def _orientation(image: Image.Image) -> int:
    """1..8 as EXIF counts them; 1 where there is none."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except PILLOW_ERRORS:
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _opaque(image: Image.Image) -> Image.Image:
    """In RGB, on white where it is transparent: the hidden colours are often black."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    opaque = Image.new("RGB", image.size)
    rows = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):  # in strips: each of the steps would take 4 bytes a pixel
        strip = image.crop((0, top, image.width, min(top + rows, image.height))).convert("RGBA")
        ground = Image.new("RGBA", strip.size, "white")
        ground.alpha_composite(strip)
        opaque.paste(ground.convert("RGB"), (0, top))
    return opaque


def _check_size(size_wh: tuple[int, int]) -> None:
    width, height = size_wh
    if not (0 < width * height <= MAX_PIXELS and max(width, height) <= MAX_SIDE):
        limits = f"at most {MAX_PIXELS / 10**6:g} megapixels, and sides of 1 to {MAX_SIDE} px"
        raise DataError(f"is {width} x {height} px, needs {limits}")
