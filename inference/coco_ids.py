"""Ids of pictures as a COCO annotation file has them, so that results match its ground truth."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath

from ..tables.making.coco import ImageId, images_of, name_of
from ..utils.errors import UserError


def ids_in(path: Path) -> Callable[[str], ImageId]:
    """A function from a picture's path to the id of the image of that `file_name` in an annotation file.

    Pictures of one name in several folders are told apart by as much of their paths as it takes. DataError for a file
    of another form; the function raises UserError for a picture that the file lacks, or has twice.
    """
    by_name: dict[str, list[tuple[PurePosixPath, ImageId]]] = {}
    images = images_of(path)
    for number, image in images.items():
        name = PurePosixPath(name_of(image, str(path)).replace("\\", "/"))
        by_name.setdefault(name.name, []).append((name, number))

    def id_of(picture: str) -> ImageId:
        parts = Path(picture).absolute().parts
        found = by_name.get(parts[-1], []) if parts else []
        alike = [_shared(name.parts, parts) for name, _ in found]
        best = [number for (_, number), length in zip(found, alike, strict=True) if length == max(alike)]
        if len(best) != 1:
            problem = f"{len(best)} images of this name" if best else f"no image of this name among {len(images)}"
            raise UserError(f"{picture}: {path} has {problem}; image ids are taken by file_name")
        return best[0]

    return id_of


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """How many parts two paths share at their ends."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return next((k for k, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
