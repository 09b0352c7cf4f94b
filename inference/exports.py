"""Answers in the formats of other programs: COCO results, OpenPose JSON, PNG masks, and `supervision`'s objects.

An answer that lacks the part in question is left out.
"""

import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..data.pictures import PictureSource, open_picture
from ..utils.errors import UserError
from ..utils.files import atomic_write
from ..utils.parsing import CLASS_NAMES, PALETTE, encode_mask
from .answers import Answer, Confidence, Keypoints

if TYPE_CHECKING:
    import supervision as sv

PERSON = 1  # COCO's category of boxes and keypoints
VISIBLE = 2  # COCO's v of a keypoint that is seen; 0: not labelled
# Categories of the parts' masks: CIHP's classes without the background.
PART_CATEGORIES = [{"id": k, "name": name, "supercategory": "person"} for k, name in enumerate(CLASS_NAMES) if k]

# The 18 points of OpenPose's "COCO" model, in the order of ComfyUI's POSE_KEYPOINT.
_LIMBS = (("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle"), ("eye",), ("ear",))
OPENPOSE_NAMES = (
    "nose",
    "neck",  # not one of COCO's keypoints: the middle of the shoulders
    *(f"{side}_{joint}" for limb in _LIMBS for side in ("right", "left") for joint in limb),
)
FAINTEST = 0.01  # confidence of a point that is there: to readers, 0 means that it is not
_UNSEEN = {"face": 70, "hand_left": 21, "hand_right": 21}  # points that OpenPose has and the model does not know


def coco_results(answers: Iterable[Answer], *, image_ids: Iterable[int | str]) -> dict[str, list[dict[str, Any]]]:
    """COCO result lists by COCOeval's `iouType`: "bbox", "keypoints", "segm".

    Boxes are x, y, width, height; keypoints 17 times x, y, v with v 2 or 0; masks are run lengths, one for each part,
    with the categories `PART_CATEGORIES`. A `score` is the confidence: the box's, the mean of a person's keypoints, the
    part's own; 1 where it is not known.
    """
    results: dict[str, list[dict[str, Any]]] = {"bbox": [], "keypoints": [], "segm": []}
    for answer, image_id in zip(answers, image_ids, strict=True):
        sure, points = answer.confidence, answer.keypoints
        person = {"image_id": image_id, "category_id": PERSON}
        if answer.box_xyxy is not None:
            x0, y0, x1, y1 = answer.box_xyxy.tolist()
            results["bbox"].append(person | {"bbox": [x0, y0, x1 - x0, y1 - y0], "score": _known(sure.box)})
        if points:
            seen = np.where(points.visible, VISIBLE, 0)
            numbers = np.column_stack([points.xy * points.visible[:, None], seen]).ravel()  # [51]
            results["keypoints"].append(
                person | {"keypoints": numbers.tolist(), "score": _known(sure.mean("keypoints"))}
            )
        for name, mask in answer.parts.items():
            part = {"image_id": image_id, "category_id": CLASS_NAMES.index(name), "segmentation": encode_mask(mask)}
            results["segm"].append(part | {"score": _known((sure.parts or {}).get(name))})
    return results


def _known(confidence: float | None) -> float:
    return 1.0 if confidence is None else confidence


def openpose(answers: Answer | Sequence[Answer]) -> dict[str, Any]:
    """The people of one picture as OpenPose's JSON; a list of such objects is ComfyUI's POSE_KEYPOINT.

    `pose_keypoints_2d`: for each of `OPENPOSE_NAMES` x, y in px and confidence, or three zeros. The neck has the
    confidence of the less sure shoulder; where none is known it is 1, and never below `FAINTEST`. Face and hands are
    unseen points, all zeros: nodes of ComfyUI reshape them to 70, 21 and 21 points. Raises UserError for no answers,
    and for answers about pictures of different sizes.
    """
    answers = _listed(answers)
    width, height = _size_of(answers, where="openpose")
    bodies = [_openpose_body(answer.keypoints, answer.confidence) for answer in answers if answer.keypoints]
    people = [{"pose_keypoints_2d": body} | _unseen() for body in bodies]
    return {"people": people, "canvas_width": width, "canvas_height": height}


def _size_of(answers: Sequence[Answer], *, where: str) -> tuple[int, int]:
    """The size of the one picture that answers are about. Raises UserError."""
    sizes = {answer.size_wh for answer in answers}
    if len(sizes) != 1:
        raise UserError(f"{where}: needs answers about one picture, got {len(answers)} answers, sizes {sorted(sizes)}")
    return sizes.pop()


def _unseen() -> dict[str, list[float]]:
    return {f"{part}_keypoints_2d": [0.0] * (3 * points) for part, points in _UNSEEN.items()}


def _openpose_body(keypoints: Keypoints, confidence: Confidence) -> list[float]:
    points, sure = dict(keypoints), dict(confidence.keypoints or {})
    left, right = points["left_shoulder"], points["right_shoulder"]
    points["neck"] = ((left[0] + right[0]) / 2, (left[1] + right[1]) / 2) if left and right else None
    sure["neck"] = min(_known(sure.get(f"{side}_shoulder")) for side in ("left", "right"))
    numbers: list[float] = []
    for name in OPENPOSE_NAMES:
        point = points[name]
        numbers += [*point, max(_known(sure.get(name)), FAINTEST)] if point else [0.0, 0.0, 0.0]
    return numbers


def label_map_image(answer: Answer) -> Image.Image:
    """The label map as an indexed picture (mode P): its values are the classes, its palette has CIHP's colours."""
    if answer.label_map is None:
        raise UserError("label map: the answer has none: ask with parsing=True")
    image = Image.fromarray(answer.label_map)
    image.putpalette(np.asarray(PALETTE, np.uint8).tobytes())
    return image


def save_label_map(answer: Answer, path: str | Path) -> None:
    """Writes `label_map_image` as a PNG file. Raises UserError."""
    _save(label_map_image(answer), Path(path))


def save_parts(answer: Answer, folder: str | Path, *, stem: str = "part") -> dict[str, Path]:
    """Writes a PNG for each part, `STEM_hair.png`, with 255 inside the part. Returns the files by part."""
    if answer.label_map is None:
        raise UserError("parts: the answer has none: ask with parsing=True")
    paths = {name: Path(folder) / f"{stem}_{name}.png" for name in answer.parts}
    for name, mask in answer.parts.items():
        _save(Image.fromarray(mask.astype(np.uint8) * 255), paths[name])
    return paths


def save_person(
    answer: Answer, folder: str | Path, *, stem: str = "part", image: PictureSource | None = None
) -> list[Path]:
    """Writes `STEM_person.png`, 255 on any part and 0 elsewhere, and with the picture `STEM_cutout.png`, see `cutout`.

    Returns the files. Without any pixel of a part there is no cut-out. Raises UserError.
    """
    if answer.label_map is None:
        raise UserError("person: the answer has no parts: ask with parsing=True")
    images = {"person": Image.fromarray((answer.label_map > 0).astype(np.uint8) * 255)}
    alone = None if image is None else cutout(image, answer)
    images |= {} if alone is None else {"cutout": alone}
    paths = {name: Path(folder) / f"{stem}_{name}.png" for name in images}
    for name, one in images.items():
        _save(one, paths[name])
    return list(paths.values())


def cutout(image: PictureSource, answers: Answer | Sequence[Answer]) -> Image.Image | None:
    """The people alone, RGBA, cut to the edges of their parts, with alpha 255 on a part and 0 elsewhere.

    image: what was asked about. None where no answer has parts. Raises UserError for answers about another picture.
    """
    found = [answer for answer in _listed(answers) if answer.label_map is not None]
    if not found:
        return None
    image = open_picture(image)
    if image.size != (size := _size_of(found, where="cutout")):
        got, of = (f"{width} x {height}" for width, height in (image.size, size))
        raise UserError(f"image: is {got} px, the answer's picture {of}")
    masks = [answer.label_map > 0 for answer in found if answer.label_map is not None]
    alpha = Image.fromarray(np.any(masks, axis=0).astype(np.uint8) * 255)
    if (edges := alpha.getbbox()) is None:
        return None
    person = image.crop(edges)
    person.putalpha(alpha.crop(edges))
    return person


def _save(image: Image.Image, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            image.save(part, "PNG")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error


def to_detections(answers: Answer | Sequence[Answer]) -> "sv.Detections":
    """One `supervision` detection for each answered box; with the person's mask if all of them have a label map.

    Raises UserError for answers about pictures of different sizes.
    """
    sv, found = _supervision(), [answer for answer in _listed(answers) if answer.box_xyxy is not None]
    if not found:
        return sv.Detections.empty()
    _size_of(found, where="detections")
    masks = [answer.label_map > 0 for answer in found if answer.label_map is not None]
    return sv.Detections(
        xyxy=np.stack([answer.box_xyxy for answer in found if answer.box_xyxy is not None]),
        mask=np.stack(masks) if len(masks) == len(found) else None,
        confidence=np.array([_known(answer.confidence.box) for answer in found], np.float32),
        class_id=np.zeros(len(found), int),
        data={"class_name": np.array(["person"] * len(found))},
    )


def to_part_detections(answer: Answer) -> "sv.Detections":
    """One detection for each part of a person: mask, the box around it, class and name."""
    sv, parts, sure = _supervision(), answer.parts, answer.confidence.parts or {}
    if not parts:
        return sv.Detections.empty()
    masks = np.stack(list(parts.values()))
    return sv.Detections(
        xyxy=sv.mask_to_xyxy(masks).astype(np.float32) + np.array([0, 0, 1, 1], np.float32),  # half-open, as all boxes
        mask=masks,
        confidence=np.array([_known(sure.get(name)) for name in parts], np.float32),
        class_id=np.array([CLASS_NAMES.index(name) for name in parts]),
        data={"class_name": np.array(list(parts))},
    )


def to_keypoints(answers: Answer | Sequence[Answer]) -> "sv.KeyPoints":
    """`supervision` keypoints of each answer that has some: xy [N, 17, 2] in COCO's order, and which are visible."""
    sv, found = _supervision(), [(a.keypoints, a.confidence) for a in _listed(answers) if a.keypoints]
    if not found:
        return sv.KeyPoints.empty()
    visible = np.stack([points.visible for points, _ in found])  # [N, 17]
    each = [[_known((sure.keypoints or {}).get(name)) for name in points.names] for points, sure in found]  # [N, 17]
    return sv.KeyPoints(
        xy=np.stack([points.xy for points, _ in found]).astype(np.float32),
        keypoint_confidence=(visible * np.array(each)).astype(np.float32),
        detection_confidence=np.array([_known(sure.mean("keypoints")) for _, sure in found], np.float32),
        visible=visible,
        class_id=np.zeros(len(found), int),
        data={"class_name": np.array(["person"] * len(found))},
    )


def _listed(answers: Answer | Sequence[Answer]) -> list[Answer]:
    return [answers] if isinstance(answers, Answer) else list(answers)


def _supervision() -> ModuleType:
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # its import warns that OpenCV is missing
        import supervision  # here, because the other exports do not need it

    return supervision


def image_id(image: str) -> int | str:
    """COCO's id of a picture: 581857 for COCO_train2014_000000581857.jpg and for RefCOCO's ..._16.jpg."""
    number = re.fullmatch(r"COCO_[a-z]+[0-9]{4}_([0-9]{1,18})(?:_[0-9]+)?|([0-9]{1,18})", Path(image).stem)
    return int(number[1] or number[2]) if number else image
