"""The page: what is where, and what happens on which click."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from ...inference.predictor import Predictor
from .answer import CLEAR, TO_ANSWER, Answered, answer_fields
from .asking import Asking
from .components import Page, forbid_downloads
from .endpoints import PROGRAM, add_endpoints
from .examples import QUESTIONS
from .question import QUIET, Question, question_fields, region

TITLE = "RefHCM: ask about the person you describe"
# gradio's pink, with shades that white text can be read on. The browser's own fonts: nothing is fetched from elsewhere.
PINK = gr.themes.Color(
    *("#fdf2f8", "#fce7f3", "#fbcfe8", "#f9a8d4", "#f472b6", "#c3206b", "#b01a5e", "#9d174d", "#831843", "#6e1a3d"),
    "#4a0d26",
    name="pink",
)
THEME = gr.themes.Soft(
    primary_hue=PINK,
    neutral_hue="slate",
    font=["system-ui", "sans-serif"],
    font_mono=["ui-monospace", "Consolas", "monospace"],
).set(
    body_text_color_subdued="*neutral_500",
    body_text_color_subdued_dark="*neutral_300",
    block_info_text_color="*neutral_500",
    block_info_text_color_dark="*neutral_300",
    # What can be clicked or filled in is outlined, 3:1 at least; words on it have 4.5:1, under the mouse, too.
    button_primary_background_fill_hover="*primary_600",
    button_primary_background_fill_hover_dark="*primary_500",
    checkbox_border_color="*neutral_500",
    checkbox_border_color_dark="*neutral_300",
    checkbox_border_color_hover="*neutral_500",
    checkbox_border_color_hover_dark="*neutral_300",
    input_border_width="1px",
    input_border_color="*neutral_500",
    input_border_color_dark="*neutral_400",
    input_placeholder_color="*neutral_500",
    input_placeholder_color_dark="#a8b4c6",
)
# An example's button is named by its question, for screen readers; its picture has that as alternative text, too.
ALT = """() => {
  const examples = document.querySelector("#examples");
  const name = () => examples.querySelectorAll("img").forEach((image) => {
    if (image.alt.startsWith("Picture for: ")) return;
    image.closest("button").ariaLabel = `Ask: ${image.alt}`;
    image.alt = `Picture for: ${image.alt}`;
  });
  new MutationObserver(name).observe(examples, { subtree: true, childList: true, attributeFilter: ["alt"] });
  name();
}"""


def make_page(model: Predictor, *, about: str, concurrency: int = 2) -> gr.Blocks:
    """The page for a model. about: Markdown that says which model it is; concurrency: questions processed at once."""
    asking, bins = Asking(model), len(model.text.vocabulary.bin_ids)
    limit = {"concurrency_id": "model", "concurrency_limit": concurrency}
    with Page(title=TITLE, analytics_enabled=False) as page:
        gr.Markdown(
            f"# {TITLE}\nGive a picture and say in plain words whom you mean: the model finds that person, "
            "and says where they are, how they stand, what they wear.",
            elem_id="about",
        )
        gr.Markdown(about, elem_id="model")
        with gr.Row(elem_id="columns"):
            with gr.Column(scale=5, elem_id="question"):
                question = question_fields(model)
            with gr.Column(scale=6):
                answered = answer_fields()
        gallery = _examples()
        with gr.Accordion("Use it from a program", open=False):
            gr.Markdown(PROGRAM.format(region=region(bins, (0.01, 0.02, 0.5, 0.99))))
        _wire(asking, question, answered, gallery, limit)
        add_endpoints(model, question.settings, limit)
        page.load(None, None, None, js=ALT, **QUIET)
    for block in page.blocks.values():
        forbid_downloads(block)
    return page


def _wire(asking: Asking, question: Question, answered: Answered, gallery: gr.Gallery, limit: dict[str, Any]) -> None:
    ask = {
        "fn": asking.ask,
        "inputs": question.asked,
        "outputs": answered.outputs,
        "js": TO_ANSWER,
        "show_progress_on": answered.status,
        "api_visibility": "private",
        **limit,
    }
    clear = {"fn": None, "inputs": None, "outputs": [answered.status, answered.all], "js": CLEAR, **QUIET}
    fields = question.fields

    def fill_in(chosen: gr.SelectData) -> list[Any]:
        example = QUESTIONS[chosen.index]
        by_box = example.way == "box"
        values = {
            "who": "box" if by_box else "words",
            "way": "words" if by_box else example.way,
            "picture": str(example.path),
            "expression": example.expression,
            "box": example.box,
            "wanted": list(example.wanted),
            "everyone": False,
            "parallel": example.parallel,
            "instruction": example.instruction,
        }
        return [values[name] for name in fields]

    def with_caption(wanted: Sequence[str]) -> list[str]:
        return [*wanted, "caption"]

    asks = [
        gr.on([question.button.click, fields["expression"].submit, fields["box"].submit], **ask),
        gallery.select(fill_in, None, list(fields.values()), **QUIET).then(**ask),
        answered.describe.click(with_caption, fields["wanted"], fields["wanted"], **QUIET).then(**ask),
    ]
    gr.on([field.input for field in (*fields.values(), *question.settings)], cancels=asks, **clear)
    question.drawer.drawn(cancels=asks, **clear)
    redraw = {
        "fn": asking.redraw,
        "inputs": [answered.shown, answered.legend, answered.least],
        "outputs": [answered.drawn, answered.table],
        "trigger_mode": "always_last",  # the last click wins
        **QUIET,
    }
    answered.legend.switched(**redraw)
    answered.least.input(**redraw)


def _examples() -> gr.Gallery:
    """The pictures that come with the project, each with a question: a click asks it."""
    gr.Markdown("## Examples\nA click asks at once.", elem_id="examples-title")
    return gr.Gallery(
        [(str(example.path), example.title) for example in QUESTIONS],
        label="Examples",
        show_label=False,
        columns=len(QUESTIONS),
        height=190,
        object_fit="cover",
        allow_preview=False,
        interactive=False,
        buttons=[],
        elem_id="examples",
    )
