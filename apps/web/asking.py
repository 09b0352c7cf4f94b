"""What the page and its API do with a question: read it, ask the model, and say every failure in a sentence."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from ...inference.predictor import Predictor
from ...utils.errors import UserError
from . import showing
from .given import Given, read_box, read_generation, read_picture, read_switch, read_text
from .kinds import KINDS, PARTS, chain, describe, instruct

logger = logging.getLogger(__name__)
UNEXPECTED = "Something went wrong on the server, and its log says what. Other questions are still answered."


@contextmanager
def in_a_sentence() -> Iterator[None]:
    """Any failure as a `gr.Error`, whose message is a sentence for the user."""
    try:
        yield
    except UserError as error:
        raise gr.Error(str(error), print_exception=False) from error
    except Exception as error:  # the edge of the program: a visitor must neither see it nor end the server by it
        logger.exception("a question failed")
        raise gr.Error(UNEXPECTED, print_exception=False) from error


class Asking:
    """The functions behind the page and its API, about one model."""

    def __init__(self, model: Predictor) -> None:
        self.model = model

    # The API: parameters and defaults are seen by programs

    def refer(
        self, image: Any, expression: Any, keypoints: Any = False, parsing: Any = False, parallel: Any = False
    ) -> dict[str, Any]:
        """The person that an expression describes: box, and keypoints and parts where they are asked for."""
        with in_a_sentence():
            wanted = {"keypoints": keypoints, "parsing": parsing, "parallel": parallel}
            wanted = {name: read_switch(name, value) for name, value in wanted.items()}
            return self.model.refer(read_picture(image), read_text("expression", expression), **wanted).to_dict()

    def describe(self, image: Any, box: Any) -> dict[str, Any]:
        """What the person in a box looks like. box: x0, y0, x1, y1 in px, as a text or four numbers."""
        with in_a_sentence():
            return describe(self.model, Given(read_picture(image), box=read_box(box))).to_dict()

    def chain(
        self,
        image: Any,
        text: Any,
        keypoints: Any = True,
        parsing: Any = True,
        min_len: Any = 4,
        max_len: Any = 200,
        beam: Any = 5,
        temperature: Any = 1.0,
    ) -> dict[str, Any]:
        """The person that a text describes, by one instruction that asks several tasks (S1 decoding)."""
        with in_a_sentence():
            switches = read_switch("keypoints", keypoints), read_switch("parsing", parsing)
            wanted = tuple(part for part, on in zip(PARTS, switches, strict=True) if on)
            generation = read_generation(min_len, max_len, beam, temperature)
            given = Given(read_picture(image), words=read_text("text", text), wanted=wanted, generation=generation)
            return chain(self.model, given).to_dict()

    def instruct(
        self,
        image: Any,
        instruction: Any,
        min_len: Any = 4,
        max_len: Any = 200,
        beam: Any = 5,
        temperature: Any = 1.0,
    ) -> dict[str, Any]:
        """Any instruction in your own words; what comes back follows from it."""
        with in_a_sentence():
            generation = read_generation(min_len, max_len, beam, temperature)
            given = Given(read_picture(image), instruction=read_text("instruction", instruction), generation=generation)
            return instruct(self.model, given).to_dict()

    # The page

    def ask(
        self,
        kind: str,
        path: Any,
        words: Any,
        box: Any,
        instruction: Any,
        wanted: list[str],
        *settings: Any,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 -- gradio finds it as a default
    ) -> tuple[Any, ...]:
        """Sentence, drawing, legend, table, JSON, what drawing again needs, and the downloads in their order."""
        try:
            with in_a_sentence():
                progress(0.05, desc="Reading the picture")
                asks = KINDS[kind].asks
                given = Given(
                    read_picture(path),
                    words=read_text("text", words) if asks == "words" else "",
                    box=read_box(box) if asks == "box" else None,
                    instruction=read_text("instruction", instruction) if asks == "instruction" else "",
                    wanted=tuple(wanted),
                    generation=read_generation(*settings),
                )
                progress(0.2, desc="The model is answering")
                answer = KINDS[kind].answer(self.model, given)
                progress(0.9, desc="Drawing")
                shown = showing.prepare(given.picture, answer, asked_box=given.box)
                files = showing.write_downloads(answer, Path(path).name)
                drawn = showing.draw(shown)
        except gr.Error as error:
            hidden = [gr.update(value=None, visible=False) for _ in showing.DOWNLOADS]
            return showing.problem(error.message), None, [], [], None, None, *hidden
        buttons = [gr.update(value=file, visible=file is not None) for file in files.values()]
        rows, legend = showing.table(answer), showing.legend(shown)
        return showing.said(answer), drawn, legend, rows, answer.to_dict(), shown, *buttons

    def redraw(self, shown: showing.Shown | None, legend: Any) -> Image.Image | None:
        """The answer that is there with what is switched on; the model is not asked."""
        with in_a_sentence():
            if shown is None and legend:
                raise UserError("this answer is not kept any longer: ask again")
            if shown is None:
                return None
            if not isinstance(legend, list) or not all(isinstance(entry, dict) for entry in legend):
                raise UserError("legend: needs a list of names, each with `on`")
            return showing.draw(shown, {str(entry.get("name")) for entry in legend if entry.get("on")})
