"""What the page and its API do with a question: check it, ask the model, and put every failure into a sentence."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from ...inference.answers import Answer
from ...inference.predictor import Predictor
from ...utils.errors import UserError
from . import showing
from .given import Given, opened, read_box, read_generation, read_switch, read_text
from .kinds import KINDS
from .logs import log_failed

logger = logging.getLogger(__name__)
UNEXPECTED = "Something went wrong on the server; its log says what. You can go on asking."


@contextmanager
def readable_errors() -> Iterator[None]:
    """Turns any failure into a `gr.Error` whose message is a sentence for the user."""
    try:
        yield
    except UserError as error:
        raise gr.Error(str(error), print_exception=False) from error
    except Exception as error:  # the edge of the program: visitors must not see it, and it must not end the server
        log_failed(logger, "a question failed", error)
        raise gr.Error(UNEXPECTED, print_exception=False) from error


class Asking:
    """The functions behind the page and its API, for one model."""

    def __init__(self, model: Predictor) -> None:
        self.model = model

    # The API: programs see the names of the parameters; the defaults are those of the fields in `page.py`

    @readable_errors()
    def refer(
        self, image: Any, expression: Any, keypoints: Any = False, parsing: Any = False, parallel: Any = False
    ) -> dict[str, Any]:
        """The person that an expression describes: box, and on request keypoints and parts."""
        wanted = {"keypoints": keypoints, "parsing": parsing, "parallel": parallel}
        wanted = {name: read_switch(name, value) for name, value in wanted.items()}
        expression = read_text("expression", expression)
        with opened(image) as picture:
            return self.model.refer(picture, expression, **wanted).to_dict()

    @readable_errors()
    def describe(self, image: Any, box: Any) -> dict[str, Any]:
        """What the person in a box looks like. box: x0, y0, x1, y1 in px, as a text or four numbers."""
        box_xyxy = read_box(box)
        with opened(image) as picture:
            return self.model.describe(picture, box_xyxy).to_dict()

    @readable_errors()
    def chain(
        self,
        image: Any,
        text: Any,
        keypoints: Any,
        parsing: Any,
        min_len: Any,
        max_len: Any,
        beam: Any,
        temperature: Any,
    ) -> dict[str, Any]:
        """The person that a text describes, by one instruction that asks several tasks (S1 decoding)."""
        text, keypoints, parsing = (
            read_text("text", text),
            read_switch("keypoints", keypoints),
            read_switch("parsing", parsing),
        )
        generation = read_generation(min_len, max_len, beam, temperature)
        with opened(image) as picture:
            return self.model.chain(
                picture, text, keypoints=keypoints, parsing=parsing, generation=generation
            ).to_dict()

    @readable_errors()
    def instruct(
        self, image: Any, instruction: Any, min_len: Any, max_len: Any, beam: Any, temperature: Any
    ) -> dict[str, Any]:
        """Any instruction in your own words; it decides what comes back."""
        generation = read_generation(min_len, max_len, beam, temperature)
        instruction = read_text("instruction", instruction)
        with opened(image) as picture:
            return self.model.instruct(picture, instruction, generation=generation).to_dict()

    # The page

    def ask(
        self,
        kind: str,
        path: Any,
        expression: Any,
        box: Any,
        instruction: Any,
        wanted: list[str],
        *settings: Any,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 -- gradio looks for this default
    ) -> tuple[Any, ...]:
        """Sentence, drawing, legend, table, JSON, what `redraw` needs, and the downloads in their order."""
        try:
            with readable_errors():
                progress(0.05, desc="Reading the picture")
                asks = KINDS[kind].asks
                with opened(path) as picture:
                    given = Given(
                        picture,
                        expression=read_text("expression", expression) if asks == "expression" else "",
                        box=read_box(box) if asks == "box" else (),
                        instruction=read_text("instruction", instruction) if asks == "instruction" else "",
                        wanted=wanted,
                        generation=read_generation(*settings),
                    )
                    progress(0.2, desc="The model is answering")
                    answer = KINDS[kind].answer(self.model, given)
                    progress(0.9, desc="Drawing")
                    return self._shown(given, answer, Path(path).name)
        except gr.Error as error:
            hidden = [gr.update(value=None, visible=False) for _ in showing.DOWNLOADS]
            return showing.problem(error.message), None, [], [], None, None, *hidden

    def _shown(self, given: Given, answer: Answer, name: str) -> tuple[Any, ...]:
        shown = showing.prepare(given.picture, answer, asked_box=given.box)
        files = showing.write_downloads(answer, name)
        buttons = [gr.update(value=file, visible=file is not None) for file in files]
        rows, legend, drawn = showing.table(answer), showing.legend(shown), showing.draw(shown)
        return showing.sentence(answer), drawn, legend, rows, answer.to_dict(), shown, *buttons

    @readable_errors()
    def redraw(self, shown: showing.Shown | None, legend: Any) -> Image.Image | None:
        """The last answer with what is switched on in the legend; the model is not asked again."""
        if shown is None and legend:
            raise UserError("this answer has expired; ask again")
        if shown is None:
            return None
        if not isinstance(legend, list) or not all(isinstance(entry, dict) for entry in legend):
            raise UserError("legend: needs a list of names, each with `on`")
        return showing.draw(shown, {str(entry.get("name")) for entry in legend if entry.get("on")})
