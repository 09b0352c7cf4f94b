"""The person that an expression describes, asked about frame by frame and followed (docs/applications.md)."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from .answers import Answer, Confidence, Keypoints
from .joining import sure_enough
from .tracking import Track, first_of_most

Ask = Callable[[Sequence[Image.Image]], Sequence[Answer]]  # the same question about each picture
ELSEWHERE = "lost: in this frame the words fit somebody else better"
NOBODY = "lost: nobody is found in this frame"


class Follower:
    """Answers about one person in frames that come in order. A frame in which the person is not found has no box."""

    def __init__(self, ask: Ask, *, min_confidence: float = 0.0) -> None:
        """min_confidence: of a box, in 0..1; a less sure one counts as none."""
        self._ask, self._least, self._track = ask, min_confidence, Track()

    def answers(self, frames: Sequence[Image.Image]) -> list[Answer]:
        """An answer to each frame. All are asked together, those about somebody else again in a window around the
        person's last box.
        """
        found = [sure_enough(answer, self._least) for answer in self._ask(frames)]
        return [self._followed(k, frames[k], found) for k in range(len(frames))]

    def known(self, box_xyxy: Sequence[float] | None) -> None:
        """A frame that was answered earlier, with the box of its answer."""
        box = None if box_xyxy is None else np.asarray(box_xyxy, np.float32)
        if not self._track.follows(box):
            self._track.miss()

    def _followed(self, k: int, frame: Image.Image, found: Sequence[Answer]) -> Answer:
        if self._track.box_xyxy is None:
            rest = found[k:]
            weights = [answer.confidence.box or 0.0 for answer in rest]
            self._track = Track(first_of_most([answer.box_xyxy for answer in rest], weights))
        if self._track.follows(found[k].box_xyxy):
            return found[k]
        window = self._track.window(frame.size)
        if window is not None:
            (again,) = self._ask([frame.crop(window)])
            again = moved(sure_enough(again, self._least), window[:2], frame.size)
            if self._track.follows(again.box_xyxy):
                return again
        self._track.miss()
        return _lost(found[k])


def moved(answer: Answer, by_xy: tuple[int, int], size_wh: tuple[int, int]) -> Answer:
    """An answer about a part of a picture that begins at `by_xy`, as one about the picture of `size_wh` px."""
    offset, (left, top) = np.asarray(by_xy, np.float32), by_xy
    box, points, label_map = answer.box_xyxy, answer.keypoints, answer.label_map
    if points:
        points = Keypoints((points.xy + offset) * points.visible[:, None], points.visible)
    if label_map is not None:
        width, height = answer.size_wh
        label_map = np.zeros(size_wh[::-1], np.uint8)
        label_map[top : top + height, left : left + width] = answer.label_map
    return replace(
        answer,
        size_wh=size_wh,
        box_xyxy=None if box is None else box + np.tile(offset, 2),
        keypoints=points,
        label_map=label_map,
    )


def _lost(answer: Answer) -> Answer:
    """What is left of an answer about somebody else: its symbols, and how sure it was."""
    note = NOBODY if answer.box_xyxy is None else ELSEWHERE
    return Answer(
        answer.size_wh,
        False,
        answer.symbols,
        answer.text,
        confidence=Confidence(box=answer.confidence.box),
        notes=(note, *answer.notes),
        found=answer.found,
    )
