"""How sure an answer is, part by part: raw from the network's distributions, then calibrated (docs/confidence.md)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..data.text import TextEncoder
from ..models.generated import Generated
from ..tasks.base import Task
from ..utils.boxes import box_area
from ..utils.keypoints import KEYPOINT_NAMES
from ..utils.parsing import CLASS_NAMES
from ..utils.symbols import BOX_SYMBOLS
from . import masses
from .parts import Parts

if TYPE_CHECKING:
    from torch import Tensor

EOS = 0  # column of `Task.kept_symbols`


class Reader:
    """Raw confidences of one answer. Each is None where generation kept no distributions."""

    def __init__(self, task: Task, generated: Generated, parts: Parts) -> None:
        """parts: the positions of the answer's symbols."""
        self._task, self._text, self._parts = task, task.text, parts
        self._ids, self._log_probs = generated.ids, generated.log_probs
        bins = len(task.vocabulary.bin_ids)
        kept = generated.distributions  # eos, bins, codes
        self._bins = None if kept is None else kept[:, 1 : 1 + bins]

    def box(self, first: int = 0) -> float | None:
        """Of the box whose four bins begin at position `first`."""
        if self._bins is None:
            return None
        return masses.box_mass(*self._chosen(list(range(first, first + BOX_SYMBOLS))))

    def keypoints(self, box_xyxy: np.ndarray, bin_px: tuple[float, float]) -> dict[str, float] | None:
        """Of keypoints that can be read, by name. box_xyxy: the answered box, image px; bin_px: image px of a bin."""
        if self._bins is None:
            return None
        positions = [k for k in self._parts.keypoints if int(self._ids[k]) in self._task.vocabulary.bin_ids]
        names = self._text.decode([int(self._ids[k]) for k in self._parts.keypoints]).split()
        if not names:
            return {}
        probabilities, bins = self._chosen(positions)
        distances = masses.right_distances([KEYPOINT_NAMES.index(name) for name in names], float(box_area(box_xyxy)))
        found = masses.keypoint_masses(
            probabilities.reshape(len(names), 2, -1), bins.reshape(-1, 2), distances_px=distances, bin_px=bin_px
        )
        return dict(zip(names, found, strict=True))

    def parts(self, overlaps: np.ndarray | None) -> dict[str, float] | None:
        """Of the drawn classes, by name, without the background. overlaps: float [classes], of `soft_overlaps`."""
        if overlaps is None:
            return None
        return {name: float(own) for name, own in zip(CLASS_NAMES[1:], overlaps[1:], strict=True) if own > 0}

    def caption(self) -> tuple[float, ...] | None:
        """Of each word."""
        if self._log_probs is None:
            return None
        pieces = self._parts.caption
        words = words_of([int(self._ids[k]) for k in pieces], self._text)
        return masses.word_probabilities(_exp(self._log_probs[pieces]).tolist(), words)

    def _chosen(self, positions: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities of all bins at some positions, [N, bins], and the numbers of the bins chosen there, [N]."""
        assert self._bins is not None
        bins = np.asarray(self._ids[positions]) - self._task.vocabulary.bin_ids.start
        return _exp(self._bins[positions]), bins


def _exp(values: Tensor | np.ndarray) -> np.ndarray:
    found: np.ndarray = np.exp(values) if isinstance(values, np.ndarray) else values.exp().numpy()
    return found


def somebody(generated: Generated) -> float | None:
    """Of an answer of `grec`: one minus the probability that it ends before its first box; None as in `Reader`."""
    if generated.distributions is None:
        return None
    return min(max(-math.expm1(float(generated.distributions[0, EOS])), 0.0), 1.0)


def words_of(pieces: list[int], text: TextEncoder) -> list[int]:
    """The word of each piece, as a place in the decoded text's `split()`. A piece of white space is the last word's."""
    last = len(text.decode(pieces).split()) - 1
    return [min(max(len(text.decode(pieces[: k + 1]).split()) - 1, 0), last) for k in range(len(pieces))]
