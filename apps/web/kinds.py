"""What can be asked on the page: about whom, what, and in which way; and what the model then does."""

from collections.abc import Callable
from dataclasses import dataclass

from ...inference.answers import Answer
from ...inference.instruction import Instruction
from ...inference.joining import merge
from ...inference.predictor import Predictor
from ...tasks import TASKS
from ...tasks.chain import chain_instruction
from .given import Given

# Checkboxes in the words of visitors: what an answer is to hold.
WANTED = {"box": "Box", "keypoints": "Pose", "parts": "Parts", "caption": "Caption"}
# The fields, by the names with which messages begin.
LABELS = {
    "image": "Picture",
    "expression": "Describe the person",
    "box": "Box around one person",
    "instruction": "Instruction",
    "min_len": "Shortest answer",
}
DEFAULTS = Instruction.generation  # the demos' settings (docs/generation.md)


@dataclass(frozen=True)
class Way:
    """A way to ask. asks: the field that the visitor fills in, "expression", "box" or "instruction"."""

    label: str
    asks: str
    answer: Callable[[Predictor, Given], list[Answer]]


@dataclass(frozen=True)
class Template:
    """An instruction that the model knows, with {} for what it asks about: an "expression" or a "box"."""

    text: str
    asks: str = "expression"


def _in_words(model: Predictor, given: Given) -> list[Answer]:
    wants = {"keypoints": "keypoints" in given.wanted, "parsing": "parts" in given.wanted}
    caption = "caption" in given.wanted
    if given.everyone:
        return model.find(given.picture, given.expression, caption=caption, **wants)
    parallel = given.parallel and wants["parsing"]
    return [model.refer(given.picture, given.expression, parallel=parallel, caption=caption, **wants)]


def _by_box(model: Predictor, given: Given) -> list[Answer]:
    return [model.describe(given.picture, given.box)]


def _chain(model: Predictor, given: Given) -> list[Answer]:
    keypoints, parsing = "keypoints" in given.wanted, "parts" in given.wanted
    answer = model.chain(
        given.picture, given.expression, keypoints=keypoints, parsing=parsing, generation=given.generation
    )
    return [_captioned(model, given, answer)]


def _instruct(model: Predictor, given: Given) -> list[Answer]:
    answer = model.instruct(given.picture, given.instruction, generation=given.generation)
    return [_captioned(model, given, answer)]


def _captioned(model: Predictor, given: Given, answer: Answer) -> Answer:
    """With a caption where one is wanted; an instruction cannot ask for it together with the rest."""
    if "caption" not in given.wanted or answer.box_xyxy is None or answer.caption is not None:
        return answer
    return merge(answer, model.describe(given.picture, answer.box_xyxy))


WAYS = {
    "words": Way("Task by task", "expression", _in_words),
    "chain": Way("All in one instruction (S1)", "expression", _chain),
    "instruction": Way("My own instruction", "instruction", _instruct),
    "box": Way("By a box", "box", _by_box),
}


def _prompt(task: str) -> str:
    return TASKS[task].prompt.strip()


# What an own instruction may start from.
TEMPLATES = {
    "Box": Template(_prompt("refcoco")),
    "Pose": Template(_prompt("rkpt")),
    "Parts": Template(_prompt("rpar")),
    "Caption of a box": Template(_prompt("rhrc"), "box"),
    "Several tasks": Template(chain_instruction("{}", keypoints=True, parsing=True).strip()),
}
