"""The right side of the page: what shows an answer."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from .components import Setting, legend
from .files import DOWNLOADS
from .folder import KEPT_SECONDS

NOTHING = "<p>Nothing asked yet. Say whom you mean and press “Ask”, or click an example.</p>"
# What the browser does when the question changes: the old answer goes.
CLEAR = "() => ['', {__type__: 'update', visible: false}]"
# Before a question is asked: where the answer will be may be out of sight, below the question or above the examples.
TO_ANSWER = """(...asked) => {
  const status = document.querySelector("#status");
  const { top, bottom } = status.getBoundingClientRect();
  if (top < 0 || bottom > window.innerHeight) status.scrollIntoView({ behavior: "smooth", block: "start" });
  return asked;
}"""


@dataclass(frozen=True)
class Answered:
    """The components of an answer. all: holds them, hidden while there is no answer."""

    status: gr.HTML
    all: gr.Column
    drawn: gr.Image
    legend: gr.HTML
    least: gr.Slider
    describe: gr.Button
    table: gr.Dataframe
    record: gr.JSON
    shown: gr.State  # a `showing.Shown`
    downloads: list[gr.DownloadButton]

    @property
    def outputs(self) -> list[Any]:
        """The outputs of `Asking.ask`, in its order."""
        return [
            self.status,
            self.all,
            self.drawn,
            self.legend,
            self.least,
            self.describe,
            self.table,
            self.record,
            self.shown,
            *self.downloads,
        ]


def answer_fields() -> Answered:
    """An answer's components, without an answer."""
    status = gr.HTML(
        NOTHING,
        html_template='<div role="status" aria-live="polite">${value}</div>',  # screen readers say when it changes
        elem_id="status",
    )
    with gr.Column(visible=False, elem_id="answer") as everything:
        drawn = gr.Image(
            label="Answer",
            interactive=False,
            format="png",
            height=460,
            elem_id="drawn",
            buttons=["download", "fullscreen"],
        )
        chips = legend(value=[], elem_id="legend")
        least = Setting(
            0,
            1,
            0,
            step=0.05,
            label="Hide what is less sure than",
            info="0: nothing. Files hold everything.",
            elem_id="least",
        )
        describe = gr.Button("Describe this person", visible=False, size="sm", elem_id="describe")
        with gr.Row(elem_id="downloads"):
            downloads = [
                gr.DownloadButton(f"⬇ {label}", visible=False, size="sm", elem_id=file.replace(".", "-"))
                for label, file in DOWNLOADS.items()
            ]
        with gr.Tab("Table"):
            table = gr.Dataframe(
                headers=["what", "value", "confidence"],
                value=[],
                interactive=False,
                wrap=True,
                column_widths=["27%", "45%", "28%"],
                elem_id="table",
            )
        with gr.Tab("JSON"):
            record = gr.JSON(show_label=False, max_height=420, elem_id="json")
    shown = gr.State(time_to_live=KEPT_SECONDS)
    return Answered(status, everything, drawn, chips, least, describe, table, record, shown, downloads)
