"""Joined answers and labels -> the metrics of the task, and how good each row is (docs/scoring.md)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...utils.boxes import box_hits
from ...utils.captions import clean
from ...utils.cider import CachedFrequencies, cider_d
from ...utils.keypoints import NUM_KEYPOINTS, oks
from ...utils.metrics import (
    Metrics,
    box_metrics,
    caption_metrics,
    keypoint_metrics,
    label_map_metrics,
    means,
)
from .answers import Answer
from .labels import Labels

Answers = Sequence[Answer | None]


@dataclass(frozen=True)
class Measured:
    """metrics: of all rows. quality: float64 [N] in 0..1, of each row, named `of`. remarks: what cannot be scored."""

    metrics: list[Metrics]
    quality: np.ndarray
    of: str
    remarks: tuple[str, ...] = ()


def first_boxes(answers: Answers) -> tuple[np.ndarray, str]:
    """Each answer's first box, float32 [N, 4], zeros without one; and a remark where some have more."""
    boxes = np.zeros((len(answers), 4), np.float32)
    several = 0
    for k, answer in enumerate(answers):
        if answer is not None and answer.boxes is not None and len(answer.boxes):
            boxes[k] = answer.boxes[0]
            several += len(answer.boxes) > 1
    return boxes, f"{several} answers have several boxes; the first one counts" if several else ""


def _box_hits(answers: Answers, labels: Labels) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Which first boxes are right, bool [N]; None if no answer names boxes."""
    if all(answer is None or answer.boxes is None for answer in answers):
        return None, ("the answers have no boxes: box accuracy is not scored",)
    boxes, remark = first_boxes(answers)
    return box_hits(boxes, np.stack(labels.boxes)), (remark,) if remark else ()


def measure_boxes(answers: Answers, labels: Labels) -> Measured:
    """REC."""
    boxes, remark = first_boxes(answers)
    hits = box_hits(boxes, np.stack(labels.boxes))
    return Measured(box_metrics(hits), hits.astype(np.float64), "box right at IoU 0.5", (remark,) if remark else ())


def measure_keypoints(answers: Answers, labels: Labels) -> Measured:
    """RKpt. Unless every answer has a score, all rank alike."""
    hits, remarks = _box_hits(answers, labels)
    points = np.zeros((len(answers), NUM_KEYPOINTS, 2))
    there = np.zeros(len(answers), bool)
    scores = np.zeros(len(answers))
    for k, answer in enumerate(answers):
        if answer is not None and answer.keypoints is not None:
            points[k], there[k] = answer.keypoints, True
            scores[k] = np.nan if answer.score is None else answer.score
    if np.isnan(scores).any():
        scores = np.ones(len(answers))
        remarks = (*remarks, "not every answer has a score: average precision ranks all alike, in the table's order")
    label, boxes = np.stack(labels.keypoints), np.stack(labels.boxes)
    similarity = np.where(there, oks(points, label.reshape(points.shape), boxes), 0)
    metrics = keypoint_metrics(
        hits, similarity, prediction=points, label=label, box_xyxy=boxes, scores=scores, answered=there
    )
    return Measured(metrics, similarity.astype(np.float64), "OKS", remarks)


def measure_captions(answers: Answers, labels: Labels, frequencies: CachedFrequencies | None = None) -> Measured:
    """RHrc: a missing caption is an empty one."""
    captions = [clean(answer.caption or "") if answer is not None else "" for answer in answers]
    scores = cider_d(captions, labels.references, document_frequency=frequencies or "corpus").scores
    return Measured(caption_metrics(scores), scores / 10, "CIDEr-D / 10")


def measure_label_maps(
    answers: Answers, labels: Labels, confusions: Callable[[Answers, Labels], np.ndarray | None]
) -> Measured:
    """RPar. confusions: of each row with its label map, [N, 20, 20]; None where the maps cannot be had."""
    hits, remarks = _box_hits(answers, labels)
    found = confusions(answers, labels)
    if found is None:
        remark = "the answers hold codes: add --vq-config and --vq-ckpt to score their parsing maps (needs torch)"
        known = np.zeros(len(answers), bool) if hits is None else hits
        boxes: list[Metrics] = [] if hits is None else [means(box_score=hits)]
        return Measured(boxes, known.astype(np.float64), "box right at IoU 0.5", (*remarks, remark))
    right = found[:, np.arange(1, 20), np.arange(1, 20)].sum(-1)
    union = found.sum((1, 2)) - found[:, 0, 0]
    quality = right / np.maximum(union, 1)
    return Measured(label_map_metrics(hits, found), quality, "share of the person's pixels that are right", remarks)
