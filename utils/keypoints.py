"""COCO's 17 keypoints: names, skeleton, similarity (OKS) and its average precision.

See docs/vocabulary.md (names, order, what is visible) and docs/evaluation.md (OKS, AP).
Functions take arrays or CPU tensors and return numpy arrays; `oks` computes in float32, as the golden numbers do.
"""

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .boxes import box_area
from .errors import DataError

if TYPE_CHECKING:
    from pycocotools.coco import COCO

KEYPOINT_NAMES = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
NUM_KEYPOINTS = len(KEYPOINT_NAMES)

# COCO's, in the order of the names.
SIGMAS = (np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000).astype(np.float32)

# COCO's skeleton in COCO's order: the two keypoints of each limb.
SKELETON = (
    (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10),
    (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
)  # fmt: skip

_OKS_EPSILON = np.finfo(np.float32).eps
_PERSON = 1  # COCO's category

ImageId = int | str


def visible_keypoints(keypoints: ArrayLike) -> np.ndarray:
    """Which keypoints [..., 17, 2] are annotated, bool [..., 17]: (0, 0) is COCO's "not labelled"."""
    return np.asarray(keypoints).max(-1) > 0


def oks(prediction: ArrayLike, label: ArrayLike, box_xyxy: ArrayLike) -> np.ndarray:
    """Object keypoint similarity of each person, float32 [N] in 0..1, over the label's visible keypoints.

    prediction, label: [N, 17, 2]; box_xyxy: [N, 4], the label's box: all image px. A person without any visible
    keypoint is measured as in COCO: over all 17, by the distance to its box with a margin of the box's own size.
    """
    prediction, label = np.asarray(prediction, np.float32), np.asarray(label, np.float32)
    box = np.asarray(box_xyxy, np.float32)
    if not prediction.shape == label.shape == (len(box), NUM_KEYPOINTS, 2) or box.shape != (len(box), 4):
        raise ValueError(f"oks needs two [N, 17, 2] and [N, 4], got {prediction.shape}, {label.shape}, {box.shape}")
    box = box[:, None]  # [N, 1, 4]
    visible = visible_keypoints(label)  # [N, 17]
    any_visible = np.any(visible, axis=-1, keepdims=True)  # [N, 1]
    size = box[..., 2:] - box[..., :2]
    outside = np.maximum(box[..., :2] - size - prediction, 0) + np.maximum(prediction - box[..., 2:] - size, 0)
    offset = np.where(any_visible[..., None], prediction - label, outside)  # [N, 17, 2]
    error = (offset**2).sum(-1) / (2 * SIGMAS) ** 2 / (box_area(box) + _OKS_EPSILON) / 2  # [N, 17]
    counted = visible | ~any_visible
    return (np.exp(-error) * counted).sum(-1) / counted.sum(-1, dtype=np.float32)


def oks_average_precision(
    prediction: ArrayLike, label: ArrayLike, *, box_xyxy: ArrayLike, scores: ArrayLike | None = None
) -> dict[str, float]:
    """OKS AP by pycocotools, in 0..1: `oks_ap` (0.50:0.95), `oks_ap50`, `oks_ap75`; -1 when no label is visible.

    RefHuman's protocol: each expression is an image entry of its own with one prediction. prediction, label:
    [N, 17, 2] and box_xyxy [N, 4], image px; the area is the box's.
    As in COCO, a person without visible keypoints is not to be found, but a prediction far from its box is an error.
    scores: [N] confidences, by which COCO ranks the predictions. Without them, rows count in their order: shuffled
    rows give about the square of the share of hits, sorted rows another number.
    """
    label, box = np.asarray(label, np.float64), np.asarray(box_xyxy, np.float64)
    sizes_wh = box[:, 2:] - box[:, :2]
    labelled = np.concatenate([label, 2.0 * visible_keypoints(label)[..., None]], axis=-1)  # [N, 17, 3]
    annotations = [
        {"image_id": k, "keypoints": numbers.ravel(), "bbox": [*corners[:2], *size], "area": size.prod(), "iscrowd": 0}
        for k, (numbers, corners, size) in enumerate(zip(labelled, box, sizes_wh, strict=True))
    ]
    return _coco_average_precision(annotations, range(len(label)), prediction=prediction, scores=scores)


def evaluate_coco_json(
    annotation_json_path: str | Path,
    predictions: Mapping[ImageId, ArrayLike],
    *,
    scores: Mapping[ImageId, float] | None = None,
) -> dict[str, float]:
    """`oks_average_precision` against a COCO-style file with one image entry per expression, as RefHuman has.

    predictions: the file's image id -> [17, 2] image px, one for each image entry; scores: image id -> confidence.
    An id 7 of the file may also be given as "7", as result files have it, and the other way round.
    Raises DataError for any other file, and for predictions that do not match its entries.
    """
    ids, annotations = _read_coco_json(Path(annotation_json_path))
    points = _matched(predictions, ids, where=f"{annotation_json_path}: predictions")
    ranks = None if scores is None else _matched(scores, ids, where=f"{annotation_json_path}: scores")
    return _coco_average_precision(annotations, range(len(ids)), prediction=points, scores=ranks)


def _matched(given: Mapping[ImageId, Any], ids: Sequence[ImageId], *, where: str) -> np.ndarray:
    """The values in the order of `ids`, float64. DataError unless each id is given once, and no other."""
    by_text, known = {str(i): value for i, value in given.items()}, {str(i) for i in ids}
    missing, unknown = [i for i in ids if str(i) not in by_text], [i for i in given if str(i) not in known]
    if missing or unknown or len(given) != len(ids):
        raise DataError(
            f"{where} must name each image entry once, by its id: got {len(given)} for {len(ids)}; "
            f"{len(missing)} missing (such as {missing[:3]}), {len(unknown)} unknown (such as {unknown[:3]})"
        )
    return np.array([by_text[str(i)] for i in ids], np.float64)


def _read_coco_json(path: Path) -> tuple[list[ImageId], list[dict[str, Any]]]:
    """Image ids, sorted as COCO sorts them, and annotations with the fields that keypoint evaluation needs.

    The `image_id` of an annotation becomes the place of its image among the ids.
    """
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
    if not ids or len(set(ids)) != len(ids) or labelled != set(ids):
        raise DataError(
            f"{path}: expected different image ids, each with an annotation: got {len(ids)} image entries, "
            f"{len(set(ids))} ids, {len(set(ids) - labelled)} without an annotation, {len(labelled - set(ids))} unknown"
        )
    place_of = {i: k for k, i in enumerate(ids)}
    return ids, [row | {"image_id": place_of[row["image_id"]]} for row in rows]


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


def _coco_average_precision(
    annotations: list[dict[str, Any]], ids: Sequence[int], *, prediction: ArrayLike, scores: ArrayLike | None
) -> dict[str, float]:
    """pycocotools' keypoint evaluation of one prediction for each image id, without its prints."""
    from pycocotools.coco import COCO  # compiled, and only evaluation needs it
    from pycocotools.cocoeval import COCOeval

    points = np.asarray(prediction, np.float64)  # [N, 17, 2]
    ranks = np.ones(len(points)) if scores is None else np.asarray(scores, np.float64)
    if points.shape != (len(ids), NUM_KEYPOINTS, 2) or ranks.shape != (len(ids),):
        raise ValueError(f"expected [{len(ids)}, 17, 2] and [{len(ids)}], got {points.shape} and {ranks.shape}")
    if not (np.isfinite(points).all() and np.isfinite(ranks).all()):
        raise ValueError("predicted keypoints and scores must be finite: COCO would count a NaN as a hit")
    found = [
        {"image_id": i, "keypoints": np.insert(p, 2, 1, axis=1).ravel(), "score": float(s), "area": np.ptp(p, 0).prod()}
        for i, p, s in zip(ids, points, ranks, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(_filled(COCO(), annotations, ids), _filled(COCO(), found, ids), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(("oks_ap", "oks_ap50", "oks_ap75"), evaluation.stats[:3].tolist(), strict=True))


def _filled(coco: "COCO", rows: list[dict[str, Any]], ids: Sequence[int]) -> "COCO":
    """A COCO object over these rows. Their ids count from 1: COCOeval reads id 0 as "not matched"."""
    annotations = [
        {**row, "id": k, "category_id": _PERSON, "num_keypoints": int((row["keypoints"][2::3] > 0).sum())}
        for k, row in enumerate(rows, start=1)
    ]
    images = [{"id": i} for i in ids]
    coco.dataset = {"images": images, "categories": [{"id": _PERSON}], "annotations": annotations}
    coco.createIndex()
    return coco
