"""Pictures that commands write."""

from pathlib import Path
from typing import Any

from PIL import Image

from ...utils.errors import UserError
from ...utils.files import atomic_write

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


def check_format(path: Path, *, where: str) -> None:
    """UserError unless the name ends like one of `FORMATS`."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{where} {path}: expected a name that ends in {', '.join(FORMATS)}")


def save_picture(image: Image.Image, path: Path, **options: Any) -> None:
    """An atomic write, in the format that the name ends with. options: of Pillow's writer."""
    with atomic_write(path) as part:
        image.save(part, FORMATS[path.suffix.lower()], **options)
