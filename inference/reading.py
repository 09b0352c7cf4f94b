"""What the model wrote, read strictly: which symbols say what, and the `Answer` that they make."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, takewhile
from typing import NamedTuple

import numpy as np
from torch import Tensor

from ..data.canvas import Placed
from ..data.text import TextEncoder
from ..models.refhcm.encoder import ImageFeatures
from ..models.vqgan.config import NUM_CODES
from ..tasks.base import Generated, Prediction, Task
from ..utils.boxes import clip_box, iou
from ..utils.keypoints import KEYPOINT_NAMES, visible_keypoints
from ..utils.parsing import paste_label_map
from ..utils.symbols import BOX_SYMBOLS
from .answers import Answer, Keypoints, Scores

SAME_PERSON = 0.5  # IoU of two answered boxes


@dataclass(frozen=True)
class Parts:
    """Positions of the symbols of each part of an answer; `other`: of those that belong to none."""

    box: list[int] = field(default_factory=list)
    keypoints: list[int] = field(default_factory=list)
    parsing: list[int] = field(default_factory=list)
    caption: list[int] = field(default_factory=list)
    other: list[int] = field(default_factory=list)


class Context(NamedTuple):
    """What an answer is about: the picture's size, the picture on the canvas, and its features."""

    size_wh: tuple[int, int]
    placed: Placed
    image_features: ImageFeatures


def split(ids: Sequence[int], text: TextEncoder) -> Parts:
    """The parts of an answer, ids [T], up to eos: words alone, or four bins, then names with bins, then codes.

    Before the codes the box may come again (S1 decoding): then four more bins follow the last name's two.
    """
    eos = text.vocabulary.eos()
    kinds = "".join(_kind(symbol, text) for symbol in takewhile(lambda symbol: symbol != eos, ids))
    if not set(kinds) & {"b", "c"}:
        return _parts(kinds, caption=[k for k, kind in enumerate(kinds) if kind == "w"])
    box = list(range(BOX_SYMBOLS)) if kinds.startswith("b" * BOX_SYMBOLS) else []
    codes = [k for k, kind in enumerate(kinds) if kind == "c"]
    end = codes[0] if codes else len(kinds)
    again = end - BOX_SYMBOLS if codes and kinds[:end].endswith("b" * (BOX_SYMBOLS + 2)) else end
    keypoints = [k for k in range(len(box), again) if kinds[k] in "wb"] if box else []
    return _parts(kinds, box=box, keypoints=keypoints, parsing=codes, ignored=range(again, end))


def _parts(kinds: str, *, ignored: Sequence[int] = (), **found: list[int]) -> Parts:
    known = {k for positions in (*found.values(), ignored) for k in positions}
    return Parts(**found, other=[k for k in range(len(kinds)) if k not in known])


def _kind(symbol: int, text: TextEncoder) -> str:
    """b: bin, c: code, w: piece of a word, x: anything else."""
    if symbol in text.vocabulary.bin_ids:
        return "b"
    if symbol in text.vocabulary.code_ids:
        return "c"
    return "w" if text.is_piece(symbol) else "x"


def keypoints_problem(ids: Sequence[int], parts: Parts, text: TextEncoder) -> str | None:
    """Why the keypoints of an answer cannot be read, or None: each needs a known name, once, and two bins."""
    names = []
    runs = [(kind, list(run)) for kind, run in groupby(parts.keypoints, lambda k: _kind(ids[k], text))]
    for k in range(0, len(runs), 2):
        kind, run = runs[k]
        bins = runs[k + 1][1] if k + 1 < len(runs) else []
        if kind != "w" or len(bins) != 2:
            return "each needs a name and two bins"
        names.append(text.decode([ids[i] for i in run]))
    unknown = [name for name in names if not name.startswith(" ") or name.strip() not in KEYPOINT_NAMES]
    if unknown:  # without its leading space a name would be read as the end of the name before it
        return f"{unknown[0].strip()!r} is not a keypoint's name"
    names = [name.strip() for name in names]
    twice = [name for name in names if names.count(name) > 1]
    return f"{twice[0]} is named twice" if twice else None


def parsing_problem(ids: Sequence[int], parts: Parts, task: Task) -> str | None:
    """Why the codes of an answer are not a parsing map, or None."""
    known = task.settings.vq_n_embed
    codes = [ids[k] - task.vocabulary.code_ids.start for k in parts.parsing]
    if len(codes) != NUM_CODES:
        return f"needs {NUM_CODES} codes, got {len(codes)}"
    unknown = [code for code in codes if code >= known]
    return f"code {unknown[0]} is not one of the tokenizer's {known}" if unknown else None


def read(task: Task, generated: Generated, prediction: Prediction, *, context: Context) -> Answer:
    """The answer in image px. prediction: what the task has read of the generated ids, on the canvas."""
    ids = generated.ids.tolist()
    parts, (size_wh, placed, _) = split(ids, task.text), context
    ratios = {"w_resize_ratios": placed.w_resize_ratio, "h_resize_ratios": placed.h_resize_ratio}
    problems, notes = [], []
    box = points = label_map = caption = None
    if prediction.caption is None:
        box, problem = _box(task.box_in_image(prediction, ratios) if parts.box else None, size_wh)
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
            label_map = in_picture.numpy().astype(np.uint8)
        elif not problem:
            notes.append("parsing map: no tokenizer is loaded, so its codes stay symbols")
    stray = parts.other + (parts.keypoints if prediction.keypoints is None else [])
    if stray and box is not None:
        problems.append(f"{len(stray)} symbols belong to no part, first {task.vocabulary[ids[stray[0]]]}")
    found = {"box": box, "keypoints": points, "parsing": label_map, "caption": caption}
    scored = {name: getattr(parts, name) for name, value in found.items() if value is not None}
    return Answer(
        size_wh,
        valid=not problems,
        symbols=tuple(task.vocabulary[symbol] for symbol in ids),
        text=task.text.transcribe(ids),
        box_xyxy=box,
        keypoints=points,
        label_map=label_map,
        caption=caption,
        scores=Scores(**{name: _score(generated.log_probs, positions) for name, positions in scored.items()}),
        notes=(*problems, *notes),
    )


def _box(box_xyxy: np.ndarray | None, size_wh: tuple[int, int]) -> tuple[np.ndarray | None, str | None]:
    """The box inside the picture, or why there is none. Where corners share a bin, the box is one pixel."""
    if box_xyxy is None:
        return None, "the answer does not begin with four bins"
    if (box_xyxy[2:] < box_xyxy[:2]).any():
        return None, "its second corner is left of or above its first"
    return clip_box(box_xyxy, size_wh), None


def _score(log_probs: Tensor | None, positions: list[int]) -> float | None:
    """Geometric mean of the probabilities at these positions; None where there are none."""
    if log_probs is None or not positions:
        return None
    score = float(log_probs[positions].double().mean().exp())
    return score if np.isfinite(score) else 0.0


def merge(first: Answer, second: Answer) -> Answer:
    """Two answers about one person: what the first lacks comes from the second."""
    notes = first.notes + second.notes
    if first.box_xyxy is not None and second.box_xyxy is not None:
        overlap = float(iou(first.box_xyxy[None], second.box_xyxy[None])[0])
        if overlap < SAME_PERSON:
            notes += (f"the answers may be about two people: their boxes have IoU {overlap:.2f}",)
    names = ("box_xyxy", "keypoints", "label_map", "caption")
    values = {name: getattr(second, name) for name in names if getattr(first, name) is None}
    scores = {name: value for name, value in vars(first.scores).items() if value is not None}
    return replace(
        first,
        **values,
        scores=replace(second.scores, **scores),
        valid=first.valid and second.valid,
        symbols=first.symbols + second.symbols,
        text=f"{first.text} {second.text}",
        notes=notes,
    )
