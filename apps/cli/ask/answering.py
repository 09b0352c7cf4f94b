"""Asks a model all questions of `refhcm ask`, batch by batch. A question that fails becomes an error line."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice

import torch
from PIL import Image
from tqdm import tqdm

from ....data.pictures import PictureSource, open_picture
from ....inference.joining import sure_enough
from ....inference.learned import check_learned
from ....inference.predictor import Predictor
from ....utils.errors import DataError, UserError
from .questions import Job
from .records import Found, Records

HELD_BYTES = 2**28  # of the decoded pictures that are held at once; one more may go beyond


def check_model(model: Predictor, parts: Collection[str], *, everyone: bool, dashes: str = "") -> None:
    """UserError for some of `PARTS`, or everyone, that a model cannot answer. dashes: as in `check_parts`."""
    if everyone:
        check_learned(model.learned, keypoints="keypoints" in parts)
    if "parsing" in parts and model.tokenizer is None:
        raise UserError(
            f"{dashes}parsing needs the parsing-map tokenizer; name its folder as {dashes}tokenizer, or run: "
            "refhcm download tokenizer"
        )


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


def answer_batch(model: Predictor, jobs: Sequence[Job], images: Sequence[Image.Image | str]) -> list[Found | str]:
    """An answer to each question, or why there is none. images: each job's, of `batches`."""
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


def batches(sources: Iterable[PictureSource], size: int) -> Iterator[list[Image.Image | str]]:
    """Opened pictures, up to `size` together, and fewer where they hold `HELD_BYTES`; a text says why there is none.

    A path that comes several times in a batch is opened once.
    """
    batch: list[Image.Image | str] = []
    opened: dict[str | int, Image.Image | str] = {}
    held = 0
    for k, source in enumerate(sources):
        key = source if isinstance(source, str) else k
        if len(batch) == size or (held >= HELD_BYTES and key not in opened):
            yield batch
            batch, opened, held = [], {}, 0
        if key not in opened:
            opened[key] = _open(source)
            held += _bytes(opened[key])
        batch.append(opened[key])
    if batch:
        yield batch


def _bytes(image: Image.Image | str) -> int:
    return 0 if isinstance(image, str) else 3 * image.width * image.height


def _open(source: PictureSource) -> Image.Image | str:
    try:
        return open_picture(source)
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
    total = done + len(jobs)
    with tqdm(total=total, initial=done, desc="ask", unit="question", disable=records.on_terminal) as bar:
        for images in batches(_marked(jobs, records), model.batch_size):
            batch = list(islice(rest, len(images)))
            answers = answer_batch(model, batch, images)
            del images  # before the next are opened
            for job, found in zip(batch, answers, strict=True):
                records.add(job, name, found, notes=model.notes)
                errors += isinstance(found, str)
            bar.update(len(batch))
    return errors


def _marked(jobs: Iterable[Job], records: Records) -> Iterator[str]:
    for job in jobs:
        records.mark(job.image)  # before the picture is opened, as another one may take its place
        yield job.image
