"""What the model wrote, read strictly: which symbols say what, and an `Answer` of what they say."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import NamedTuple

import numpy as np
from torch import Tensor

from ..data.canvas import Placed
from ..data.text import TextEncoder
from ..models.refhcm.encoder import ImageFeatures
from ..models.vqgan.config import NUM_CODES
from ..tasks.base import BOX_SYMBOLS, Generated, Prediction, Task
from ..utils.boxes import clip_box, iou
from ..utils.keypoints import KEYPOINT_NAMES, visible_keypoints
from ..utils.parsing import label_map_in_picture
from .answers import Answer, Keypoints, Scores

SAME_PERSON = 0.5  # IoU of two answered boxes


@dataclass(frozen=True)
class Parts:
    """Positions of the symbols of each part of an answer; `other`: of symbols that belong to none."""

    box: list[int]
    keypoints: list[int]
    parsing: list[int]
    caption: list[int]
    other: list[int]


class Context(NamedTuple):
    """What an answer is about: the picture's size, how it lies on the canvas, and what the backbone sees of it."""

    size_wh: tuple[int, int]
    placed: Placed
    image_features: ImageFeatures | None = None


def split(ids: Sequence[int], text: TextEncoder) -> Parts:
    """The parts of an answer, ids [T] up to eos: words alone, or four bins first, then names with bins, then codes.

    Codes may have the box before them once more (S1 decoding): four bins more than the two of the last name.
    """
    symbols = answered(ids, text)
    kinds = "".join(_kind(symbol, text) for symbol in symbols)
    if not set(kinds) & {"b", "c"}:
        return _parts(kinds, caption=[k for k, kind in enumerate(kinds) if kind == "w"])
    box = list(range(BOX_SYMBOLS)) if kinds.startswith("b" * BOX_SYMBOLS) else []
    codes = [k for k, kind in enumerate(kinds) if kind == "c"]
    end = codes[0] if codes else len(kinds)
    again = end - BOX_SYMBOLS if codes and kinds[:end].endswith("b" * (BOX_SYMBOLS + 2)) else end
    keypoints = [k for k in range(len(box), again) if kinds[k] in "wb"] if box else []
    return _parts(kinds, box=box, keypoints=keypoints, parsing=codes, ignored=range(again, end))


def _parts(kinds: str, *, ignored: Sequence[int] = (), **found: list[int]) -> Parts:
    empty: dict[str, list[int]] = {"box": [], "keypoints": [], "parsing": [], "caption": []}
    known = {k for positions in found.values() for k in positions} | set(ignored)
    return Parts(**empty | found, other=[k for k in range(len(kinds)) if k not in known])


def _kind(symbol: int, text: TextEncoder) -> str:
    """b: bin, c: code, w: piece of a word, x: anything else."""
    if symbol in text.vocabulary.bin_ids:
        return "b"
    if symbol in text.vocabulary.code_ids:
        return "c"
    return "w" if text.is_piece(symbol) else "x"


def answered(ids: Sequence[int], text: TextEncoder) -> list[int]:
    """The ids up to eos."""
    symbols = [int(symbol) for symbol in ids]
    eos = text.vocabulary.eos()
    return symbols[: symbols.index(eos)] if eos in symbols else symbols


def keypoints_problem(ids: Sequence[int], parts: Parts, text: TextEncoder) -> str | None:
    """Why the keypoints of an answer can not be read, or None: each is a known name and two bins, named once."""
    names = []
    runs = [(kind, list(run)) for kind, run in groupby(parts.keypoints, lambda k: _kind(int(ids[k]), text))]
    for k in range(0, len(runs), 2):
        kind, run = runs[k]
        bins = runs[k + 1][1] if k + 1 < len(runs) else []
        if kind != "w" or len(bins) != 2:
            return "each needs a name and two bins"
        names.append(text.decode([int(ids[i]) for i in run]))
    unknown = [name for name in names if not name.startswith(" ") or name.strip() not in KEYPOINT_NAMES]
    if unknown:  # a name without its space would be read as the end of the one before it
        return f"{unknown[0].strip()!r} is no keypoint's name"
    names = [name.strip() for name in names]
    twice = [name for name in names if names.count(name) > 1]
    return f"{twice[0]} is named twice" if twice else None


def parsing_problem(ids: Sequence[int], parts: Parts, task: Task) -> str | None:
    """Why the codes of an answer are no parsing map, or None."""
    first, known = task.vocabulary.code_ids.start, task.settings.vq_n_embed
    outside = [int(ids[k]) - first for k in parts.parsing if int(ids[k]) - first >= known]
    if len(parts.parsing) != NUM_CODES:
        return f"needs {NUM_CODES} codes, got {len(parts.parsing)}"
    return f"code {outside[0]} is none of the tokenizer's {known}" if outside else None


def read(task: Task, generated: Generated, prediction: Prediction, *, asked: Context) -> Answer:
    """The answer in image px. prediction: the task's reading of what was generated, on the canvas."""
    ids = generated.ids.tolist()
    parts, vocabulary = split(ids, task.text), task.vocabulary
    problems, notes = [], []
    ratios = {"w_resize_ratios": asked.placed.w_resize_ratio, "h_resize_ratios": asked.placed.h_resize_ratio}
    found = task.in_image(prediction, ratios)
    box = points = label_map = caption = None
    if prediction.caption is None:
        box, problem = _box(found.box_xyxy if parts.box else None, asked.size_wh)
        problems += [f"box: {problem}"] if problem else []
    elif parts.caption and not parts.other and prediction.valid:
        caption = prediction.caption
    else:
        problems.append("caption: needs words, and nothing else")
    if box is not None and prediction.keypoints is not None:
        problem = keypoints_problem(ids, parts, task.text)
        problems += [f"keypoints: {problem}"] if problem else []
        points = None if problem else _keypoints(found.keypoints)
    if box is not None and prediction.codes is not None:
        problem = parsing_problem(ids, parts, task)
        problems += [f"parsing map: {problem}"] if problem else []
        if prediction.label_map is not None and not problem:
            whole = label_map_in_picture(prediction.label_map, box.tolist(), size_wh=asked.size_wh)
            label_map = whole.numpy().astype(np.uint8)
        elif not problem:
            notes.append("parsing map: no tokenizer is loaded, so its codes stay symbols")
    stray = parts.other + (parts.keypoints if prediction.keypoints is None else [])
    if stray and box is not None:
        problems.append(f"{len(stray)} symbols belong to no part, the first is {vocabulary[ids[stray[0]]]}")
    scores = Scores(
        box=None if box is None else _score(generated.log_probs, parts.box),
        keypoints=None if points is None else _score(generated.log_probs, parts.keypoints),
        parsing=None if label_map is None else _score(generated.log_probs, parts.parsing),
        caption=None if caption is None else _score(generated.log_probs, parts.caption),
    )
    symbols = tuple(vocabulary[symbol] for symbol in ids)
    text = task.text.transcribe(ids)
    said = (*problems, *notes)
    return Answer(asked.size_wh, not problems, symbols, text, box, points, label_map, caption, scores, said)


def _box(box_xyxy: np.ndarray | None, size_wh: tuple[int, int]) -> tuple[np.ndarray | None, str | None]:
    """The box inside the picture, or why there is none. Corners that share a bin are a box of one pixel."""
    if box_xyxy is None:
        return None, "the answer does not begin with four bins"
    if (box_xyxy[2:] < box_xyxy[:2]).any():
        return None, "its second corner is left of its first, or above it"
    return clip_box(box_xyxy, size_wh), None


def _keypoints(xy: np.ndarray) -> Keypoints:
    xy = xy.reshape(-1, 2)
    return Keypoints(xy, visible_keypoints(xy))


def _score(log_probs: Tensor | None, positions: list[int]) -> float | None:
    """Geometric mean of the probabilities of these symbols; None where there are none."""
    if log_probs is None or not positions:
        return None
    score = float(log_probs[positions].double().mean().exp())
    return score if np.isfinite(score) else 0.0


def merge(first: Answer, second: Answer) -> Answer:
    """Two answers about one person: what the first has not comes from the second."""
    notes = first.notes + second.notes
    if first.box_xyxy is not None and second.box_xyxy is not None:
        overlap = float(iou(first.box_xyxy[None], second.box_xyxy[None])[0])
        if overlap < SAME_PERSON:
            notes += (f"the answers may be about two people: their boxes overlap by {overlap:.2f}",)
    names = ("box_xyxy", "keypoints", "label_map", "caption")
    values = {name: getattr(second, name) for name in names if getattr(first, name) is None}
    given = {name: value for name, value in vars(first.scores).items() if value is not None}
    return replace(
        first,
        **values,
        scores=replace(second.scores, **given),
        valid=first.valid and second.valid,
        symbols=first.symbols + second.symbols,
        text=f"{first.text} {second.text}",
        notes=notes,
    )
