"""The page: what is where, and what happens on which click."""

import json
from collections.abc import Sequence
from typing import Any

import gradio as gr

from ...data.pictures import MAX_BYTES, MAX_PIXELS
from ...inference.loading import ROOT
from ...inference.predictor import Predictor
from .asking import Asking
from .components import Page, Picture, Setting, Text, box_drawer, forbid_downloads, legend
from .folder import KEPT_SECONDS
from .given import HOTTEST, LONGEST, WIDEST
from .kinds import DEFAULTS, KINDS, PARTS, TEMPLATES
from .showing import DOWNLOADS

EXAMPLES = ROOT / "examples"
FIRST = KINDS["box"]
SOMEONE = "the woman in the red coat"
TITLE = "RefHCM: ask about the person you describe"
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
# The browser's own fonts: nothing is fetched from elsewhere.
THEME = gr.themes.Soft(
    primary_hue="pink", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "Consolas", "monospace"]
)
PROGRAM = """
Four endpoints: `refer`, `describe`, `chain` and `instruct`. They return what `answer.to_dict()` gives for the Python
methods of the same names.

```python
from gradio_client import Client, handle_file

page = Client("http://127.0.0.1:7860")
photo = handle_file("street.jpg")
page.predict(photo, "the woman in red", keypoints=True, parsing=True, api_name="/refer")
page.predict(photo, "10, 20, 200, 400", api_name="/describe")
page.predict(photo, "the woman in red", keypoints=True, parsing=True, api_name="/chain")
page.predict(photo, "what does the region {region} describe?", api_name="/instruct")
```
"""


def make_page(model: Predictor, *, about: str, concurrency: int = 2) -> gr.Blocks:
    """The page for a model. about: Markdown that says which model it is; concurrency: questions processed at once."""
    asking, bins = Asking(model), len(model.text.vocabulary.bin_ids)
    limit = {"concurrency_id": "model", "concurrency_limit": concurrency}
    with Page(title=TITLE, analytics_enabled=False) as page:
        gr.Markdown(
            f"# {TITLE}\nGive a picture and say in plain words whom you mean: "
            "the model finds that person, or says what the person in your box looks like.",
            elem_id="about",
        )
        gr.Markdown(about, elem_id="model")
        with gr.Row(elem_id="columns"):
            with gr.Column(scale=5):
                fields = _question(bins)
                button = gr.Button("Ask", variant="primary", elem_id="ask")
                settings = _settings()
            with gr.Column(scale=6):
                outputs = _answer()
        _examples(fields)
        with gr.Accordion("Use it from a program", open=False):
            gr.Markdown(PROGRAM.format(region=_region(bins, (0.01, 0.02, 0.5, 0.99))))
        gr.on(
            [button.click, fields["expression"].submit, fields["box"].submit],
            asking.ask,
            [*fields.values(), *settings],
            outputs,
            show_progress_on=outputs[1],
            api_visibility="private",
            **limit,
        )
        _, drawn, chips, _, _, shown, *_ = outputs
        chips.switched(asking.redraw, [shown, chips], drawn, trigger_mode="always_last", **QUIET)  # the last click wins
        _endpoints(asking, settings, limit)
    for block in page.blocks.values():
        forbid_downloads(block)
    return page


def _region(bins: int, shares: Sequence[float]) -> str:
    """A box in the model's symbols. shares: x0, y0, x1, y1 as fractions of the picture's width and height."""
    return " ".join(f"<bin_{round(share * (bins - 1))}>" for share in shares)


def _question(bins: int) -> dict[str, Any]:
    """The fields of a question by name, in the order of `Asking.ask`. bins: the number of bins that the model has."""
    picture = Picture(
        type="filepath",
        image_mode=None,
        label="1 · Picture",
        height=300,
        sources=["upload", "clipboard", "webcam"],
        elem_id="picture",
        placeholder=f"Drop a picture here, or click\n(up to {MAX_BYTES >> 20} MB, {MAX_PIXELS // 10**6} megapixels)",
    )
    choices = [(kind.label, name) for name, kind in KINDS.items()]
    kind = gr.Radio(choices, value="box", label="2 · What do you want to know?", info=FIRST.help, elem_id="kind")
    expression = Text(label="3 · Who?", info=_reads(FIRST.template), placeholder=SOMEONE, elem_id="expression")
    wanted = gr.CheckboxGroup(
        [(f"+ {part}", part) for part in PARTS], value=list(PARTS), label="Asked for", visible=False
    )
    box_group, box = _box(picture)
    own_group, instruction = _own_instruction(bins, expression)

    def show_fields(name: str) -> list[Any]:
        chosen = KINDS[name]
        described = chosen.asks == "expression"
        return [
            gr.update(info=chosen.help),
            gr.update(visible=described, info=_reads(chosen.template)),
            gr.update(visible=name == "chain"),
            gr.update(visible=chosen.asks == "box"),
            gr.update(visible=chosen.asks == "instruction"),
        ]

    kind.change(show_fields, kind, [kind, expression, wanted, box_group, own_group], **QUIET)
    return {
        "kind": kind,
        "picture": picture,
        "expression": expression,
        "box": box,
        "instruction": instruction,
        "wanted": wanted,
    }


def _reads(template: str) -> str:
    return f"The model reads: {template.format('…')}"


def _box(picture: Picture) -> tuple[gr.Group, Text]:
    """A box to draw on the picture or to type; both stay the same, without asking the server."""
    with gr.Group(visible=False) as group:
        drawer = box_drawer(elem_id="drawer", padding=True)
        box = Text(
            label="3 · Box",
            info="x0, y0, x1, y1 in pixels: draw it or type it",
            placeholder="10, 20, 200, 400",
            elem_id="box",
        )
    picture.input(None, None, box, js="() => ''", **QUIET)  # a new picture has no box yet
    both = "(picture, box) => ({url: picture ? picture.url : null, box: box})"
    gr.on([picture.change, box.change], None, [picture, box], drawer, js=both, **QUIET)
    drawer.drawn(None, drawer, box, js="(drawn) => drawn.box", **QUIET)
    return group, box


def _own_instruction(bins: int, expression: Text) -> tuple[gr.Group, Text]:
    """An instruction in the user's own words, and templates to start from."""
    with gr.Group(visible=False) as group:
        template = gr.Dropdown(list(TEMPLATES), value=None, label="Start from a template", elem_id="template")
        instruction = Text(
            label="3 · Instruction",
            lines=3,
            info=f"Bins are written <bin_0> to <bin_{bins - 1}>",
            placeholder=FIRST.template.format(SOMEONE),
            elem_id="instruction",
        )

    def start_from(label: str | None, who: str) -> Any:
        if not label:
            return gr.skip()
        middle = _region(bins, (0.25, 0.25, 0.75, 0.75))
        return TEMPLATES[label].template.format(middle if TEMPLATES[label].asks == "box" else who or SOMEONE)

    template.input(start_from, [template, expression], instruction, **QUIET)
    return group, instruction


def _settings() -> list[gr.Slider]:
    """The generation settings, in the order of `given.read_generation`."""
    with gr.Accordion("Generation settings", open=False, elem_id="settings"):
        gr.Markdown("For “Several tasks” and “Own instruction”; the other kinds have fixed settings.")
        return [
            Setting(0, LONGEST, DEFAULTS.min_len, step=1, label="Shortest answer", info="symbols"),
            Setting(1, LONGEST, DEFAULTS.max_len_b, step=1, label="Longest answer", info="symbols"),
            Setting(1, WIDEST, DEFAULTS.beam, step=1, label="Beams", info="answers followed at once"),
            Setting(0.1, HOTTEST, DEFAULTS.temperature, step=0.1, label="Temperature", info="1: as trained"),
        ]


def _answer() -> list[Any]:
    """What shows an answer, in the order in which `Asking.ask` returns it."""
    status = gr.HTML(
        "<p>Nothing asked yet. Click an example below, then “Ask”.</p>",
        html_template='<div role="status" aria-live="polite">${value}</div>',  # screen readers say when it changes
        elem_id="status",
    )
    drawn = gr.Image(
        label="Answer", interactive=False, format="png", height=460, elem_id="drawn", buttons=["download", "fullscreen"]
    )
    chips = legend(value=[], elem_id="legend")
    with gr.Row():
        downloads = [
            gr.DownloadButton(f"⬇ {label}", visible=False, size="sm", elem_id=file.replace(".", "-"))
            for label, file in DOWNLOADS.items()
        ]
    with gr.Tab("Table"):
        table = gr.Dataframe(
            headers=["what", "value", "score"],
            value=[],
            interactive=False,
            wrap=True,
            column_widths=["28%", "54%", "18%"],
            elem_id="table",
        )
    with gr.Tab("JSON"):
        record = gr.JSON(show_label=False, max_height=420, elem_id="json")
    return [status, drawn, chips, table, record, gr.State(time_to_live=KEPT_SECONDS), *downloads]


def _examples(fields: dict[str, Any]) -> None:
    """The pictures that come with the project, each with a question: a click fills in the fields."""
    examples = json.loads((EXAMPLES / "examples.json").read_text(encoding="utf-8"))
    gr.Markdown("#### Examples: click one, then “Ask”")
    gallery = gr.Gallery(
        [(str(EXAMPLES / example["image"]), KINDS[example["kind"]].label) for example in examples],
        show_label=False,
        columns=len(examples),
        height=190,
        object_fit="cover",
        allow_preview=False,
        interactive=False,
        buttons=[],
        elem_id="examples",
    )
    names = ("kind", "expression", "box", "instruction")

    def fill_in(chosen: gr.SelectData) -> list[str]:
        example = examples[chosen.index]
        return [str(EXAMPLES / example["image"]), *(example.get(name, "") for name in names)]

    gallery.select(fill_in, None, [fields[name] for name in ("picture", *names)], **QUIET)


def _endpoints(asking: Asking, settings: Sequence[gr.Slider], limit: dict[str, Any]) -> None:
    """What programs call. The fields are hidden: gradio takes an endpoint's parameters from them."""
    with gr.Row(visible=False):
        picture = Picture(type="filepath", image_mode=None, label="image")
        expression, text, instruction = (Text(label=label) for label in ("expression", "text", "instruction"))
        box = Text(label="box: x0, y0, x1, y1 in px")
        keypoints, parsing, parallel = (gr.Checkbox(label=label) for label in ("keypoints", "parsing", "parallel"))
        answer = gr.JSON(label="answer")
        for call, inputs in (
            (asking.refer, [picture, expression, keypoints, parsing, parallel]),
            (asking.describe, [picture, box]),
            (asking.chain, [picture, text, keypoints, parsing, *settings]),
            (asking.instruct, [picture, instruction, *settings]),
        ):
            gr.Button().click(call, inputs, answer, api_name=call.__name__, **limit)
