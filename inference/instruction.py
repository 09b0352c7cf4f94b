"""Any instruction in the user's own words, several tasks in one too (paper, S1; docs/applications.md)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..data.canvas import Placed
from ..data.text import TextEncoder
from ..models.generation import GenerationSettings
from ..models.vqgan import VQTokenizer
from ..models.vqgan.config import NUM_CODES
from ..tasks.base import Annotation, Generated, Prediction, Task
from ..tasks.rhrc import ReferringCaption
from ..tasks.rkpt import ReferringKeypoints
from ..tasks.rpar import ReferringParsing
from ..tasks.settings import TaskSettings
from ..utils.errors import UserError
from .questions import check_expression, check_text
from .reading import Parts, keypoints_problem, parsing_problem, split


class Instruction(Task):
    """Instruction -> whatever the model answers: what is read follows from what was written. For asking only."""

    name = "instruction"
    columns = ()
    default_cols = ""
    prompt = "{}"
    generation = GenerationSettings(min_len=4)

    def __init__(
        self,
        text: TextEncoder,
        settings: TaskSettings,
        *,
        with_labels: bool = True,
        tokenizer: VQTokenizer | None = None,
    ) -> None:
        """tokenizer: None leaves the codes of answers as they are."""
        super().__init__(text, settings, with_labels=with_labels)
        self.tokenizer = tokenizer
        self.keypoints = ReferringKeypoints(text, settings)
        self.parsing = ReferringParsing(text, settings, with_labels=with_labels)
        self.caption = ReferringCaption(text, settings)

    def check(self, text: Any, where: str) -> dict[str, Any]:
        """A text whose symbols the model has. Raises UserError."""
        given, unknown = check_text(text, where), self.text.unknown_symbols(text)
        if unknown:
            last = len(self.vocabulary.bin_ids) - 1
            raise UserError(f"{where}: {unknown[0]} is no symbol of this model, which has <bin_0> to <bin_{last}>")
        return given

    def check_expression(self, text: Any, where: str) -> dict[str, Any]:
        """An expression, of which an instruction is made, whose symbols the model has. Raises UserError."""
        return check_expression(text, where) | self.check(text, where)

    def source(self, annotation: Annotation, placed: Placed) -> Tensor:
        """The instruction as the demos encode it, without bos and eos."""
        return self.text.encode_instruction(annotation.expression)[1:-1]

    def parse(self, ids: Tensor) -> Prediction:
        """Words are a caption; four bins a box; names with bins keypoints; codes a parsing map."""
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
        coded = [k for k, prediction in enumerate(predictions) if prediction.codes is not None]
        if coded and self.tokenizer is not None:
            codes = torch.stack([torch.from_numpy(predictions[k].codes) for k in coded])
            label_maps = self.tokenizer.to(device).decode(codes.to(device)).cpu()
            for k, label_map in zip(coded, label_maps, strict=True):
                predictions[k] = replace(predictions[k], label_map=label_map)
        return predictions


@dataclass(frozen=True)
class Chained:
    """The last answer that could be read, and what of it could not be induced."""

    generated: Generated
    notes: tuple[str, ...] = ()


# (questions, forced starts, symbols of a whole answer; None: as many as come) -> their answers
Ask = Callable[[list[int], list[Tensor], int | None], list[Generated]]


def induce(
    task: Instruction, answers: Sequence[Generated], ask: Ask, *, keypoints: bool, parsing: bool
) -> list[Chained]:
    """S1 decoding: where a part is missing, the answer is written again from a start that forces the part's beginning.

    Naming the first keypoint induces the others, a first code induces the map, which has as many codes as parsing's
    own answers are made to have. Beam search always gives the same answer to the same start, so each part is tried
    once; where that fails the answer keeps what it had.
    """
    chained = [Chained(answer) for answer in answers]
    stages = [("keypoints", keypoints, _keypoints_start, _keypoints_missing, None)]
    stages += [("parsing map", parsing, _parsing_start, _parsing_missing, NUM_CODES - 1)]
    for name, wanted, start, missing, more in stages:
        if not wanted:
            continue
        rows = [k for k, one in enumerate(chained) if missing(task, one.generated)]
        able = [k for k in rows if _parts(task, chained[k].generated).box]
        starts = {k: start(task, chained[k].generated) for k in able}
        lengths = {k: None if more is None else len(starts[k]) + more for k in able}
        found: dict[int, Generated] = {}
        for length in dict.fromkeys(lengths.values()):  # answers of one length are asked for together
            which = [k for k in able if lengths[k] == length]
            found |= zip(which, ask(which, [starts[k] for k in which], length), strict=True)
        for k in rows:
            problem = missing(task, found[k]) if k in found else "the answer has no box to go on from"
            if not problem:
                chained[k] = replace(chained[k], generated=found[k])
            elif name == "parsing map" and not missing(task, answers[k]):  # it was there before the keypoints
                chained[k] = replace(chained[k], generated=_with_map_of(task, chained[k].generated, answers[k]))
            else:
                note = f"{name}: could not be induced ({problem})"
                chained[k] = replace(chained[k], notes=(*chained[k].notes, note))
    return chained


def _parts(task: Instruction, answer: Generated) -> Parts:
    return split(answer.ids.tolist(), task.text)


def _with_map_of(task: Instruction, answer: Generated, first: Generated) -> Generated:
    """`answer`, and after it box and codes of `first`, which has the same box: one answer, as S1 decoding has it."""
    before, after = _parts(task, answer), _parts(task, first)
    kept, added = torch.tensor(before.box + before.keypoints), torch.tensor(after.box + after.parsing)
    ids = torch.cat([answer.ids[kept], first.ids[added], torch.tensor([task.vocabulary.eos()])])
    log_probs = None
    if answer.log_probs is not None and first.log_probs is not None:
        log_probs = torch.cat([answer.log_probs[kept], first.log_probs[added], first.log_probs[-1:]])
    return replace(answer, ids=ids, log_probs=log_probs)


def _keypoints_missing(task: Instruction, answer: Generated) -> str | None:
    parts = _parts(task, answer)
    if not parts.keypoints:
        return "none was named"
    return keypoints_problem(answer.ids.tolist(), parts, task.text)


def _parsing_missing(task: Instruction, answer: Generated) -> str | None:
    return parsing_problem(answer.ids.tolist(), _parts(task, answer), task)


def _keypoints_start(task: Instruction, answer: Generated) -> Tensor:
    """The box and the first keypoint's name."""
    return torch.cat([answer.ids[_parts(task, answer).box], task.text.encode(" nose")])


def _parsing_start(task: Instruction, answer: Generated) -> Tensor:
    """The answer so far, the box (once more if keypoints follow it), and a first code."""
    parts = _parts(task, answer)
    box, code = answer.ids[parts.box], torch.tensor([task.vocabulary.code_ids.start])
    if _keypoints_missing(task, answer):
        return torch.cat([box, code])
    return torch.cat([box, answer.ids[parts.keypoints], box, code])
