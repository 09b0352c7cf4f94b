"""One line of the file of answers (`records.py`): checked when it is read, and made an answer again."""

import json
import os
from typing import Any

import numpy as np
from pycocotools import mask as coco

from ....data.pictures import MAX_PIXELS
from ....inference.answers import FIELDS as FIELDS_OF_CONFIDENCE
from ....inference.answers import Answer, Confidence, Keypoints, NoKeypoints
from ....utils.errors import DataError
from ....utils.keypoints import KEYPOINT_NAMES, NUM_KEYPOINTS
from ....utils.parsing import CLASS_NAMES

Record = dict[str, Any]
FARTHEST = 1e6  # px, beyond any picture's side
FIELDS = {"valid", "notes", "size", "box", "keypoints", "parts", "caption", "confidence", "text", "symbols"}


def parsed(line: bytes) -> Record | None:
    """The record of a whole line, or None where `answer_of` or an export could not read it."""
    try:
        record: Any = json.loads(line) if line.endswith(b"\n") else None
        os.fsencode(record["image"])
    except (ValueError, RecursionError, TypeError, LookupError):
        return None
    if "error" in record:
        answer = isinstance(record["error"], str)
    else:
        answer = _are_people(record) if "people" in record else _is_answer(record)
    about = isinstance(record.get("model"), str) and isinstance(record.get("picture"), str | None)
    return record if answer and about and _is_question(record.get("question")) else None


def _is_question(question: Any) -> bool:
    values = question.values() if isinstance(question, dict) else ()
    return bool(values) and all(
        isinstance(value, str | bool) or _are_shares([value]) or _are_numbers(value, 4) for value in values
    )


def _are_people(record: Record) -> bool:
    people, notes = record["people"], record.get("notes")
    return (
        isinstance(people, list)
        and all(isinstance(person, dict) and _is_answer(person) for person in people)
        and isinstance(notes, list)
        and all(isinstance(note, str) for note in notes)
    )


def _is_answer(record: Record) -> bool:
    """Whether the fields are those of `Answer.to_dict`. Masks are not decoded, which takes long."""
    if not (record.keys() >= FIELDS and _are_numbers(record["size"], 2)):
        return False
    width, height = record["size"]
    points, parts = record["keypoints"], record["parts"]
    words = record["notes"], record["symbols"]
    return (
        all(isinstance(side, int) and side > 0 for side in (width, height))
        and width * height <= MAX_PIXELS
        and isinstance(record["valid"], bool)
        and isinstance(record["text"], str)
        and isinstance(record["caption"], str | None)
        and all(isinstance(each, list) and all(isinstance(word, str) for word in each) for each in words)
        and (record["box"] is None or _are_numbers(record["box"], 4))
        and (
            points is None
            or (isinstance(points, list) and len(points) == NUM_KEYPOINTS and all(map(_is_point, points)))
        )
        and (
            parts is None
            or (isinstance(parts, dict) and all(_is_part(*part, record["size"]) for part in parts.items()))
        )
        and _is_confidence(record["confidence"])
        and _are_shares([] if record.get("found") is None else [record["found"]])
    )


def _is_confidence(confidence: Any) -> bool:
    if not isinstance(confidence, dict) or confidence.keys() != set(FIELDS_OF_CONFIDENCE):
        return False
    box, keypoints, parts, caption = (confidence[field] for field in FIELDS_OF_CONFIDENCE)
    named = ((keypoints, KEYPOINT_NAMES), (parts, CLASS_NAMES))
    return (
        _are_shares([] if box is None else [box])
        and all(
            found is None
            or (isinstance(found, dict) and found.keys() <= set(known) and _are_shares(list(found.values())))
            for found, known in named
        )
        and (caption is None or _are_shares(caption))
    )


def _are_shares(values: Any) -> bool:
    return _are_numbers(values) and all(0 <= number <= 1 for number in values)


def _is_point(point: Any) -> bool:
    xy = [point.get("x"), point.get("y")] if isinstance(point, dict) else []
    return _are_numbers(xy, 2) and isinstance(point.get("visible"), bool)


def _is_part(name: str, mask: Any, size_wh: list[int]) -> bool:
    known = name in CLASS_NAMES and isinstance(mask, dict)
    return known and mask.get("size") == size_wh[::-1] and isinstance(mask.get("counts"), str)


def _are_numbers(values: Any, count: int | None = None) -> bool:
    """Whether it is a list of finite numbers, of this length."""
    return (
        isinstance(values, list)
        and len(values) == (len(values) if count is None else count)
        and all(type(number) in (int, float) and abs(number) <= FARTHEST for number in values)
    )


def answer_of(record: Record) -> Answer:
    """The answer on a line: the inverse of `Answer.to_dict`. DataError for a mask that is none."""
    width, height = record["size"]
    label_map, keypoints = None, None
    if record["parts"] is not None:
        label_map = np.zeros((height, width), np.uint8)
        for name in record["parts"]:
            label_map[_decoded(record, name)] = CLASS_NAMES.index(name)
    if record["keypoints"] is not None:
        points = record["keypoints"]
        xy = np.array([[point["x"], point["y"]] for point in points], np.float32)
        keypoints = Keypoints(xy, np.array([point["visible"] for point in points]))
    sure = record["confidence"]
    words = sure["caption"]
    return Answer(
        size_wh=(width, height),
        valid=record["valid"],
        symbols=tuple(record["symbols"]),
        text=record["text"],
        box_xyxy=None if record["box"] is None else np.array(record["box"], np.float32),
        keypoints=keypoints or NoKeypoints(),
        label_map=label_map,
        caption=record["caption"],
        confidence=Confidence(**sure | {"caption": None if words is None else tuple(words)}),
        found=record.get("found"),
        notes=tuple(record["notes"]),
    )


def _decoded(record: Record, part: str) -> np.ndarray:
    """bool [H, W]: the inverse of `encode_mask`. DataError for anything else."""
    mask, problem = record["parts"][part], None
    try:
        found = coco.decode(mask)
        # pycocotools leaves pixels after the last run as they were in memory
        if coco.encode(found)["counts"] == mask["counts"].encode():
            return found.astype(bool)
    except ValueError as error:
        problem = error
    raise DataError(f"{record['image']}: {part} in its line of --out is no mask; remove the line") from problem
