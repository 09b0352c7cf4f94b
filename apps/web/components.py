"""The page's own components: fields that hand over what was sent, a box to draw, a legend to click."""

import logging
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import gradio as gr
from gradio.data_classes import GradioRootModel, ImageData
from gradio.utils import get_upload_folder
from gradio_client.utils import is_http_url_like

from .logs import log_refused

logger = logging.getLogger(__name__)
REFUSED = "The server cannot take this request: it needs the fields that the page's API names, and uploaded files only."
FOLDER = Path(__file__).resolve().parent
LONGEST_SESSION = 100  # characters of a session's name


class Anything(GradioRootModel):
    """A value that gradio does not check, so that our own check can say what is wrong with it."""

    root: Any


class Page(gr.Blocks):
    """Blocks whose failures are a sentence for the visitor and a line of the log, without what visitors wrote in it."""

    def queue(self, *args: Any, **kwargs: Any) -> gr.Blocks:
        """gradio's queue, which takes no long name of a session: it keeps the names of thousands."""
        super().queue(*args, **kwargs)
        push = self._queue.push

        async def pushed(body: Any, **about: Any) -> Any:
            if len(body.session_hash or "") > LONGEST_SESSION:
                return False, REFUSED, "error"
            return await push(body=body, **about)

        self._queue.push = pushed  # type: ignore[assignment, method-assign]
        return self

    async def process_api(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """One call of one of the page's functions."""
        try:
            return await super().process_api(*args, **kwargs)
        except gr.Error as error:
            error.print_exception = False
            raise
        except Exception as error:  # what gradio finds wrong with a request: its text names folders of the server
            log_refused(logger, "a request failed", error)
            raise gr.Error(REFUSED, print_exception=False) from error


class Picture(gr.Image):
    """The path of an uploaded picture, which `given.read_picture` opens and checks."""

    is_template = True  # the browser's side is gr.Image's
    data_model = Anything  # type: ignore[assignment]  # gradio would refuse other values with a message of its own

    def preprocess(self, payload: Any) -> Any:
        """The path; anything that is not an uploaded file comes as it was sent."""
        value = None if payload is None else payload.root
        return value.get("path") if isinstance(value, dict) else value

    def api_info(self) -> dict[str, Any]:
        """The schema of gr.Image."""
        return ImageData.model_json_schema()


class Text(gr.Textbox):
    """A text as it was sent, for `given.read_text` to check: gr.Textbox would turn any value into a text."""

    is_template = True

    def preprocess(self, payload: Any) -> Any:
        """What was sent."""
        return payload


class Setting(gr.Slider):
    """A number as it was sent, for `given.read_generation` to check."""

    is_template = True

    def preprocess(self, payload: Any) -> Any:
        """What was sent."""
        return payload


def forbid_downloads(block: Any) -> None:
    """Makes a block refuse files given by their address, which gradio would download.

    Assistants name a file that they uploaded by its address here: that is read from the disk.
    """
    move = block.async_move_resource_to_block_cache

    async def moved(url_or_file_path: str | Path | None) -> str | None:
        if url_or_file_path is not None and is_http_url_like(str(url_or_file_path)):
            uploaded = Path(unquote(str(url_or_file_path).partition("/gradio_api/file=")[2])).resolve()
            if uploaded.is_relative_to(Path(get_upload_folder()).resolve()) and uploaded.is_file():
                return str(uploaded)
            raise gr.Error("needs an uploaded file, got an address; this server downloads none", print_exception=False)
        return await move(url_or_file_path)

    block.async_move_resource_to_block_cache = moved


def box_drawer(**options: Any) -> gr.HTML:
    """A picture to draw a box on. Its value lives in the browser: {"url": of the picture, "box": "x0, y0, x1, y1"}.

    Triggers `drawn` after a box was drawn; its numbers are px of the upright picture.
    """
    stage = '<div class="stage"><img alt="Draw a box here" draggable="false"><div class="frame"></div></div>'
    return gr.HTML(html_template=f'{stage}<p class="hint"></p>', **_files("box_drawer"), **options)


def legend(**options: Any) -> gr.HTML:
    """Names with their colours, to switch on and off: [{"name", "colours": [CSS colour, ...], "on"}, ...].

    Triggers `switched`.
    """
    template = '<div class="chips" role="group" aria-label="Shown"></div>'
    return gr.HTML(html_template=template, **_files("legend"), **options)


def _files(name: str) -> dict[str, Any]:
    css, js = ((FOLDER / f"{name}.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return {"css_template": css, "js_on_load": js}
