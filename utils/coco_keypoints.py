"""COCO's keypoint evaluation against an annotation file, by pycocotools (docs/evaluation.md, docs/scoring.md)."""

import contextlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .average_precision import THRESHOLDS, Ranked
from .errors import DataError
from .keypoints import NUM_KEYPOINTS

if TYPE_CHECKING:
    from pycocotools.coco import COCO

ImageId = int | str
_PERSON = 1  # COCO's category
# Of COCO's ranges of area: the names of average precision, of its thresholds 0.50 and 0.75, and of recall.
_RANGES = (
    ("oks_ap", "oks_ap50", "oks_ap75", "oks_ar"),
    ("oks_ap_medium", "oks_ap50_medium", "oks_ap75_medium", None),
    ("oks_ap_large", "oks_ap50_large", "oks_ap75_large", None),
)


@dataclass(frozen=True)
class People:
    """An annotation file. ids: of its images, sorted; several may show one picture, as RefHuman's do.

    pictures: int64 [N], number of each image's picture, 0..G-1. annotations: whose `image_id` is a place among the ids.
    """

    ids: list[ImageId]
    pictures: np.ndarray
    annotations: list[dict[str, Any]]


@dataclass(frozen=True)
class Detection:
    """A predicted person. image: a place among the ids; keypoints: float64 [17, 2] image px."""

    image: int
    keypoints: np.ndarray
    score: float


def read_people(path: Path) -> People:
    """A COCO-style file of annotated keypoints, as COCO and RefHuman have it. Raises DataError for any other file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        ids, annotations = sorted(image["id"] for image in content["images"]), list(content["annotations"])
        if {type(i) for i in ids} not in ({int}, {str}):
            raise TypeError("ids must be whole numbers, or all of them texts")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{path}: expected COCO-style JSON with 'images', each with an 'id', and 'annotations' ({error!r})"
        ) from error
    rows = [_checked_annotation(row, f"{path}: annotations[{k}]") for k, row in enumerate(annotations)]
    labelled = {row["image_id"] for row in rows}
    if not ids or len(set(ids)) != len(ids) or not labelled <= set(ids):
        raise DataError(
            f"{path}: expected different image ids, and annotations of these images: got {len(ids)} image entries, "
            f"{len(set(ids))} ids, and annotations of {len(labelled - set(ids))} unknown images"
        )
    place_of = {i: k for k, i in enumerate(ids)}
    names = {image["id"]: str(image.get("file_name", image["id"])) for image in content["images"]}
    pictures = np.unique([names[i] for i in ids], return_inverse=True)[1]
    return People(ids, pictures, [row | {"image_id": place_of[row["image_id"]]} for row in rows])


def _checked_annotation(annotation: Any, where: str) -> dict[str, Any]:
    """The fields that keypoint evaluation reads; raises DataError naming `where`."""
    try:
        numbers = {
            "keypoints": np.asarray(annotation["keypoints"], np.float64).reshape(3 * NUM_KEYPOINTS),
            "bbox": np.asarray(annotation["bbox"], np.float64).reshape(4),
            "area": np.asarray(annotation["area"], np.float64).reshape(()),
        }
        if not all(np.isfinite(array).all() for array in numbers.values()):
            raise ValueError("a number is not finite")
        if type(annotation["image_id"]) not in (int, str):
            raise TypeError("image_id is neither a whole number nor a text")
        return numbers | {"image_id": annotation["image_id"], "iscrowd": int(bool(annotation.get("iscrowd", 0)))}
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        expected = f"'image_id', {3 * NUM_KEYPOINTS} numbers of 'keypoints', 4 of 'bbox', and 'area'"
        raise DataError(f"{where}: expected {expected} ({error!r})") from error


def average_precisions(people: People, detections: Sequence[Detection]) -> list[Ranked]:
    """OKS average precision over all, medium and large people, by pycocotools' matching, without its prints."""
    from pycocotools.cocoeval import COCOeval  # compiled, and only evaluation needs it

    images = range(len(people.ids))
    found = [
        {
            "image_id": one.image,
            "keypoints": np.insert(one.keypoints, 2, 1, axis=1).ravel(),
            "score": one.score,
            "area": np.ptp(one.keypoints, 0).prod(),
        }
        for one in detections
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(_filled(people.annotations, images), _filled(found, images), "keypoints")
        evaluation.evaluate()
    matched = np.array(evaluation.evalImgs, dtype=object).reshape(len(_RANGES), len(images))
    return [_ranked(of_images, names) for of_images, names in zip(matched, _RANGES, strict=True)]


def _ranked(matched: np.ndarray, names: tuple[str, str, str, str | None]) -> Ranked:
    """From what COCOeval found in each image; None where there is neither a person nor a prediction."""
    none = np.zeros((len(THRESHOLDS), 0), bool)
    hits, errors, scores, rows = [none], [none], [np.zeros(0)], [np.zeros(0, np.int64)]
    positives = np.zeros(len(matched))
    for row, found in enumerate(matched):
        if found is None:
            continue
        hit, ignored = found["dtMatches"] != 0, found["dtIgnore"] != 0
        hits.append(hit & ~ignored)
        errors.append(~hit & ~ignored)
        scores.append(np.asarray(found["dtScores"], np.float64))
        rows.append(np.full(len(found["dtScores"]), row))
        positives[row] = np.count_nonzero(np.asarray(found["gtIgnore"]) == 0)
    return Ranked(
        np.concatenate(hits, axis=1),
        np.concatenate(errors, axis=1),
        np.concatenate(scores),
        np.concatenate(rows),
        positives,
        names[:3],
        names[3],
    )


def _filled(rows: list[dict[str, Any]], ids: Sequence[int]) -> "COCO":
    """A COCO object over these rows. Their ids count from 1: COCOeval reads id 0 as "not matched"."""
    from pycocotools.coco import COCO

    coco = COCO()
    annotations = [
        {**row, "id": k, "category_id": _PERSON, "num_keypoints": int((row["keypoints"][2::3] > 0).sum())}
        for k, row in enumerate(rows, start=1)
    ]
    coco.dataset = {"images": [{"id": i} for i in ids], "categories": [{"id": _PERSON}], "annotations": annotations}
    coco.createIndex()
    return coco
