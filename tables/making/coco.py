"""COCO's annotation files, and those of the same form."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...utils.errors import DataError, UserError, shown
from .refs import read_json
from .rules import Box, check_skeleton, from_xywh, numbers

ImageId = int | str


@dataclass(frozen=True)
class CocoFile:
    """annotations, images: by id. keypoint_names: of the first category that names its keypoints."""

    path: Path
    images: dict[ImageId, dict[str, Any]]
    annotations: dict[ImageId, dict[str, Any]]
    keypoint_names: object = None

    def where(self, annotation: Mapping[str, Any]) -> str:
        """An annotation for messages."""
        return f"{self.path}: annotation {annotation['id']}"

    def image_of(self, annotation: Mapping[str, Any]) -> dict[str, Any]:
        """The image that it belongs to. DataError if the file does not have it."""
        image = self.images.get(annotation["image_id"])
        if image is None:
            raise DataError(f"{self.where(annotation)}: there is no image {shown(annotation['image_id'])}")
        return image

    def keypoints(self, annotation: Mapping[str, Any]) -> tuple[float, ...]:
        """51 numbers x,y,v. DataError for another skeleton than COCO's."""
        if "keypoints" not in annotation:
            raise DataError(f"{self.where(annotation)}: has no keypoints; expected a file of person keypoints")
        return check_skeleton(annotation["keypoints"], self.keypoint_names, where=self.where(annotation))


def read_coco(path: Path) -> CocoFile:
    """A file with `images` and `annotations`, each with an id. DataError for any other."""
    content = read_json(path)
    if not (isinstance(content, dict) and all(isinstance(content.get(k), list) for k in ("images", "annotations"))):
        raise DataError(f"{path}: expected COCO-style JSON with lists 'images' and 'annotations', got {shown(content)}")
    images, annotations = (_by_id(content[key], f"{path}: {key}") for key in ("images", "annotations"))
    for annotation in annotations.values():
        annotation.pop("segmentation", None)  # most of the file, and not needed
        if "image_id" not in annotation or "bbox" not in annotation:
            raise DataError(
                f"{path}: annotation {annotation['id']}: expected image_id and bbox, got {shown(annotation)}"
            )
    categories = content.get("categories")
    listed = [c for c in categories if isinstance(c, dict)] if isinstance(categories, list) else []
    names = next((c["keypoints"] for c in listed if c.get("keypoints")), None)
    return CocoFile(path, images, annotations, names)


def images_of(path: Path) -> dict[ImageId, dict[str, Any]]:
    """The images of a file, by id; it need not have annotations. DataError for any other file."""
    content = read_json(path)
    if not (isinstance(content, dict) and isinstance(content.get("images"), list)):
        raise DataError(f"{path}: expected COCO-style JSON with a list 'images', got {shown(content)}")
    return _by_id(content["images"], f"{path}: images")


def _by_id(records: list[Any], where: str) -> dict[ImageId, dict[str, Any]]:
    found: dict[ImageId, dict[str, Any]] = {}
    for k, record in enumerate(records):
        if not isinstance(record, dict) or not isinstance(record.get("id"), int | str):
            raise DataError(f"{where}[{k}]: expected an object with an id, got {shown(record)}")
        if record["id"] in found:
            raise DataError(f"{where}[{k}]: the id {record['id']} comes twice")
        found[record["id"]] = record
    return found


def box_of(annotation: Mapping[str, Any], where: str) -> Box:
    """x0, y0, x1, y1 of COCO's bbox, image px."""
    return from_xywh(numbers(annotation["bbox"], 4, where=where, what="bbox"))


def size_of(image: Mapping[str, Any]) -> tuple[int, int] | None:
    """Width and height as annotated, if they are."""
    width, height = image.get("width"), image.get("height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None


def name_of(image: Mapping[str, Any], where: str) -> str:
    """The picture's file name. DataError if there is none."""
    name = image.get("file_name")
    if not isinstance(name, str) or not name:
        raise DataError(f"{where}: its image {shown(image.get('id'))} has no file_name")
    return name


def labelled(keypoints: tuple[float, ...]) -> int:
    """How many of the points have a flag above 0."""
    return sum(flag > 0 for flag in keypoints[2::3])


def find_instances(refs: Path, given: Path | None) -> Path:
    """The annotation file that refs name: as given, or instances.json beside them."""
    path = given or refs.with_name("instances.json")
    if not path.is_file():
        raise UserError(f"{path}: no such file; name COCO's instances of the refs with --instances")
    return path
