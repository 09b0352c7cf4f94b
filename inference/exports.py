"""Answers in the forms that other programs read: COCO results, OpenPose JSON, PNG masks, and `supervision`'s objects.

Each takes `refhcm.Answer`s; an answer that lacks the part in question is left out.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..utils.errors import UserError
from ..utils.parsing import CLASS_NAMES, PALETTE, encode_mask

if TYPE_CHECKING:
    import supervision as sv

    from .answers import Answer

PERSON = 1  # COCO's category of boxes and keypoints
VISIBLE = 2  # COCO's v of a keypoint that is seen; 0: not labelled
# Categories of the parts' masks: CIHP's classes without the background.
PART_CATEGORIES = [{"id": k, "name": name, "supercategory": "person"} for k, name in enumerate(CLASS_NAMES) if k]

# OpenPose's 18 points of the body ("COCO" model), as in ComfyUI's POSE_KEYPOINT.
OPENPOSE_NAMES = (
    "nose",
    "neck",  # of COCO's points there is none: the middle of both shoulders
    "right_shoulder",
    "right_elbow",
    "right_wrist",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "right_hip",
    "right_knee",
    "right_ankle",
    "left_hip",
    "left_knee",
    "left_ankle",
    "right_eye",
    "left_eye",
    "right_ear",
    "left_ear",
)


def coco_results(answers: Iterable["Answer"], *, image_ids: Iterable[int | str]) -> dict[str, list[dict[str, Any]]]:
    """COCO result lists by the names of COCOeval's `iouType`: "bbox", "keypoints", "segm".

    Boxes are x, y, width, height; keypoints 17 times x, y, v with v 2 or 0; masks run lengths, one for each part, with
    the categories `PART_CATEGORIES`. An unknown score is 1.
    """
    results: dict[str, list[dict[str, Any]]] = {"bbox": [], "keypoints": [], "segm": []}
    for answer, image_id in zip(answers, image_ids, strict=True):
        scores, points = answer.scores, answer.keypoints
        person = {"image_id": image_id, "category_id": PERSON}
        if answer.box_xyxy is not None:
            x0, y0, x1, y1 = answer.box_xyxy.tolist()
            results["bbox"].append(person | {"bbox": [x0, y0, x1 - x0, y1 - y0], "score": _known(scores.box)})
        if points is not None:
            seen = np.where(points.visible, VISIBLE, 0)
            numbers = np.column_stack([points.xy * points.visible[:, None], seen]).ravel()  # [51]
            results["keypoints"].append(person | {"keypoints": numbers.tolist(), "score": _known(scores.keypoints)})
        for name, mask in answer.parts.items():
            part = {"image_id": image_id, "category_id": CLASS_NAMES.index(name), "segmentation": encode_mask(mask)}
            results["segm"].append(part | {"score": _known(scores.parsing)})
    return results


def _known(score: float | None) -> float:
    return 1.0 if score is None else score


def openpose(answers: "Answer | Sequence[Answer]") -> dict[str, Any]:
    """The people of one picture as OpenPose's JSON; a list of such objects is ComfyUI's POSE_KEYPOINT.

    `pose_keypoints_2d`: x, y in px and confidence 1 of each of `OPENPOSE_NAMES`, or three zeros. Hands and face are
    empty. Raises UserError for answers about pictures of different sizes, and for none.
    """
    answers = _listed(answers)
    sizes = {answer.size_wh for answer in answers}
    if len(sizes) != 1:
        raise UserError(f"openpose: needs answers about one picture, got {len(answers)} answers, sizes {sorted(sizes)}")
    ((width, height),) = sizes
    people = [
        {
            "pose_keypoints_2d": _openpose_body(answer),
            "face_keypoints_2d": [],
            "hand_left_keypoints_2d": [],
            "hand_right_keypoints_2d": [],
        }
        for answer in answers
        if answer.keypoints is not None
    ]
    return {"people": people, "canvas_width": width, "canvas_height": height}


def _openpose_body(answer: "Answer") -> list[float]:
    points = dict(answer.keypoints)
    shoulders = points["left_shoulder"], points["right_shoulder"]
    middle = None if None in shoulders else tuple((a + b) / 2 for a, b in zip(*shoulders, strict=True))
    points["neck"] = middle
    numbers: list[float] = []
    for name in OPENPOSE_NAMES:
        numbers += [0.0, 0.0, 0.0] if points[name] is None else [*points[name], 1.0]
    return numbers


def label_map_image(answer: "Answer") -> Image.Image:
    """The label map as an indexed picture (mode P): its values are the classes, its palette CIHP's colours."""
    if answer.label_map is None:
        raise UserError("label map: the answer holds none; ask with parsing=True")
    image = Image.fromarray(answer.label_map)
    image.putpalette(np.asarray(PALETTE, np.uint8).tobytes())
    return image


def save_label_map(answer: "Answer", path: str | Path) -> None:
    """`label_map_image` as a PNG file."""
    image = label_map_image(answer)
    _save(image, Path(path))


def save_parts(answer: "Answer", folder: str | Path, *, stem: str = "part") -> dict[str, Path]:
    """One PNG for each part, `STEM_hair.png`, 255 where the part is and 0 elsewhere. The files by the parts' names."""
    if answer.label_map is None:
        raise UserError("parts: the answer holds none; ask with parsing=True")
    paths = {name: Path(folder) / f"{stem}_{name}.png" for name in answer.parts}
    for name, mask in answer.parts.items():
        _save(Image.fromarray(mask.astype(np.uint8) * 255), paths[name])
    return paths


def _save(image: Image.Image, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, "PNG")
    except OSError as error:
        raise UserError(f"{path}: can not be written ({error.strerror or error})") from error


def to_detections(answers: "Answer | Sequence[Answer]") -> "sv.Detections":
    """One `supervision` detection for each answered box; with the person's mask where all of them have a label map."""
    sv, found = _supervision(), [answer for answer in _listed(answers) if answer.box_xyxy is not None]
    if not found:
        return sv.Detections.empty()
    masked = all(answer.label_map is not None for answer in found)
    return sv.Detections(
        xyxy=np.stack([answer.box_xyxy for answer in found]),
        mask=np.stack([answer.label_map > 0 for answer in found]) if masked else None,
        confidence=np.array([_known(answer.scores.box) for answer in found], np.float32),
        class_id=np.zeros(len(found), int),
        data={"class_name": np.array(["person"] * len(found))},
    )


def to_part_detections(answer: "Answer") -> "sv.Detections":
    """One detection for each part of a person: its mask, the box around it, its class and name."""
    sv, parts = _supervision(), answer.parts
    if not parts:
        return sv.Detections.empty()
    masks = np.stack(list(parts.values()))
    return sv.Detections(
        xyxy=sv.mask_to_xyxy(masks).astype(np.float32) + np.array([0, 0, 1, 1], np.float32),  # half-open, as all boxes
        mask=masks,
        confidence=np.full(len(parts), _known(answer.scores.parsing), np.float32),
        class_id=np.array([CLASS_NAMES.index(name) for name in parts]),
        data={"class_name": np.array(list(parts))},
    )


def to_keypoints(answers: "Answer | Sequence[Answer]") -> "sv.KeyPoints":
    """`supervision` keypoints of each answer that has some: xy [N, 17, 2] in COCO's order, and which are visible."""
    sv, found = _supervision(), [answer for answer in _listed(answers) if answer.keypoints is not None]
    if not found:
        return sv.KeyPoints.empty()
    visible = np.stack([answer.keypoints.visible for answer in found])  # [N, 17]
    score = np.array([_known(answer.scores.keypoints) for answer in found], np.float32)
    return sv.KeyPoints(
        xy=np.stack([answer.keypoints.xy for answer in found]).astype(np.float32),
        keypoint_confidence=(visible * score[:, None]).astype(np.float32),
        detection_confidence=score,
        visible=visible,
        class_id=np.zeros(len(found), int),
        data={"class_name": np.array(["person"] * len(found))},
    )


def _listed(answers: "Answer | Sequence[Answer]") -> list["Answer"]:
    return list(answers) if isinstance(answers, list | tuple) else [answers]


def _supervision() -> Any:
    from ..utils.drawing import sv  # imported there without its warning; most exports do not need it

    return sv


def image_id(image: str) -> int | str:
    """COCO's id of a picture: 581857 of COCO_train2014_000000581857.jpg and, as RefCOCO has it, of ..._16.jpg."""
    number = re.fullmatch(r"COCO_[a-z]+[0-9]{4}_([0-9]+)(?:_[0-9]+)?|([0-9]+)", Path(image).stem)
    return int(number[1] or number[2]) if number else image
