"""What can be asked on the page: one entry per kind of question, with the template that the model reads."""

from collections.abc import Callable
from dataclasses import dataclass

from ...inference.answers import Answer
from ...inference.predictor import Predictor
from ...models.generation import GenerationSettings
from ...tasks import TASKS
from ...tasks.chain import chain_instruction
from .given import Given

PARTS = ("keypoints", "parts")  # what an instruction for several tasks may ask for besides the box
DEFAULTS = GenerationSettings(min_len=4)  # the demos' settings (docs/generation.md)


@dataclass(frozen=True)
class Kind:
    """A kind of question. asks: the field that the user fills in, "expression", "box" or "instruction"."""

    label: str
    help: str
    asks: str
    template: str  # with {} for what the user fills in
    answer: Callable[[Predictor, Given], Answer]


def _refer(**parts: bool) -> Callable[[Predictor, Given], Answer]:
    return lambda model, given: model.refer(given.picture, given.expression, **parts)


def _chain(model: Predictor, given: Given) -> Answer:
    keypoints, parsing = (part in given.wanted for part in PARTS)
    return model.chain(
        given.picture, given.expression, keypoints=keypoints, parsing=parsing, generation=given.generation
    )


def _prompt(task: str) -> str:
    return TASKS[task].prompt.strip()


KINDS = {
    "box": Kind("Box", "Where is the person?", "expression", _prompt("refcoco"), _refer()),
    "keypoints": Kind(
        "Keypoints",
        "How does the person stand? Up to 17 named points.",
        "expression",
        _prompt("rkpt"),
        _refer(keypoints=True),
    ),
    "parts": Kind(
        "Parts", "Hair, coat, left arm …: each part as a mask.", "expression", _prompt("rpar"), _refer(parsing=True)
    ),
    "parallel": Kind(
        "Parts (QPG)",
        "All parts in one parallel step, for models trained to do that.",
        "expression",
        _prompt("rpar_full_mask"),
        _refer(parsing=True, parallel=True),
    ),
    "caption": Kind(
        "Region caption",
        "Draw a box around a person and read what they look like.",
        "box",
        _prompt("rhrc"),
        lambda model, given: model.describe(given.picture, given.box),
    ),
    "chain": Kind(
        "Several tasks",
        "One instruction asks for the box, the keypoints and the parts.",
        "expression",
        chain_instruction("{}", keypoints=True, parsing=True).strip(),
        _chain,
    ),
    "instruction": Kind(
        "Own instruction",
        "The model reads your sentence as it is. You may start from a template.",
        "instruction",
        "{}",
        lambda model, given: model.instruct(given.picture, given.instruction, generation=given.generation),
    ),
}
# Templates that an own instruction may start from, by label.
TEMPLATES = {kind.label: kind for name, kind in KINDS.items() if name not in ("parallel", "instruction")}
