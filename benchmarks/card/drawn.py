"""Accuracy of the shipped model on drawn people in each number format, side by side."""

from collections.abc import Iterator
from functools import partial
from itertools import count, islice
from typing import Any

import numpy as np
from PIL import Image

from ...data.synthetic.language.expressions import expressions_for, names_in
from ...data.synthetic.picture.scene import sample_scene
from ...data.synthetic.picture.views import View
from ...data.synthetic.writer import scene_random
from ...inference.answers import Answer
from ...inference.loading import load
from ...utils.boxes import box_hits
from ...utils.keypoints import oks
from ...utils.parsing import confusion_matrix, segmentation_scores
from .settings import Part, allow_tf32, formats

SEED = 2  # of the world that checkpoints/synthetic/README.md measures


def run(part: Part) -> None:
    """One row for each number format; float32 without TF32 comes first, the others are compared with it."""
    pictures, texts, people = (list(each) for each in zip(*islice(_asked(), part.size.drawn), strict=True))
    reference: list[Answer] = []

    def measure(form: str) -> dict[str, Any]:
        allow_tf32(form == "tf32")
        dtype = "float32" if form == "tf32" else form
        model = load(device=part.device, dtype=dtype)
        answers = model.refer(pictures, texts, keypoints=True, parsing=True)
        reference.extend([] if reference else answers)
        return {"format": form, "people": len(people)} | _scores(answers, people) | _same(answers, reference)

    part.each({form: partial(measure, form) for form in formats(part.device)})


def _asked() -> Iterator[tuple[Image.Image, str, View]]:
    """People who are not alone: (picture, expression, truth)."""
    for index in count():
        rng = scene_random(SEED, "test", index)
        scene = sample_scene(rng)
        said = expressions_for(scene, 0, rng, names=names_in(scene, rng), count=1)
        if len(scene.views) > 1 and said:
            yield scene.picture, said[0].text, scene.views[0]


def _scores(answers: list[Answer], people: list[View]) -> dict[str, Any]:
    """Shares of boxes with an IoU and of poses with an OKS of at least 0.5, and mIoU; what is missing is wrong."""
    boxes = np.array([person.box_xyxy for person in people])
    found = np.stack([np.zeros(4) if answer.box_xyxy is None else answer.box_xyxy for answer in answers])
    poses = [np.zeros((17, 2)) if not answer.keypoints else answer.keypoints.xy for answer in answers]
    confusion = sum(
        confusion_matrix(_map(answer, person), label=person.label_map)
        for answer, person in zip(answers, people, strict=True)
    )
    labels = np.stack([person.keypoints for person in people])
    return {
        "box_hits": float(box_hits(found, boxes).mean()),
        "oks_hits": float((oks(np.stack(poses), labels, boxes) >= 0.5).mean()),
        "miou": float(segmentation_scores(confusion)["miou"]),
    }


def _map(answer: Answer, person: View) -> np.ndarray:
    return np.zeros_like(person.label_map) if answer.label_map is None else answer.label_map


def _same(answers: list[Answer], reference: list[Answer]) -> dict[str, float]:
    """Shares of float32's numbers (box and keypoints, image px) and of its pixels' labels that are the same here."""
    numbers = [_numbers(answer) == _numbers(other) for answer, other in zip(answers, reference, strict=True)]
    maps = [
        float((a.label_map == b.label_map).mean()) if a.label_map is not None and b.label_map is not None else 0.0
        for a, b in zip(answers, reference, strict=True)
    ]
    return {"same_numbers": float(np.mean(numbers)), "same_labels": float(np.mean(maps))}


def _numbers(answer: Answer) -> np.ndarray:
    """float [38], NaN where there are none."""
    box = np.full(4, np.nan) if answer.box_xyxy is None else answer.box_xyxy
    poses = np.full((17, 2), np.nan) if not answer.keypoints else answer.keypoints.xy
    return np.concatenate([box, poses.ravel()])
