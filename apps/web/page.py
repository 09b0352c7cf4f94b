"""The page: what is where, and what happens on which click."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from ...data.pictures import MAX_BYTES, MAX_PIXELS
from ...inference.predictor import Predictor
from .asking import Asking
from .components import BoxDrawer, Legend, Picture, Setting, Text, fetch_nothing
from .given import HOTTEST, LONGEST, WIDEST
from .kinds import DEFAULTS, KINDS, PARTS, TEMPLATES
from .showing import DOWNLOADS

FOLDER = Path(__file__).resolve().parent
EXAMPLES = FOLDER.parent / "examples"
KEPT_SECONDS = 3600  # for how long uploads, answers and their files stay
FIRST = "box"
TITLE = "RefHCM: ask about the person you describe"
# The browser's own fonts: nothing is fetched from elsewhere.
THEME = gr.themes.Soft(
    primary_hue="pink", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "Consolas", "monospace"]
)
PROGRAM = """
Four endpoints: `refer`, `describe`, `chain` and `instruct`. Their answers are those of the Python methods of the same
names, as `answer.to_dict()` gives them.

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
    """The page about a model. about: Markdown, which model it is; concurrency: questions that are read at once."""
    asking, bins = Asking(model), len(model.text.vocabulary.bin_ids)
    limit = {"concurrency_id": "model", "concurrency_limit": concurrency}
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(KEPT_SECONDS // 4, KEPT_SECONDS)) as page:
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
        inputs = [fields[name] for name in ("kind", "picture", "words", "box", "instruction", "wanted")] + settings
        gr.on(
            [button.click, fields["words"].submit, fields["box"].submit],
            asking.ask,
            inputs,
            outputs,
            show_progress_on=outputs[1],
            api_visibility="private",
            **limit,
        )
        outputs[2].switched(
            asking.redraw,
            [outputs[5], outputs[2]],
            outputs[1],
            show_progress="hidden",
            api_visibility="private",
            trigger_mode="always_last",  # of quick clicks the last one shows
        )
        _endpoints(asking, settings, limit)
    for block in page.blocks.values():
        fetch_nothing(block)
    return page


def _region(bins: int, shares: Sequence[float]) -> str:
    """A box in the model's symbols. shares: of the picture's width and height, x0, y0, x1, y1."""
    return " ".join(f"<bin_{round(share * (bins - 1))}>" for share in shares)


def _question(bins: int) -> dict[str, Any]:
    """The fields of a question, by name. bins: how many the model has."""
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
    kind = gr.Radio(choices, value=FIRST, label="2 · What do you want to know?", info=KINDS[FIRST].help, elem_id="kind")
    words = Text(label="3 · Who?", info=_reads(FIRST), placeholder="the woman in the red coat", elem_id="words")
    wanted = gr.CheckboxGroup(
        [(f"+ {part}", part) for part in PARTS], value=list(PARTS), label="Asked for", visible=False
    )
    with gr.Group(visible=False) as box_group:
        drawer = BoxDrawer(elem_id="drawer", padding=True)
        box = Text(
            label="3 · Box",
            info="x0, y0, x1, y1 in pixels: drawn, or typed",
            placeholder="10, 20, 200, 400",
            elem_id="box",
        )
    with gr.Group(visible=False) as own_group:
        template = gr.Dropdown(list(TEMPLATES), value=None, label="Start from a template", elem_id="template")
        instruction = Text(
            label="3 · Instruction",
            lines=3,
            info=f"Bins are written <bin_0> to <bin_{bins - 1}>",
            placeholder='which region does the text " the woman in red " describe?',
            elem_id="instruction",
        )

    def show_fields(name: str) -> list[Any]:
        chosen = KINDS[name]
        return [
            gr.update(info=chosen.help),
            gr.update(visible=chosen.asks == "words", info=_reads(name)),
            gr.update(visible=chosen.asks == "words" and name == "chain"),
            gr.update(visible=chosen.asks == "box"),
            gr.update(visible=chosen.asks == "instruction"),
        ]

    def start_from(name: str | None, who: str) -> Any:
        if not name:
            return gr.skip()
        chosen = TEMPLATES[name]
        middle = _region(bins, (0.25, 0.25, 0.75, 0.75))
        return chosen.template.format(middle if chosen.asks == "box" else who or "the woman in red")

    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    kind.change(show_fields, kind, [kind, words, wanted, box_group, own_group], **quiet)
    template.input(
        start_from,
        [template, words],
        instruction,
        **quiet,
    )
    # In the browser alone: a new picture has no box yet, and the drawn box and the typed one are the same.
    picture.input(None, None, box, js="() => ''", **quiet)
    gr.on(
        [picture.change, box.change],
        None,
        [picture, box],
        drawer,
        js="(picture, box) => ({url: picture ? picture.url : null, box: box})",
        **quiet,
    )
    drawer.drawn(None, drawer, box, js="(drawn) => drawn.box", **quiet)
    return {
        "picture": picture,
        "kind": kind,
        "words": words,
        "box": box,
        "instruction": instruction,
        "wanted": wanted,
    }


def _reads(name: str) -> str:
    return f"The model reads: {KINDS[name].template.format('…')}"


def _settings() -> list[gr.Slider]:
    """Generation settings, in the order of `given.read_generation`."""
    with gr.Accordion("Generation settings", open=False, elem_id="settings"):
        gr.Markdown("For “Several tasks” and “Own instruction”; the other tasks have their own.")
        return [
            Setting(0, LONGEST, DEFAULTS.min_len, step=1, label="Shortest answer", info="symbols"),
            Setting(1, LONGEST, DEFAULTS.max_len_b, step=1, label="Longest answer", info="symbols"),
            Setting(1, WIDEST, DEFAULTS.beam, step=1, label="Beams", info="answers that are followed at once"),
            Setting(0.1, HOTTEST, DEFAULTS.temperature, step=0.1, label="Temperature", info="1: as trained"),
        ]


def _answer() -> list[Any]:
    """What shows an answer, in the order of `Asking.ask`'s result."""
    status = gr.HTML(
        "<p>Nothing was asked yet. Click on an example below, then on “Ask”.</p>",
        html_template='<div role="status" aria-live="polite">${value}</div>',  # read aloud when it changes
        elem_id="status",
    )
    drawn = gr.Image(
        label="Answer", interactive=False, format="png", height=460, elem_id="drawn", buttons=["download", "fullscreen"]
    )
    legend = Legend(value=[], elem_id="legend")
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
    return [status, drawn, legend, table, record, gr.State(time_to_live=KEPT_SECONDS), *downloads]


def _examples(fields: dict[str, Any]) -> None:
    """The pictures that ship, with a question each: a click fills in the fields."""
    file = EXAMPLES / "examples.json"
    examples = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    if not examples:
        return
    gr.Markdown("#### Examples: click on one, then on “Ask”")
    gallery = gr.Gallery(
        [(str(EXAMPLES / one["image"]), KINDS[one["kind"]].label) for one in examples],
        show_label=False,
        columns=len(examples),
        height=190,
        object_fit="cover",
        allow_preview=False,
        interactive=False,
        buttons=[],
        elem_id="examples",
    )
    names = ("kind", "words", "box", "instruction")

    def fill_in(chosen: gr.SelectData) -> list[str]:
        example = examples[chosen.index]
        return [str(EXAMPLES / example["image"]), *(example.get(name, "") for name in names)]

    filled = [fields[name] for name in ("picture", *names)]
    gallery.select(fill_in, None, filled, show_progress="hidden", api_visibility="private")


def _endpoints(asking: Asking, settings: Sequence[gr.Slider], limit: dict[str, Any]) -> None:
    """What programs call, with fields of their own that the page does not show."""
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


def launch_options() -> dict[str, Any]:
    """What `gr.Blocks.launch` needs for this page, wherever it listens."""
    return {
        "theme": THEME,
        "css_paths": FOLDER / "page.css",
        "allowed_paths": [str(EXAMPLES)],
        "max_file_size": MAX_BYTES,
        "show_error": True,
        "run_history": False,
        "ssr_mode": False,
        "footer_links": ["api"],
        "state_session_capacity": 200,
    }
