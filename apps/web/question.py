"""The left side of the page: the picture, who, what to know about them, and what is seldom needed under Advanced."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ...data.pictures import MAX_BYTES, MAX_PIXELS
from ...inference.learned import EVERYONE
from ...inference.predictor import Predictor
from .components import Picture, Setting, Text, box_drawer
from .given import HOTTEST, LONGEST, WIDEST
from .kinds import DEFAULTS, LABELS, TEMPLATES, WANTED, WAYS

SOMEONE = "the woman in the red coat"
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


@dataclass(frozen=True)
class Question:
    """What asks. fields: by name, in the order of `Asking.ask`; settings: in that of `given.read_generation`."""

    fields: dict[str, Any]
    settings: list[gr.Slider]
    drawer: gr.HTML
    button: gr.Button

    @property
    def asked(self) -> list[Any]:
        """The inputs of `Asking.ask`."""
        return [*self.fields.values(), *self.settings]


def question_fields(model: Predictor) -> Question:
    """The fields for a model: nothing is offered that it cannot answer."""
    bins, everyone_known = len(model.text.vocabulary.bin_ids), EVERYONE in model.learned
    picture = Picture(
        type="filepath",
        image_mode=None,
        label=f"1 · {LABELS['image']}",
        height=300,
        sources=["upload", "clipboard", "webcam"],
        elem_id="picture",
        placeholder=f"Drop a picture here, or click\n(up to {MAX_BYTES >> 20} MB, {MAX_PIXELS // 10**6} megapixels)",
    )
    with gr.Group():
        who = gr.Radio([("In words", "words"), ("With a box", "box")], value="words", label="2 · Who?", elem_id="who")
        expression = Text(label=LABELS["expression"], placeholder=SOMEONE, elem_id="expression")
        everyone = gr.Checkbox(
            label="Everyone who fits", info="None to many people", visible=everyone_known, elem_id="everyone"
        )
        box_group, box, drawer = _box(picture)
    known = [(label, name) for name, label in WANTED.items() if name != "parts" or model.tokenizer is not None]
    wanted = gr.CheckboxGroup(known, value=["box"], label="3 · What do you want to know?", elem_id="wanted")
    button = gr.Button("Ask", variant="primary", elem_id="ask")
    with gr.Accordion("Advanced", open=False, elem_id="advanced") as advanced:
        choices = [(way.label, name) for name, way in WAYS.items() if way.asks != "box"]
        way = gr.Radio(choices, value="words", label="Way of asking", elem_id="way")
        parallel = gr.Checkbox(
            label="Parts in parallel (QPG)",
            info="One parallel step, for models that have learned it",
            visible=model.tokenizer is not None,
            elem_id="parallel",
        )
        instruction_group, instruction = _own_instruction(bins, expression)
        settings = _settings()

    def show_fields(who: str, way: str) -> list[Any]:
        described = who == "words" and way != "instruction"
        by_words = who == "words" and way == "words"
        return [
            gr.update(visible=described),
            gr.update(visible=by_words and everyone_known),
            gr.update(visible=who == "box"),
            gr.update(visible=who == "words"),
            gr.update(visible=who == "words"),
            gr.update(visible=who == "words" and way == "instruction"),
        ]

    shown = [expression, everyone, box_group, wanted, advanced, instruction_group]
    gr.on([who.change, way.change], show_fields, [who, way], shown, **QUIET)
    fields = {
        "who": who,
        "way": way,
        "picture": picture,
        "expression": expression,
        "box": box,
        "wanted": wanted,
        "everyone": everyone,
        "parallel": parallel,
        "instruction": instruction,
    }
    return Question(fields, settings, drawer, button)


def region(bins: int, shares: Sequence[float]) -> str:
    """A box in the model's symbols. shares: x0, y0, x1, y1 as fractions of the picture's width and height."""
    return " ".join(f"<bin_{round(share * (bins - 1))}>" for share in shares)


def _box(picture: Picture) -> tuple[gr.Group, Text, gr.HTML]:
    """A box to draw on the picture or to type; both stay the same, without asking the server."""
    with gr.Group(visible=False) as group:
        drawer = box_drawer(elem_id="drawer", padding=True)
        box = Text(
            label=LABELS["box"],
            info="x0, y0, x1, y1 in pixels: draw it or type it",
            placeholder="10, 20, 200, 400",
            elem_id="box",
        )
    picture.input(None, None, box, js="() => ''", **QUIET)  # a new picture has no box yet
    both = "(picture, box) => ({url: picture ? picture.url : null, box: box})"
    gr.on([picture.change, box.change], None, [picture, box], drawer, js=both, **QUIET)
    drawer.drawn(None, drawer, box, js="(drawn) => drawn.box", **QUIET)
    return group, box, drawer


def _own_instruction(bins: int, expression: Text) -> tuple[gr.Group, Text]:
    """An instruction in the user's own words, and templates to start from."""
    with gr.Group(visible=False) as group:
        template = gr.Dropdown(list(TEMPLATES), value=None, label="Start from a template", elem_id="template")
        instruction = Text(
            label=LABELS["instruction"],
            lines=3,
            info=f"Read as it is. Bins are written <bin_0> to <bin_{bins - 1}>",
            placeholder=TEMPLATES["Box"].text.format(SOMEONE),
            elem_id="instruction",
        )

    def start_from(label: str | None, who: str) -> Any:
        if not label:
            return gr.skip()
        middle = region(bins, (0.25, 0.25, 0.75, 0.75))
        return TEMPLATES[label].text.format(middle if TEMPLATES[label].asks == "box" else who or SOMEONE)

    template.input(start_from, [template, expression], instruction, **QUIET)
    return group, instruction


def _settings() -> list[gr.Slider]:
    with gr.Accordion("Generation settings", open=False, elem_id="settings"):
        gr.Markdown("For the last two ways of asking; the others have fixed settings.")
        return [
            Setting(0, LONGEST, DEFAULTS.min_len, step=1, label=LABELS["min_len"], info="symbols"),
            Setting(1, LONGEST, DEFAULTS.max_len_b, step=1, label="Longest answer", info="symbols"),
            Setting(1, WIDEST, DEFAULTS.beam, step=1, label="Beams", info="answers followed at once"),
            Setting(0.1, HOTTEST, DEFAULTS.temperature, step=0.1, label="Temperature", info="1: as trained"),
        ]
