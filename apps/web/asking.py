"""What the page does with a question: check it, ask the model, and put every failure into a sentence."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from ...inference.answers import Answer
from ...inference.predictor import Predictor
from ...utils.errors import UserError
from . import showing
from .errors import readable_errors
from .files import DOWNLOADS, record, write_downloads
from .given import (
    Given,
    opened,
    read_box,
    read_choice,
    read_confidence,
    read_generation,
    read_switch,
    read_text,
    read_wanted,
)
from .kinds import LABELS, WANTED, WAYS


class Asking:
    """The functions behind the page, for one model."""

    def __init__(self, model: Predictor) -> None:
        self.model = model

    def ask(
        self,
        who: Any,
        way: Any,
        path: Any,
        expression: Any,
        box: Any,
        wanted: Any,
        everyone: Any,
        parallel: Any,
        instruction: Any,
        *settings: Any,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 -- gradio looks for this default
    ) -> tuple[Any, ...]:
        """Values of what shows an answer, in the order of `answer.answer_fields`: the sentence, and all the rest.

        who: "words" or "box"; way: of `WAYS`, for words.
        """
        try:
            with readable_errors():
                progress(0.05, desc="Reading the picture")
                by_box = read_choice("who", who, ("words", "box")) == "box"
                asked = WAYS["box" if by_box else read_choice("way", way, WAYS)]
                with opened(path) as picture:
                    given = Given(
                        picture,
                        expression=read_text("expression", expression) if asked.asks == "expression" else "",
                        box=read_box(box) if asked.asks == "box" else (),
                        instruction=read_text("instruction", instruction) if asked.asks == "instruction" else "",
                        wanted=() if by_box else read_wanted(wanted, WANTED, least=asked.asks == "expression"),
                        everyone=asked is WAYS["words"] and read_switch("everyone", everyone),
                        parallel=read_switch("parallel", parallel),
                        generation=read_generation(*settings),
                    )
                    progress(0.2, desc="The model is answering")
                    people = asked.answer(self.model, given)
                    progress(0.9, desc="Drawing")
                    return self._shown(given, people, Path(path).name)
        except gr.Error as error:
            where, colon, what = error.message.partition(": ")
            return nothing_shown(showing.problem(LABELS.get(where, where) + colon + what))

    def _shown(self, given: Given, people: Sequence[Answer], name: str) -> tuple[Any, ...]:
        everyone = given.everyone
        shown = showing.prepare(given.picture, people, asked_box=given.box)
        names = showing.legend(shown, box=not given.expression or "box" in given.wanted)
        files = write_downloads(given.picture, people, name, everyone=everyone)
        drawn = gr.update(value=showing.draw(shown, _on(names)), alt_text=showing.described(people))
        undescribed = any(one.box_xyxy is not None and one.caption is None for one in people)
        describe = "Describe this person" if len(people) == 1 else "Describe these people"
        return (
            showing.sentence(people, expression=given.expression, everyone=everyone),
            gr.update(visible=True),
            drawn,
            names,
            gr.update(value=0, visible=bool(people)),
            gr.update(value=describe, visible=undescribed),
            showing.table(shown.rows),
            record(people, everyone=everyone),
            shown,
            *(gr.update(value=file, visible=file is not None) for file in files),
        )

    @readable_errors()
    def redraw(self, shown: showing.Shown | None, names: Any, least: Any) -> tuple[Any, list[list[str]]]:
        """Drawing and table with what is switched on in the legend and sure enough; the model is not asked again."""
        least = read_confidence("least confidence", least)
        if shown is None and names:
            raise UserError("this answer has expired; ask again")
        if shown is None:
            return None, []
        if not isinstance(names, list) or not all(isinstance(entry, dict) for entry in names):
            raise UserError("legend: needs a list of names, each with `on`")
        return showing.draw(shown, _on(names), least=least), showing.table(shown.rows, least=least)


def _on(names: Sequence[dict[str, Any]]) -> set[str]:
    return {str(entry.get("name")) for entry in names if entry.get("on")}


def nothing_shown(sentence: str) -> tuple[Any, ...]:
    """What `Asking.ask` returns where there is no answer."""
    hidden = [gr.update(value=None, visible=False) for _ in DOWNLOADS]
    return sentence, gr.update(visible=False), None, [], gr.update(value=0), gr.update(), [], None, None, *hidden
