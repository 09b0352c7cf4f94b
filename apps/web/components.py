"""The page's own components: fields that take whatever a program sends, a box drawn on a picture, a legend to click."""

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import GradioRootModel, ImageData
from gradio_client.utils import is_http_url_like

FOLDER = Path(__file__).resolve().parent


class Anything(GradioRootModel):
    """A value that gradio does not look at, so that our own check says what is wrong with it."""

    root: Any


class Picture(gr.Image):
    """An uploaded picture's path; opening and checking it is left to `given.read_picture`."""

    is_template = True  # the browser's side is gr.Image's
    data_model = Anything

    def preprocess(self, payload: Anything | None) -> Any:
        """The path; what is no uploaded file comes as it is."""
        value = None if payload is None else payload.root
        return value.get("path") if isinstance(value, dict) else value

    def api_info(self) -> dict[str, Any]:
        """A picture, as gr.Image says it."""
        return ImageData.model_json_schema()


def fetch_nothing(block: Any) -> None:
    """Files that a block is given are there: gradio would download what a program names by its address."""
    move = block.async_move_resource_to_block_cache

    async def moved(url_or_file_path: str | Path | None) -> str | None:
        if url_or_file_path is not None and is_http_url_like(str(url_or_file_path)):
            raise gr.Error("a file is needed, got an address: nothing is fetched from elsewhere", print_exception=False)
        return await move(url_or_file_path)

    block.async_move_resource_to_block_cache = moved


class Text(gr.Textbox):
    """A text that comes as it was sent: gr.Textbox would make one of any value."""

    is_template = True

    def preprocess(self, payload: Any) -> Any:
        """What was sent."""
        return payload


class Setting(gr.Slider):
    """A number that is checked by `given.read_generation`."""

    is_template = True

    def preprocess(self, payload: Any) -> Any:
        """What was sent."""
        return payload


class BoxDrawer(gr.HTML):
    """A picture to draw a box on. Its value lives in the browser: {"url": of the picture, "box": "x0, y0, x1, y1"}.

    Triggers `drawn` when a box was drawn; its numbers are px of the upright picture.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(
            html_template=(
                '<div class="stage"><img alt="Draw a box here" draggable="false"><div class="frame"></div></div>'
                '<p class="hint"></p>'
            ),
            css_template=(FOLDER / "box_drawer.css").read_text(encoding="utf-8"),
            js_on_load=(FOLDER / "box_drawer.js").read_text(encoding="utf-8"),
            **options,
        )

    def api_info(self) -> dict[str, Any]:
        """Not for programs."""
        return {"type": "object"}


class Legend(gr.HTML):
    """Names with their colours, to be switched on and off: [{"name", "colours": [CSS colour, ...], "on"}, ...].

    Triggers `switched`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(
            html_template='<div class="chips" role="group" aria-label="Shown"></div>',
            css_template=(FOLDER / "legend.css").read_text(encoding="utf-8"),
            js_on_load=(FOLDER / "legend.js").read_text(encoding="utf-8"),
            **options,
        )

    def api_info(self) -> dict[str, Any]:
        """Not for programs."""
        return {"type": "array"}
