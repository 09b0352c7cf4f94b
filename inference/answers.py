"""Answers as objects: box, keypoints, parts and caption of a person, in px of the upright picture.

What the model wrote is read strictly: a part that cannot be parsed is missing, `valid` is False, and `notes` say why.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, NoReturn

import numpy as np

from ..utils.errors import UserError, shown
from ..utils.keypoints import KEYPOINT_NAMES
from ..utils.parsing import CLASS_NAMES, encode_mask

Field = Literal["box", "keypoints", "parts", "caption"]
FIELDS: tuple[Field, ...] = ("box", "keypoints", "parts", "caption")
JudgedField = Field | Literal["found"]  # what is judged and calibrated: the fields of `Confidence`, and `Answer.found`
JUDGED_FIELDS: tuple[JudgedField, ...] = (*FIELDS, "found")


@dataclass(frozen=True, eq=False, repr=False)
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

    def __repr__(self) -> str:
        points = [f"{name} ({point[0]:.0f}, {point[1]:.0f})" for name, point in self if point]
        return f"Keypoints({', '.join(points) or 'none visible'})"

    def __eq__(self, other: object) -> bool:
        return _same(self, other) if isinstance(other, Keypoints) else NotImplemented

    def __hash__(self) -> int:
        return hash((*self.xy.ravel().tolist(), *self.visible.tolist()))


@dataclass(frozen=True)
class NoKeypoints:
    """In the place of keypoints that an answer does not have: false, equal to None, and every use says what to do."""

    notes: tuple[str, ...] = ()  # the answer's

    def __bool__(self) -> Literal[False]:
        return False

    def __eq__(self, other: object) -> bool:
        return other is None or isinstance(other, NoKeypoints)

    def __hash__(self) -> int:
        return hash(None)

    def __repr__(self) -> str:
        return "None"

    def __getitem__(self, name: str) -> NoReturn:
        self._refuse()

    def __iter__(self) -> Iterator[NoReturn]:
        self._refuse()

    @property
    def xy(self) -> NoReturn:
        """UserError."""
        self._refuse()

    @property
    def visible(self) -> NoReturn:
        """UserError."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise UserError(f"keypoints: the answer has none; {_remedy('keypoints', self.notes)}")


class Masks(dict[str, np.ndarray]):
    """Masks by part; a part that is not there is a KeyError that says why."""

    def __init__(self, masks: Mapping[str, np.ndarray], *, why: str) -> None:
        super().__init__(masks)
        self._why = why

    def __missing__(self, name: str) -> NoReturn:
        if name not in CLASS_NAMES[1:]:
            raise KeyError(f"{name!r} is not a part: use one of {', '.join(CLASS_NAMES[1:])}")
        raise KeyError(f"{name}: {self._why}")


def _remedy(keyword: str, notes: tuple[str, ...]) -> str:
    """What to do about an answer without the part that a keyword asks for."""
    ask = f"ask with {keyword}=True"
    return f"{ask}; its notes: {'; '.join(notes)}" if notes else ask


def _same(one: Any, other: Any) -> bool:
    """Whether all fields that count of two objects of one dataclass are equal, arrays by value."""
    return all(_equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(one) if f.compare)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return one is not None and other is not None and np.array_equal(one, other)
    return bool(one == other)


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

    def __hash__(self) -> int:
        return hash((self.box, self.caption))  # the others are dictionaries

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


@dataclass(frozen=True, eq=False, repr=False)
class Answer:
    """What the model says about a person. A part that was not asked for, or cannot be read, is None; `keypoints`, which
    one is likely to look into, are false then, and say on any use how to ask for them.
    """

    size_wh: tuple[int, int]  # of the upright picture, px
    valid: bool  # whether everything asked for was answered, and everything answered could be read
    symbols: tuple[str, ...]  # as written; of several tasks one after the other
    text: str  # the same as text: bins and codes as symbols, words decoded
    box_xyxy: np.ndarray | None = None  # float32 [4] image px, inside the picture, at least one pixel
    keypoints: Keypoints | NoKeypoints = NoKeypoints()
    label_map: np.ndarray | None = None  # uint8 [H, W] of the picture, classes 0..19 of `parsing.CLASS_NAMES`
    caption: str | None = None
    confidence: Confidence = field(default_factory=Confidence)
    notes: tuple[str, ...] = ()  # what went wrong
    found: float | None = None  # probability that such a person is there; None if the model has not learned `grec`
    picture: str | None = field(default=None, compare=False)  # the file that was asked about, for notebooks

    def __post_init__(self) -> None:
        if not isinstance(self.keypoints, Keypoints):  # None, or of another answer by `replace`
            object.__setattr__(self, "keypoints", NoKeypoints(self.notes))

    @property
    def parts(self) -> dict[str, np.ndarray]:
        """Masks of the parts in the label map, bool [H, W], by name; without the background."""
        if self.label_map is None:
            return Masks({}, why=f"the answer has no parts; {_remedy('parsing', self.notes)}")
        counts = np.bincount(self.label_map.ravel(), minlength=len(CLASS_NAMES))
        masks = {CLASS_NAMES[label]: self.label_map == label for label in np.flatnonzero(counts) if label}
        return Masks(masks, why=f"the person shows none; there are {', '.join(masks) or 'no parts at all'}")

    def __repr__(self) -> str:
        return f"Answer({', '.join(self._facts())})"

    def _facts(self) -> Iterator[str]:
        if self.box_xyxy is not None:
            yield f"box=({', '.join(f'{edge:.0f}' for edge in self.box_xyxy.tolist())})"
        if self.keypoints:
            yield f"{int(self.keypoints.visible.sum())} keypoints"
        if self.label_map is not None:
            yield f"{len(self.parts)} parts"
        if self.caption is not None:
            yield f"caption={shown(self.caption)}"
        mean = self.confidence.mean("caption") if self.box_xyxy is None else self.confidence.box
        if mean is not None:
            yield f"confidence {_share(mean)}"
        if self.found is not None:
            yield f"found {_share(self.found)}"
        if not self.valid:
            yield "not valid" + f": {self.notes[0]}" * bool(self.notes)

    def __eq__(self, other: object) -> bool:
        return _same(self, other) if isinstance(other, Answer) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.size_wh, self.valid, self.symbols, self.text, self.caption))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, named as the fields; parts as COCO's run lengths."""
        points, parts = self.keypoints, {name: encode_mask(mask) for name, mask in self.parts.items()}
        rows = zip(points.names, points.xy.tolist(), points.visible.tolist(), strict=True) if points else ()
        keypoints = [{"name": name, "x": x, "y": y, "visible": visible} for name, (x, y), visible in rows]
        return {
            "valid": self.valid,
            "notes": list(self.notes),
            "size": list(self.size_wh),
            "box": None if self.box_xyxy is None else self.box_xyxy.tolist(),
            "keypoints": keypoints if points else None,
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

    def _repr_html_(self) -> str:
        """For notebooks: the answer drawn, on its picture if that is a file which can be opened, and in words."""
        from .notebooks import figure  # late: it draws, which needs more libraries than asking

        points = self.keypoints.xy if self.keypoints else None
        person = {"box_xyxy": self.box_xyxy, "keypoints": points, "label_map": self.label_map}
        return figure(self.picture, person, size_wh=self.size_wh, line=repr(self))


def _share(value: float) -> str:
    """A number in 0..1 as .97, and 1.00."""
    return f"{value:.2f}".removeprefix("0")
