"""Answers as objects: box, keypoints, parts and caption of a person, in px of the upright picture.

What the model wrote is read strictly: a part that cannot be parsed is None, `valid` is False, and `notes` say why.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ..utils.keypoints import KEYPOINT_NAMES
from ..utils.parsing import CLASS_NAMES, encode_mask

Field = Literal["box", "keypoints", "parts", "caption"]
FIELDS: tuple[Field, ...] = ("box", "keypoints", "parts", "caption")
JudgedField = Field | Literal["found"]  # what is judged and calibrated: the fields of `Confidence`, and `Answer.found`
JUDGED_FIELDS: tuple[JudgedField, ...] = (*FIELDS, "found")


@dataclass(frozen=True)
class Keypoints:
    """COCO's 17 keypoints, in the order of `names`."""

    xy: np.ndarray  # float32 [17, 2] image px, (0, 0) where not visible
    visible: np.ndarray  # bool [17]: which ones the model named

    names = KEYPOINT_NAMES

    def __getitem__(self, name: str) -> tuple[float, float] | None:
        """A point by name, such as `keypoints["left_wrist"]`; None where it is not visible. Raises KeyError."""
        if name not in self.names:
            raise KeyError(f"{name!r} is not a keypoint: use one of {', '.join(self.names)}")
        k = self.names.index(name)
        return (float(self.xy[k, 0]), float(self.xy[k, 1])) if self.visible[k] else None

    def __iter__(self) -> Iterator[tuple[str, tuple[float, float] | None]]:
        """(name, point or None) of each keypoint."""
        return ((name, self[name]) for name in self.names)


@dataclass(frozen=True)
class Confidence:
    """Probability that each part of an answer is right, in 0..1; None where the answer has no such part.

    Right is a box with an IoU of at least 0.5, a keypoint whose term of OKS is at least 0.5, a part of the label map
    with an IoU of at least 0.5, a word that a reference has. Without calibration the numbers are raw: they rank
    answers, but are too high as probabilities.
    """

    box: float | None = None
    keypoints: Mapping[str, float] | None = None  # of the visible ones, by name
    parts: Mapping[str, float] | None = None  # by class
    caption: tuple[float, ...] | None = None  # of each word of `caption.split()`

    def points(self, field: Field) -> dict[str, float]:
        """The numbers of a field by name: names of keypoints or classes; a word's place; "" for the box."""
        value = getattr(self, field)
        if value is None:
            return {}
        if isinstance(value, Mapping):
            return dict(value)
        return {str(k): word for k, word in enumerate(value)} if isinstance(value, tuple) else {"": value}

    def mean(self, field: Field) -> float | None:
        """One number for a field, by which people can be ranked: the mean over its points; None without any."""
        found = list(self.points(field).values())
        return float(np.mean(found)) if found else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        keypoints, parts = (None if found is None else dict(found) for found in (self.keypoints, self.parts))
        caption = None if self.caption is None else list(self.caption)
        return {"box": self.box, "keypoints": keypoints, "parts": parts, "caption": caption}

    def adjusted(self, change: Callable[[Field, str, float], float]) -> "Confidence":
        """With `change(field, name, number)` in the place of each number."""
        new = {field: {n: change(field, n, v) for n, v in self.points(field).items()} for field in FIELDS}
        return Confidence(
            None if self.box is None else new["box"][""],
            None if self.keypoints is None else new["keypoints"],
            None if self.parts is None else new["parts"],
            None if self.caption is None else tuple(new["caption"].values()),
        )


@dataclass(frozen=True)
class Answer:
    """What the model says about a person. A part that was not asked for, or cannot be read, is None."""

    size_wh: tuple[int, int]  # of the upright picture, px
    valid: bool  # whether everything asked for was answered, and everything answered could be read
    symbols: tuple[str, ...]  # as written; of several tasks one after the other
    text: str  # the same as text: bins and codes as symbols, words decoded
    box_xyxy: np.ndarray | None = None  # float32 [4] image px, inside the picture, at least one pixel
    keypoints: Keypoints | None = None
    label_map: np.ndarray | None = None  # uint8 [H, W] of the picture, classes 0..19 of `parsing.CLASS_NAMES`
    caption: str | None = None
    confidence: Confidence = field(default_factory=Confidence)
    notes: tuple[str, ...] = ()  # what went wrong
    found: float | None = None  # probability that such a person is there; None if the model has not learned `grec`

    @property
    def parts(self) -> dict[str, np.ndarray]:
        """Masks of the parts in the label map, bool [H, W], by name; without the background."""
        if self.label_map is None:
            return {}
        shown = np.flatnonzero(np.bincount(self.label_map.ravel(), minlength=len(CLASS_NAMES)))
        return {CLASS_NAMES[label]: self.label_map == label for label in shown if label}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, named as the fields; parts as COCO's run lengths."""
        points, parts = self.keypoints, {name: encode_mask(mask) for name, mask in self.parts.items()}
        rows = () if points is None else zip(points.names, points.xy.tolist(), points.visible.tolist(), strict=True)
        keypoints = [{"name": name, "x": x, "y": y, "visible": visible} for name, (x, y), visible in rows]
        return {
            "valid": self.valid,
            "notes": list(self.notes),
            "size": list(self.size_wh),
            "box": None if self.box_xyxy is None else self.box_xyxy.tolist(),
            "keypoints": None if points is None else keypoints,
            "parts": None if self.label_map is None else parts,
            "caption": self.caption,
            "confidence": self.confidence.to_dict(),
            "found": self.found,
            "text": self.text,
            "symbols": list(self.symbols),
        }

    def to_json(self, *, indent: int | None = None) -> str:
        """`to_dict` as JSON. Raises ValueError for NaN."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False, indent=indent)
