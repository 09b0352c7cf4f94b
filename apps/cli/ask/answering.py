"""Asks a model all questions of `refhcm ask`, batch by batch. A question that fails becomes an error line."""

from collections.abc import Sequence
from itertools import islice

import torch
from PIL import Image
from tqdm import tqdm

from ....data.pictures import open_picture
from ....inference.joining import sure_enough
from ....inference.predictor import Predictor
from ....utils.errors import DataError, UserError
from .questions import Job
from .records import Found, Records


def ask(model: Predictor, jobs: Sequence[Job], images: Sequence[Image.Image]) -> Sequence[Found]:
    """The answers to questions of one kind."""
    first = jobs[0].asked
    if "instruct" in first:
        return model.instruct(images, [job.asked["instruct"] for job in jobs])
    if "describe" in first:
        return model.describe(images, [job.asked["describe"] for job in jobs])
    least = first.get("min_confidence", 0.0)
    parts = {name: first.get(name, False) for name in ("keypoints", "parsing", "caption")}
    if "find" in first:
        return model.find(images, [job.asked["find"] for job in jobs], **parts, min_confidence=least)
    parallel = first.get("parallel", False)
    answers = model.refer(images, [job.asked["refer"] for job in jobs], **parts, parallel=parallel)
    return [sure_enough(answer, least) for answer in answers]


def answer_batch(model: Predictor, jobs: Sequence[Job]) -> list[Found | str]:
    """An answer to each question, or why there is none. A picture with several questions is opened once."""
    opened = {image: _open(image) for image in {job.image for job in jobs}}
    return answer_opened(model, jobs, [opened[job.image] for job in jobs])


def answer_opened(model: Predictor, jobs: Sequence[Job], images: Sequence[Image.Image | str]) -> list[Found | str]:
    """The same with opened pictures. images: each job's; a text says why there is none."""
    found: dict[int, Found | str] = {}  # by the question's place in the batch
    kinds: dict[str, list[int]] = {}
    for k, (job, image) in enumerate(zip(jobs, images, strict=True)):
        if isinstance(image, str):
            found[k] = image
        else:
            kinds.setdefault(next(iter(job.asked)), []).append(k)
    for places in kinds.values():
        opened = [image for k in places if not isinstance(image := images[k], str)]
        found |= zip(places, _answers(model, [jobs[k] for k in places], opened), strict=True)
    return [found[k] for k in range(len(jobs))]


def _open(path: str) -> Image.Image | str:
    try:
        return open_picture(path)
    except DataError as error:
        return str(error)


def _answers(model: Predictor, jobs: Sequence[Job], images: Sequence[Image.Image]) -> list[Found | str]:
    """The answers; each question is asked alone if the batch is too large, or if one of them cannot be asked."""
    try:
        return list(ask(model, jobs, images))
    except (UserError, torch.OutOfMemoryError) as error:
        if len(jobs) == 1:
            return [str(error).splitlines()[0]]
    return [_answers(model, [job], [image])[0] for job, image in zip(jobs, images, strict=True)]


def answer_all(model: Predictor, records: Records, jobs: Sequence[Job], *, name: str, done: int) -> int:
    """Writes a line for each question, with `name` as the model's; the number of errors. done: answered before."""
    errors, rest = 0, iter(jobs)
    with tqdm(total=done + len(jobs), initial=done, desc="ask", unit="question") as bar:
        while batch := list(islice(rest, model.batch_size)):
            for job in batch:
                records.mark(job.image)  # before the picture is opened, as another one may take its place
            for job, found in zip(batch, answer_batch(model, batch), strict=True):
                records.add(job, name, found, notes=model.notes)
                errors += isinstance(found, str)
            bar.update(len(batch))
    return errors
