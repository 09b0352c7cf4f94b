"""What the model wrote, read strictly: which symbols say what, and the `Answer` that they make."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..data.annotation import Labels, Prediction
from ..data.canvas import Placed
from ..models.generated import Generated
from ..tasks.base import Task
from ..utils.boxes import clip_box
from ..utils.keypoints import visible_keypoints
from ..utils.parsing import CLASS_NAMES, paste_label_map
from .answers import Answer, Confidence, Keypoints, NoKeypoints
from .confidence import Reader
from .parts import keypoints_problem, parsing_problem, split

if TYPE_CHECKING:
    from ..models.refhcm.encoder import ImageFeatures


class Context(NamedTuple):
    """What an answer is about: the picture's size, the picture on the canvas, and its features."""

    size_wh: tuple[int, int]
    placed: Placed
    image_features: ImageFeatures | np.ndarray  # ndarray [1, h * w, D] without torch

    @property
    def ratios(self) -> Labels:
        """Canvas px for each image px in x and in y, as in a row of a batch."""
        return {"w_resize_ratios": self.placed.w_resize_ratio, "h_resize_ratios": self.placed.h_resize_ratio}


def read(
    task: Task, generated: Generated, prediction: Prediction, *, size_wh: tuple[int, int], ratios: Labels
) -> Answer:
    """The answer in image px, its confidence raw. prediction: what the task has read of the ids, on the canvas.

    size_wh: of the picture; ratios: its `w_resize_ratios` and `h_resize_ratios`, as in a row of a batch.
    """
    ids = generated.ids.tolist()
    parts = split(ids, task.text)
    problems, notes = [], []
    box = points = label_map = caption = None
    if prediction.caption is None:
        box, problem = read_box(task.box_in_image(prediction, ratios) if parts.box else None, size_wh)
        problems += [f"box: {problem}"] if problem else []
    elif parts.caption and not parts.other and prediction.valid:
        caption = prediction.caption
    else:
        problems.append("caption: needs words and nothing else")
    if box is not None and prediction.keypoints is not None:
        problem = keypoints_problem(ids, parts, task.text)
        problems += [f"keypoints: {problem}"] if problem else []
        xy = task.in_image(prediction.keypoints, ratios).reshape(-1, 2)
        points = None if problem else Keypoints(xy, visible_keypoints(xy))
    if box is not None and prediction.codes is not None:
        problem = parsing_problem(ids, parts, task)
        problems += [f"parsing map: {problem}"] if problem else []
        if prediction.label_map is not None and not problem:
            in_picture = paste_label_map(prediction.label_map, box.tolist(), size_wh)
            label_map = in_picture.astype(np.uint8)
        elif not problem:
            notes.append("parsing map: no tokenizer is loaded, so its codes stay symbols")
    stray = parts.other + (parts.keypoints if prediction.keypoints is None else [])
    if stray and box is not None:
        problems.append(f"{len(stray)} symbols belong to no part, first {task.vocabulary[ids[stray[0]]]}")
    found = Reader(task, generated, parts)
    sure = None if box is None else found.box()
    bin_px = task.in_image(np.full(2, task.canvas_size / (task.vocabulary.num_bins - 1)), ratios)
    named = None if box is None or points is None else found.keypoints(box, (float(bin_px[0]), float(bin_px[1])))
    if named is not None and points is not None:
        named = {name: own for name, own in named.items() if points[name] is not None}
    confidence = Confidence(
        box=sure,
        keypoints=_of_person(named, sure),
        parts=None if label_map is None else _of_person(_shown(found.parts(prediction.part_overlaps), label_map), sure),
        caption=None if caption is None else found.caption(),
    )
    return Answer(
        size_wh,
        valid=not problems,
        symbols=tuple(task.vocabulary[symbol] for symbol in ids),
        text=task.text.transcribe(ids),
        box_xyxy=box,
        keypoints=points or NoKeypoints(),
        label_map=label_map,
        caption=caption,
        confidence=confidence,
        notes=(*problems, *notes),
    )


def read_box(box_xyxy: np.ndarray | None, size_wh: tuple[int, int]) -> tuple[np.ndarray | None, str | None]:
    """The box inside the picture, or why there is none. Where corners share a bin, the box is one pixel."""
    if box_xyxy is None:
        return None, "the answer does not begin with four bins"
    if (box_xyxy[2:] < box_xyxy[:2]).any():
        return None, "its second corner is left of or above its first"
    return clip_box(box_xyxy, size_wh), None


def _of_person(found: dict[str, float] | None, box: float | None) -> dict[str, float] | None:
    """Times the box's: points and parts of another person are not right."""
    return None if found is None or box is None else {name: own * box for name, own in found.items()}


def _shown(found: dict[str, float] | None, label_map: np.ndarray) -> dict[str, float] | None:
    """Without the classes that a small box leaves no pixel of."""
    labels = set(np.unique(label_map).tolist())
    return None if found is None else {name: own for name, own in found.items() if CLASS_NAMES.index(name) in labels}
