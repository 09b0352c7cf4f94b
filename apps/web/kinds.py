"""What can be asked on the page: one entry for each task, with the template that the model reads."""

from collections.abc import Callable
from dataclasses import dataclass

from ...inference.answers import Answer
from ...inference.predictor import Predictor
from ...models.generation import GenerationSettings
from ...tasks import TASKS
from ...tasks.chain import chain_instruction
from .given import Given

PARTS = ("keypoints", "parts")  # what an instruction for several tasks may ask for, besides the box
DEFAULTS = GenerationSettings(min_len=4)  # the demos' (docs/generation.md)


@dataclass(frozen=True)
class Kind:
    """A kind of question. asks: the field that the user fills in, "words", "box" or "instruction"."""

    label: str
    help: str
    asks: str
    template: str  # with {} for what the user says
    answer: Callable[[Predictor, Given], Answer]


def _refer(label: str, help_text: str, task: str, **wanted: bool) -> Kind:
    return Kind(
        label,
        help_text,
        "words",
        TASKS[task].prompt.strip(),
        lambda model, given: model.refer(given.picture, given.words, **wanted),
    )


def chain(model: Predictor, given: Given) -> Answer:
    """Several tasks in one instruction."""
    return model.chain(
        given.picture,
        given.words,
        keypoints="keypoints" in given.wanted,
        parsing="parts" in given.wanted,
        generation=given.generation,
    )


def instruct(model: Predictor, given: Given) -> Answer:
    """The user's own instruction."""
    return model.instruct(given.picture, given.instruction, generation=given.generation)


def describe(model: Predictor, given: Given) -> Answer:
    """What the person in the box looks like."""
    return model.describe(given.picture, given.box)


KINDS: dict[str, Kind] = {
    "box": _refer("Box", "Where is the person?", "refcoco"),
    "keypoints": _refer("Keypoints", "How does the person stand? Up to 17 named points.", "rkpt", keypoints=True),
    "parts": _refer("Parts", "Hair, coat, left arm …: each part as a mask.", "rpar", parsing=True),
    "parallel": _refer(
        "Parts (QPG)",
        "All parts in one parallel step, for models that have learned it.",
        "rpar_full_mask",
        parsing=True,
        parallel=True,
    ),
    "caption": Kind(
        "Region caption",
        "Draw a box around a person, and read what they look like.",
        "box",
        TASKS["rhrc"].prompt.strip(),
        describe,
    ),
    "chain": Kind(
        "Several tasks",
        "One instruction asks for the box, the keypoints and the parts.",
        "words",
        chain_instruction("{}", keypoints=True, parsing=True).strip(),
        chain,
    ),
    "instruction": Kind(
        "Own instruction",
        "The model reads your sentence as it is. Start from a template, if you like.",
        "instruction",
        "{}",
        instruct,
    ),
}
# What an instruction of one's own may start from.
TEMPLATES = {kind.label: kind for name, kind in KINDS.items() if name not in ("parallel", "instruction")}
