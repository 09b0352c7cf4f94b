"""What programs and assistants call: the methods of the Python interface, by HTTP and by MCP."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from ...inference.learned import EVERYONE
from ...inference.predictor import Predictor
from .components import Picture, Setting, Text
from .errors import readable_errors
from .given import opened, read_box, read_confidence, read_generation, read_switch, read_text

PROGRAM = """
Endpoints: `refer`, `describe`, `chain` and `instruct`, and `find` where the model has learned to find everyone. They
return what `answer.to_dict()` gives for the Python methods of the same names; `find` returns a list.

```python
from gradio_client import Client, handle_file

page = Client("http://127.0.0.1:7860")
photo = handle_file("street.jpg")
page.predict(photo, "the woman in red", keypoints=True, parsing=True, api_name="/refer")
page.predict(photo, "10, 20, 200, 400", api_name="/describe")
page.predict(photo, "the woman in red", keypoints=True, parsing=True, api_name="/chain")
page.predict(photo, "what does the region {region} describe?", api_name="/instruct")
```

Started with `refhcm web --mcp`, the same questions are tools for assistants, at `/gradio_api/mcp/`.
"""


class Endpoints:
    """One function an endpoint. Programs see the parameters' names, and assistants the docstrings as well.

    The parameters' defaults are those of the fields in `add_endpoints`.
    """

    def __init__(self, model: Predictor) -> None:
        self.model = model

    @readable_errors()
    def refer(
        self, image: Any, expression: Any, keypoints: Any = False, parsing: Any = False, parallel: Any = False
    ) -> dict[str, Any]:
        """Find the person in a picture whom an expression describes: a box, and on request keypoints and parts.

        Args:
            image: The picture.
            expression: Whom to find, in plain English, such as "the woman in the red coat".
            keypoints: Whether to return the person's pose, 17 named points.
            parsing: Whether to return the person's parts (hair, coat, left arm ...), as COCO's run lengths.
            parallel: Whether to read the parts in parallel, which the model must have learned.
        """
        wanted = {"keypoints": keypoints, "parsing": parsing, "parallel": parallel}
        wanted = {name: read_switch(name, value) for name, value in wanted.items()}
        expression = read_text("expression", expression)
        with opened(image) as picture:
            return self.model.refer(picture, expression, **wanted).to_dict()

    @readable_errors()
    def find(
        self,
        image: Any,
        expression: Any,
        keypoints: Any = False,
        parsing: Any = False,
        caption: Any = False,
        min_confidence: Any = 0.0,
    ) -> list[dict[str, Any]]:
        """Find everyone in a picture whom an expression fits, from left to right; an empty list for nobody.

        Args:
            image: The picture.
            expression: Whom to find, in plain English, such as "the people in red".
            keypoints: Whether to return each person's pose, 17 named points.
            parsing: Whether to return each person's parts, as COCO's run lengths.
            caption: Whether to say what each person looks like.
            min_confidence: People whose box is less sure than this, from 0 to 1, are left out.
        """
        wanted = {"keypoints": keypoints, "parsing": parsing, "caption": caption}
        wanted = {name: read_switch(name, value) for name, value in wanted.items()}
        expression, least = read_text("expression", expression), read_confidence("min_confidence", min_confidence)
        with opened(image) as picture:
            people = self.model.find(picture, expression, min_confidence=least, **wanted)
        return [one.to_dict() for one in people]

    @readable_errors()
    def describe(self, image: Any, box: Any) -> dict[str, Any]:
        """Say in words what the person in a box of a picture looks like.

        Args:
            image: The picture.
            box: Four numbers x0, y0, x1, y1 in pixels of the picture, such as "10, 20, 200, 400".
        """
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
        """Find the person whom a text describes by one instruction that asks for several tasks (S1 decoding).

        Args:
            image: The picture.
            text: Whom to find, in plain English.
            keypoints: Whether to ask for the person's pose, too.
            parsing: Whether to ask for the person's parts, too.
            min_len: The shortest answer, in symbols.
            max_len: The longest answer, in symbols.
            beam: How many answers are followed at once.
            temperature: 1 as trained.
        """
        wanted = {"keypoints": read_switch("keypoints", keypoints), "parsing": read_switch("parsing", parsing)}
        text, generation = read_text("text", text), read_generation(min_len, max_len, beam, temperature)
        with opened(image) as picture:
            return self.model.chain(picture, text, generation=generation, **wanted).to_dict()

    @readable_errors()
    def instruct(
        self, image: Any, instruction: Any, min_len: Any, max_len: Any, beam: Any, temperature: Any
    ) -> dict[str, Any]:
        """Ask the model an instruction of your own about a picture; the instruction decides what comes back.

        Args:
            image: The picture.
            instruction: What to do, in the words that the model was trained on.
            min_len: The shortest answer, in symbols.
            max_len: The longest answer, in symbols.
            beam: How many answers are followed at once.
            temperature: 1 as trained.
        """
        generation = read_generation(min_len, max_len, beam, temperature)
        instruction = read_text("instruction", instruction)
        with opened(image) as picture:
            return self.model.instruct(picture, instruction, generation=generation).to_dict()


def add_endpoints(model: Predictor, settings: Sequence[gr.Slider], limit: dict[str, Any]) -> None:
    """The endpoints, with hidden fields: gradio takes their parameters from them. settings: of generation."""
    asked = Endpoints(model)
    with gr.Row(visible=False):
        picture = Picture(type="filepath", image_mode=None, label="image")
        expression, text, instruction = (Text(label=label) for label in ("expression", "text", "instruction"))
        box = Text(label="box: x0, y0, x1, y1 in px")
        keypoints, parsing, parallel, caption = (
            gr.Checkbox(label=label) for label in ("keypoints", "parsing", "parallel", "caption")
        )
        least = Setting(0, 1, 0, step=0.01, label="min_confidence: 0 to 1")
        answer = gr.JSON(label="answer")
        calls: list[tuple[Any, list[Any]]] = [
            (asked.refer, [picture, expression, keypoints, parsing, parallel]),
            (asked.describe, [picture, box]),
            (asked.chain, [picture, text, keypoints, parsing, *settings]),
            (asked.instruct, [picture, instruction, *settings]),
        ]
        if EVERYONE in model.learned:
            calls.append((asked.find, [picture, expression, keypoints, parsing, caption, least]))
        for call, inputs in calls:
            gr.Button().click(call, inputs, answer, api_name=call.__name__, **limit)
