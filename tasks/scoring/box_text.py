"""Boxes as other models write them: which frame their numbers count in, and boxes in text (docs/scoring.md)."""

import re
from dataclasses import dataclass

import numpy as np

from ...utils.errors import UserError

ORDERS = {"xyxy": (0, 1, 2, 3), "yxyx": (1, 0, 3, 2), "xywh": (0, 1, 2, 3)}
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_SYMBOL = re.compile(r"<\|?(?:loc|bin|coord|box)_?(\d+)\|?>")
_KEYED = re.compile(r'"(?:bbox_2d|bbox|box)"\s*:\s*\[([^\[\]]*)\]')
_RUN = re.compile(rf"{_NUMBER}(?:[\s,;()\[\]]+{_NUMBER})*")
_NOBODY = ("", "[]", "none", "no", "null")


@dataclass(frozen=True)
class Coordinates:
    """How a model counts. scale: of the side; None: image px. half: added to a symbol's number, which names a cell."""

    name: str = "pixels"
    scale: float | None = None
    half: float = 0.0
    order: str = "xyxy"

    @classmethod
    def parse(cls, text: str) -> "Coordinates":
        """Of the flag: FRAME or FRAME:ORDER. Raises UserError."""
        frame, _, order = text.partition(":")
        known = _FRAMES.get(frame)
        if known is None and re.fullmatch(r"[1-9]\d*(\.\d+)?", frame):
            known = cls(frame, float(frame))
        if known is None or order not in ("", *ORDERS):
            raise UserError(
                f"--coordinates {text}: expected FRAME or FRAME:ORDER; FRAME is {', '.join(_FRAMES)} or the "
                f"number that stands for the whole side, such as 1, 1000 or 1024; ORDER is {', '.join(ORDERS)}"
            )
        return cls(known.name, known.scale, known.half, order or known.order)

    @property
    def needs_size(self) -> bool:
        """Whether the picture's size must be known."""
        return self.scale is not None

    def boxes(self, numbers: np.ndarray, size_wh: tuple[int, int] | None) -> np.ndarray:
        """Numbers [K, 4] -> boxes x0, y0, x1, y1 in image px, float64 [K, 4]."""
        boxes = self.points(numbers.reshape(-1, 4)[:, ORDERS[self.order]].reshape(-1, 2), size_wh).reshape(-1, 4)
        if self.order == "xywh":
            boxes[:, 2:] += boxes[:, :2]
        return boxes

    def points(self, numbers: np.ndarray, size_wh: tuple[int, int] | None) -> np.ndarray:
        """Points x, y [K, 2] -> image px, float64 [K, 2]."""
        points = np.array(numbers, np.float64)
        if self.scale is None:
            return points
        if size_wh is None:
            raise ValueError(f"coordinates {self.name} need the picture's size")
        return (points + self.half) / self.scale * np.array(size_wh, np.float64)


_FRAMES = {
    "pixels": Coordinates(),
    "florence-2": Coordinates("florence-2", 1000.0, 0.5),  # <loc_0>..<loc_999>: the middle of a cell
    "paligemma": Coordinates("paligemma", 1024.0, order="yxyx"),  # <loc0000>..<loc1023>
    "qwen": Coordinates("qwen", 1000.0),  # Qwen2-VL and Qwen3-VL; Qwen2.5-VL writes px of the picture that it was given
}


def boxes_in(text: str) -> np.ndarray | None:
    """The numbers of the boxes in a text, float64 [K, 4], in the text's own frame; None if it cannot be read.

    Location symbols, JSON with "bbox_2d", "bbox" or "box", or plain numbers. An empty text, [] and "none" name nobody.
    """
    found = [match.group(1) for match in _SYMBOL.finditer(text)]
    if not found and (keyed := _KEYED.findall(text)):
        runs = [re.findall(_NUMBER, numbers) for numbers in keyed]
        found = [number for run in runs for number in run] if all(len(run) == 4 for run in runs) else ["0"]
    if not found:
        bare = text.replace("```json", "").replace("```", "").strip().strip(".").lower()
        if bare in _NOBODY:
            return np.zeros((0, 4))
        runs = [re.findall(_NUMBER, run) for run in _RUN.findall(text)]
        runs = [run for run in runs if len(run) > 1]  # a number by itself counts people
        found = [number for run in runs for number in run] if all(len(run) % 4 == 0 for run in runs) else []
    if not found or len(found) % 4:
        return None
    return np.array(found, np.float64).reshape(-1, 4)


def has_symbols(text: str) -> bool:
    """Whether boxes are written in location symbols, which are never px."""
    return _SYMBOL.search(text) is not None
