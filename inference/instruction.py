"""Any instruction in the user's words, also several tasks in one (paper, S1; docs/applications.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.annotation import Annotation, Prediction
from ..data.canvas import Placed
from ..data.text import Ids, TextEncoder, plain_ids
from ..models.generated import Generated
from ..models.generation_settings import GenerationSettings
from ..models.vqgan.config import NUM_CODES
from ..tasks.base import Task
from ..tasks.rhrc import ReferringCaption
from ..tasks.rkpt import ReferringKeypoints
from ..tasks.rpar import ReferringParsing, with_maps
from ..tasks.settings import TaskSettings
from ..utils.errors import UserError
from .parts import Parts, keypoints_problem, parsing_problem, split
from .questions import check_expression, check_text

if TYPE_CHECKING:
    import torch

    from ..models.vqgan import VQTokenizer


class Instruction(Task):
    """Instruction -> any answer: what was written decides how it is read. For asking only."""

    name = "instruction"
    generation = GenerationSettings(min_len=4)

    def __init__(self, text: TextEncoder, settings: TaskSettings, *, tokenizer: VQTokenizer | None = None) -> None:
        """tokenizer: None leaves the codes of answers as symbols."""
        super().__init__(text, settings)
        self.tokenizer = tokenizer
        self.keypoints = ReferringKeypoints(text, settings)
        self.parsing = ReferringParsing(text, settings)
        self.caption = ReferringCaption(text, settings)

    def check(self, text: Any, where: str) -> dict[str, Any]:
        """A text with known symbols only. Raises UserError."""
        given, unknown = check_text(text, where), self.text.unknown_symbols(text)
        if unknown:
            last = len(self.vocabulary.bin_ids) - 1
            raise UserError(f"{where}: this model has no symbol {unknown[0]}: its bins are <bin_0> to <bin_{last}>")
        return given

    def check_expression(self, text: Any, where: str) -> dict[str, Any]:
        """An expression with known symbols only, for an instruction about it. Raises UserError."""
        return check_expression(text, where) | self.check(text, where)

    def source(self, annotation: Annotation, placed: Placed) -> np.ndarray:
        """The instruction, encoded as in the published demos, without bos and eos."""
        return self.text.encode_instruction(annotation.expression)[1:-1]

    def parse(self, ids: Ids) -> Prediction:
        """Words are a caption, four bins a box, names with bins keypoints, codes a parsing map."""
        ids = np.array(plain_ids(ids), np.int64)
        parts = split(ids.tolist(), self.text)
        if not parts.box and not parts.parsing and not parts.other:
            return self.caption.parse(ids)
        found = Prediction(valid=bool(parts.box), box_xyxy=self.parse_box(ids[parts.box]))
        if parts.keypoints:
            named = self.keypoints.parse(ids[parts.box + parts.keypoints])
            found = replace(found, valid=found.valid and named.valid, keypoints=named.keypoints)
        if parts.parsing:
            drawn = self.parsing.parse(ids[parts.box + parts.parsing])
            found = replace(found, valid=found.valid and drawn.valid, codes=drawn.codes)
        return found

    def parse_batch(self, answers: Sequence[Generated], device: torch.device) -> list[Prediction]:
        """With the parsing maps of those that hold codes, decoded together."""
        predictions = super().parse_batch(answers, device)
        coded = [k for k, one in enumerate(predictions) if one.codes is not None]
        if coded and self.tokenizer is not None:
            found = [predictions[k] for k in coded]
            drawn = with_maps(self.tokenizer, found, [answers[k] for k in coded], device=device)
            for k, prediction in zip(coded, drawn, strict=True):
                predictions[k] = prediction
        return predictions


@dataclass(frozen=True)
class Chained:
    """The last answer that could be read, and which parts could not be induced."""

    generated: Generated
    notes: tuple[str, ...] = ()


# (rows, forced starts, symbols of a whole answer; None: no fixed number) -> their answers
Ask = Callable[[list[int], list[np.ndarray], int | None], list[Generated]]


@dataclass(frozen=True)
class _Stage:
    """How a part is induced. missing: why an answer lacks it; start: what the new answer must begin with."""

    name: str
    missing: Callable[[Instruction, Generated], str | None]
    start: Callable[[Instruction, Generated], np.ndarray]
    rest: int | None = None  # symbols after the start, if their number is fixed


def induce(
    task: Instruction, answers: Sequence[Generated], ask: Ask, *, keypoints: bool, parsing: bool
) -> list[Chained]:
    """S1 decoding: where a part is missing, the answer is written again from a start that forces the part's beginning.

    The name of the first keypoint induces the others, a first code the rest of the map, whose length is fixed as in
    RPar. Beam search gives the same answer to the same start, so each part is tried once; if that fails, the answer
    before it is kept.
    """
    chained = [Chained(answer) for answer in answers]
    for stage in [_KEYPOINTS] * keypoints + [_PARSING] * parsing:
        rows = [k for k, one in enumerate(chained) if stage.missing(task, one.generated)]
        able = [k for k in rows if _parts(task, chained[k].generated).box]
        starts = {k: stage.start(task, chained[k].generated) for k in able}
        lengths = {k: None if stage.rest is None else len(starts[k]) + stage.rest for k in able}
        found: dict[int, Generated] = {}
        for length in dict.fromkeys(lengths.values()):  # answers of one length are asked for together
            which = [k for k in able if lengths[k] == length]
            found |= zip(which, ask(which, [starts[k] for k in which], length), strict=True)
        for k in rows:
            problem = stage.missing(task, found[k]) if k in found else "the answer has no box to start from"
            if not problem:
                chained[k] = replace(chained[k], generated=found[k])
            elif stage is _PARSING and not _parsing_missing(task, answers[k]):  # the first answer had a map
                chained[k] = replace(chained[k], generated=_with_map_of(task, chained[k].generated, answers[k]))
            else:
                note = f"{stage.name}: could not be induced ({problem})"
                chained[k] = replace(chained[k], notes=(*chained[k].notes, note))
    return chained


def _parts(task: Instruction, answer: Generated) -> Parts:
    return split(answer.ids.tolist(), task.text)


def _with_map_of(task: Instruction, answer: Generated, first: Generated) -> Generated:
    """`answer`, then box and codes of `first`, whose box is the same: one answer in the order of S1 decoding."""
    before, after = _parts(task, answer), _parts(task, first)
    kept, added = before.box + before.keypoints, after.box + after.parsing
    ids = np.concatenate([answer.ids[kept], first.ids[added], [task.vocabulary.eos()]])

    def joined(name: str) -> np.ndarray | None:
        before, after = getattr(answer, name), getattr(first, name)
        return None if before is None or after is None else np.concatenate([before[kept], after[added], after[-1:]])

    return replace(answer, ids=ids, log_probs=joined("log_probs"), distributions=joined("distributions"))


def _keypoints_missing(task: Instruction, answer: Generated) -> str | None:
    parts = _parts(task, answer)
    if not parts.keypoints:
        return "none was named"
    return keypoints_problem(answer.ids.tolist(), parts, task.text)


def _keypoints_start(task: Instruction, answer: Generated) -> np.ndarray:
    """The box and the first keypoint's name."""
    return np.concatenate([answer.ids[_parts(task, answer).box], task.text.encode(" nose")])


def _parsing_missing(task: Instruction, answer: Generated) -> str | None:
    return parsing_problem(answer.ids.tolist(), _parts(task, answer), task)


def _parsing_start(task: Instruction, answer: Generated) -> np.ndarray:
    """The answer so far, the box (again, after keypoints), and a first code."""
    parts = _parts(task, answer)
    box, code = answer.ids[parts.box], [task.vocabulary.code_ids.start]
    if _keypoints_missing(task, answer):
        return np.concatenate([box, code])
    return np.concatenate([box, answer.ids[parts.keypoints], box, code])


_KEYPOINTS = _Stage("keypoints", _keypoints_missing, _keypoints_start)
_PARSING = _Stage("parsing map", _parsing_missing, _parsing_start, NUM_CODES - 1)
