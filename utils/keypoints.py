"""COCO's 17 keypoints: names, skeleton, similarity (OKS) and its average precision.

See docs/vocabulary.md (names, order, what is visible), docs/evaluation.md (OKS, AP).
Arrays or CPU tensors come in, numpy arrays go out; `oks` computes in float32 as the golden numbers are.
"""

import contextlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from .boxes import box_area
from .errors import DataError

if TYPE_CHECKING:
    from pycocotools.coco import COCO

KEYPOINT_NAMES = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
NUM_KEYPOINTS = len(KEYPOINT_NAMES)

# COCO's sigmas, by kind: both sides of the body share one.
_SIGMA_OF_KIND = {
    "nose": 0.026,
    "eye": 0.025,
    "ear": 0.035,
    "shoulder": 0.079,
    "elbow": 0.072,
    "wrist": 0.062,
    "hip": 0.107,
    "knee": 0.087,
    "ankle": 0.089,
}
SIGMAS = np.array([_SIGMA_OF_KIND[name.split("_")[-1]] for name in KEYPOINT_NAMES], np.float32)

_LIMBS = (
    ("left_ankle", "left_knee"),
    ("left_knee", "left_hip"),
    ("right_ankle", "right_knee"),
    ("right_knee", "right_hip"),
    ("left_hip", "right_hip"),
    ("left_shoulder", "left_hip"),
    ("right_shoulder", "right_hip"),
    ("left_shoulder", "right_shoulder"),
    ("left_shoulder", "left_elbow"),
    ("right_shoulder", "right_elbow"),
    ("left_elbow", "left_wrist"),
    ("right_elbow", "right_wrist"),
    ("left_eye", "right_eye"),
    ("nose", "left_eye"),
    ("nose", "right_eye"),
    ("left_eye", "left_ear"),
    ("right_eye", "right_ear"),
    ("left_ear", "left_shoulder"),
    ("right_ear", "right_shoulder"),
)
# COCO's skeleton: the two indices of each limb, in COCO's order.
SKELETON = tuple((KEYPOINT_NAMES.index(a), KEYPOINT_NAMES.index(b)) for a, b in _LIMBS)

# (index on the left, index on the right): what changes places when a picture is mirrored.
FLIP_PAIRS = tuple(
    (k, KEYPOINT_NAMES.index(name.replace("left", "right")))
    for k, name in enumerate(KEYPOINT_NAMES)
    if name.startswith("left")
)

_OKS_EPSILON = np.finfo(np.float32).eps
_PERSON = 1  # COCO's category


def visible_keypoints(keypoints: ArrayLike) -> np.ndarray:
    """Which keypoints [..., 17, 2] are annotated, bool [..., 17]: (0, 0) is COCO's "not labelled"."""
    return np.asarray(keypoints).max(-1) > 0


def oks(prediction: ArrayLike, label: ArrayLike, box_xyxy: ArrayLike) -> np.ndarray:
    """Object keypoint similarity of each person, float32 [N] in 0..1, over the label's visible keypoints.

    prediction, label: [N, 17, 2]; box_xyxy: [N, 4], the label's box: all image px. A person without any visible
    keypoint is measured, over all 17, by the distance outside its box doubled, as COCO does.
    """
    prediction, label = np.asarray(prediction, np.float32), np.asarray(label, np.float32)
    box = np.asarray(box_xyxy, np.float32)
    if not prediction.shape == label.shape == (len(box), NUM_KEYPOINTS, 2) or box.shape != (len(box), 4):
        raise ValueError(f"oks needs two [N, 17, 2] and [N, 4], got {prediction.shape}, {label.shape}, {box.shape}")
    box = box[:, None]  # [N, 1, 4]
    visible = visible_keypoints(label)  # [N, 17]
    any_visible = visible.any(-1, keepdims=True)  # [N, 1]
    size = box[..., 2:] - box[..., :2]
    outside = np.maximum(box[..., :2] - size - prediction, 0) + np.maximum(prediction - box[..., 2:] - size, 0)
    offset = np.where(any_visible[..., None], prediction - label, outside)  # [N, 17, 2]
    error = (offset**2).sum(-1) / (2 * SIGMAS) ** 2 / (box_area(box) + _OKS_EPSILON) / 2  # [N, 17]
    counted = visible | ~any_visible
    return (np.exp(-error) * counted).sum(-1) / counted.sum(-1, dtype=np.float32)


def oks_average_precision(
    prediction: ArrayLike,
    label: ArrayLike,
    *,
    box_xyxy: ArrayLike,
    area: ArrayLike | None = None,
    scores: ArrayLike | None = None,
) -> dict[str, float]:
    """OKS AP by pycocotools, in 0..1: `oks_ap` (0.50:0.95), `oks_ap50`, `oks_ap75`; -1 when no label is visible.

    RefHuman's protocol: each expression is an image entry of its own with one prediction. prediction, label:
    [N, 17, 2] and box_xyxy [N, 4], image px; area: [N] px^2, the box's unless given (COCO's is the mask's).
    A person without visible keypoints is none to find, as in COCO, but a prediction far from its box counts against.
    scores: [N] confidences, by which COCO ranks the predictions; all the same unless given, and then the order of
    the rows decides: shuffled rows give about the square of the share of hits, sorted rows another number.
    """
    label, box = np.asarray(label, np.float64), np.asarray(box_xyxy, np.float64)
    areas = (box[:, 2:] - box[:, :2]).prod(-1) if area is None else np.asarray(area, np.float64)
    annotations = []
    for k, (points, corners) in enumerate(zip(label, box, strict=True)):
        visible = visible_keypoints(points)
        annotations.append(
            {
                "image_id": k,
                "keypoints": np.column_stack([points, 2 * visible]).ravel(),
                "num_keypoints": int(visible.sum()),
                "bbox": [*corners[:2], *(corners[2:] - corners[:2])],
                "area": areas[k],
                "iscrowd": 0,
            }
        )
    return _coco_average_precision(annotations, range(len(label)), prediction=prediction, scores=scores)


def evaluate_coco_json(
    annotation_json_path: str | Path,
    predictions: Mapping[int | str, ArrayLike],
    *,
    scores: Mapping[int | str, float] | None = None,
) -> dict[str, float]:
    """`oks_average_precision` against a COCO-style file with one image entry per expression, as RefHuman has.

    predictions: the file's image id -> [17, 2] image px, one for each image entry; scores: image id -> confidence.
    Raises DataError for a file that is not of this form, and for predictions that do not match its entries.
    """
    ids, annotations = _read_coco_json(Path(annotation_json_path))
    for name, given in (("predictions", predictions), ("scores", scores)):
        if given is not None and set(given) != set(ids):
            missing, unknown = list(set(ids) - set(given)), list(set(given) - set(ids))
            raise DataError(
                f"{annotation_json_path}: {name} must name each image entry once: "
                f"{len(missing)} missing (such as {missing[:3]}), {len(unknown)} unknown (such as {unknown[:3]})"
            )
    ordered = None if scores is None else [scores[i] for i in ids]
    return _coco_average_precision(annotations, ids, prediction=[predictions[i] for i in ids], scores=ordered)


def _read_coco_json(path: Path) -> tuple[list, list[dict]]:
    """Image ids, sorted as COCO sorts them, and annotations with the fields that keypoint evaluation needs."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: a COCO-style JSON file was expected: {error}") from error
    images, annotations = (content.get(key) if isinstance(content, dict) else None for key in ("images", "annotations"))
    if not (isinstance(images, list) and isinstance(annotations, list) and images):
        raise DataError(f"{path}: expected an object with the lists 'images' and 'annotations'")
    try:
        ids = sorted(image["id"] for image in images)
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: every entry of 'images' needs an 'id', all numbers or all text: {error}") from error
    checked = [_checked_annotation(a, f"{path}: annotations[{row}]") for row, a in enumerate(annotations)]
    labelled = {annotation["image_id"] for annotation in checked}
    if len(set(ids)) != len(ids) or labelled != set(ids):
        raise DataError(
            f"{path}: expected image ids that differ, each with an annotation: got {len(ids)} image entries, "
            f"{len(set(ids))} ids, {len(set(ids) - labelled)} without an annotation, {len(labelled - set(ids))} unknown"
        )
    return ids, checked


def _checked_annotation(annotation: object, where: str) -> dict:
    """The fields that keypoint evaluation reads; raises DataError naming `where` and the field."""
    if not isinstance(annotation, dict) or "image_id" not in annotation:
        raise DataError(f"{where}: expected an object with an 'image_id', got {str(annotation)[:80]}")
    fields = {"image_id": annotation["image_id"], "iscrowd": int(bool(annotation.get("iscrowd", 0)))}
    for name, shape in (("keypoints", (3 * NUM_KEYPOINTS,)), ("bbox", (4,)), ("area", ())):
        value = annotation.get(name)
        try:
            array = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            array = np.full((), np.nan)
        if array.shape != shape or not np.isfinite(array).all():
            size = int(np.prod(shape))
            raise DataError(f"{where}, {name}: expected {size} finite number(s), got {str(value)[:80]}")
        fields[name] = array
    return fields | {"num_keypoints": int((fields["keypoints"][2::3] > 0).sum())}


def _coco_average_precision(
    annotations: list[dict], ids: ArrayLike, *, prediction: ArrayLike, scores: ArrayLike | None
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
        evaluation = COCOeval(_coco(COCO(), annotations, ids), _coco(COCO(), found, ids), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(("oks_ap", "oks_ap50", "oks_ap75"), evaluation.stats[:3].tolist(), strict=True))


def _coco(empty: "COCO", annotations: list[dict], ids: ArrayLike) -> "COCO":
    """A COCO object over these rows. Ids count from 1: COCOeval reads id 0 as "not matched"."""
    rows = [{**row, "id": k, "category_id": _PERSON} for k, row in enumerate(annotations, start=1)]
    empty.dataset = {"images": [{"id": i} for i in ids], "categories": [{"id": _PERSON}], "annotations": rows}
    empty.createIndex()
    return empty
