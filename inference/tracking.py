"""One person followed through the frames of a clip, by the overlap of boxes in neighbouring frames."""

from collections.abc import Sequence

import numpy as np

from ..utils.boxes import iou

SAME_PERSON = 0.3  # IoU of one person's boxes in neighbouring frames; people dance
PATIENCE = 15  # frames without the person after which whoever fits is followed
MARGIN = 0.5  # of the box's sides, around the window in which a person is looked for again


class Track:
    """Where the followed person was last seen: `box_xyxy` [4] px, or None for nobody yet or any more."""

    def __init__(self, box_xyxy: np.ndarray | None = None) -> None:
        self.box_xyxy, self._missed = box_xyxy, 0

    def follows(self, box_xyxy: np.ndarray | None) -> bool:
        """Whether a box is the followed person's, who then is where it is. Anybody is, where nobody is followed."""
        if box_xyxy is None or not (self.box_xyxy is None or overlap(self.box_xyxy, box_xyxy) >= SAME_PERSON):
            return False
        self.box_xyxy, self._missed = box_xyxy, 0
        return True

    def miss(self) -> None:
        """The person is not in a frame. After `PATIENCE` of them in a row, nobody is followed any more."""
        self._missed += 1
        if self._missed >= PATIENCE:
            self.box_xyxy, self._missed = None, 0

    def window(self, size_wh: tuple[int, int]) -> tuple[int, int, int, int] | None:
        """Where to look for the person in a picture of this size: x0, y0, x1, y1 in whole px around the last box."""
        if self.box_xyxy is None:
            return None
        first, last = self.box_xyxy[:2], self.box_xyxy[2:]
        margin = MARGIN * (last - first)
        x0, y0 = np.maximum(np.floor(first - margin), 0).astype(int).tolist()
        x1, y1 = np.minimum(np.ceil(last + margin), size_wh).astype(int).tolist()
        return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def overlap(one_xyxy: np.ndarray, other_xyxy: np.ndarray) -> float:
    """IoU of two boxes [4]."""
    return float(iou(one_xyxy[None], other_xyxy[None])[0])


def first_of_most(boxes: Sequence[np.ndarray | None], weights: Sequence[float]) -> np.ndarray | None:
    """With whom to begin: the first box of the person whose boxes, frame by frame, weigh most together.

    boxes: [4] px, one a frame, None without any. Frames about somebody else cost nothing: each box continues the chain
    whose last box it overlaps most, by `SAME_PERSON` or more, or begins one.
    """
    chains: list[tuple[np.ndarray, np.ndarray, float]] = []  # first box, last box, weight
    for box, weight in zip(boxes, weights, strict=True):
        if box is None:
            continue
        near = [overlap(last, box) for _, last, _ in chains]
        k = int(np.argmax(near)) if near else -1
        if k >= 0 and near[k] >= SAME_PERSON:
            chains[k] = (chains[k][0], box, chains[k][2] + weight)
        else:
            chains.append((box, box, weight))
    return max(chains, key=lambda chain: chain[2])[0] if chains else None
