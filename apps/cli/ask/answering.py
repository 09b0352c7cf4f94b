"""Asking a model all questions of `refhcm ask`, batch by batch. What can not be answered is said, and not the end."""

from collections.abc import Sequence
from itertools import islice

import torch
from PIL import Image
from tqdm import tqdm

from ....data.pictures import open_picture
from ....inference.answers import Answer
from ....inference.predictor import Predictor
from ....utils.errors import DataError, UserError
from .questions import Job
from .records import Records


def ask(model: Predictor, asked: Sequence[Job], images: Sequence[Image.Image]) -> list[Answer]:
    """The answers to questions of one kind."""
    first = asked[0].asked
    if "instruct" in first:
        return model.instruct(list(images), [question.asked["instruct"] for question in asked])
    if "describe" in first:
        return model.describe(list(images), [question.asked["describe"] for question in asked])
    options = {name: first.get(name, False) for name in ("keypoints", "parsing", "parallel", "caption")}
    return model.refer(list(images), [question.asked["refer"] for question in asked], **options)


def answer_batch(model: Predictor, asked: Sequence[Job]) -> list[Answer | str]:
    """An answer to each question, or why there is none. A picture of several questions is opened once."""
    opened: dict[str, Image.Image | str] = {}
    for question in asked:
        if question.image not in opened:
            opened[question.image] = _opened(question.image)
    found: list[Answer | str] = [opened[question.image] for question in asked]
    kinds: dict[str, list[int]] = {}
    for k, question in enumerate(asked):
        if not isinstance(found[k], str):
            kinds.setdefault(next(iter(question.asked)), []).append(k)
    for rows in kinds.values():
        answers = _one_by_one(model, [asked[k] for k in rows], [opened[asked[k].image] for k in rows])
        for k, answer in zip(rows, answers, strict=True):
            found[k] = answer
    return found


def _opened(path: str) -> Image.Image | str:
    try:
        return open_picture(path)
    except DataError as error:
        return str(error)


def _one_by_one(model: Predictor, asked: Sequence[Job], images: Sequence[Image.Image]) -> list[Answer | str]:
    """The answers; where the batch is too large, or has a question that can not be asked, each question alone."""
    try:
        return list(ask(model, asked, images))
    except (UserError, torch.OutOfMemoryError) as error:
        if len(asked) == 1:
            return [str(error).splitlines()[0]]
    return [_one_by_one(model, [one], [image])[0] for one, image in zip(asked, images, strict=True)]


def answer_all(
    model: Predictor, records: Records, asked: Sequence[Job], *, name: str, tokenizer: str | None, known: int
) -> int:
    """Writes a line for each question; the number of those without an answer. known: how many were there before."""
    errors, rest = 0, iter(asked)
    with tqdm(total=known + len(asked), initial=known, desc="ask", unit="question") as bar:
        while batch := list(islice(rest, model.batch_size)):
            for question in batch:
                records.mark(question.image)
            for question, found in zip(batch, answer_batch(model, batch), strict=True):
                records.add(question, name, found, tokenizer)
                errors += isinstance(found, str)
            bar.update(len(batch))
    return errors
