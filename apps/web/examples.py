"""The pictures in `examples/`, each with a question: a click asks it."""

from dataclasses import dataclass
from pathlib import Path

from ...inference.loading import ROOT

EXAMPLES = ROOT / "examples"


@dataclass(frozen=True)
class Example:
    """A question as the page's fields hold it: `way` as in `kinds.WAYS`, `wanted` as in `kinds.WANTED`."""

    image: str
    way: str = "words"
    expression: str = ""
    box: str = ""  # x0, y0, x1, y1 in px of the picture
    instruction: str = ""
    wanted: tuple[str, ...] = ("box",)
    parallel: bool = False

    @property
    def path(self) -> Path:
        """The picture's file."""
        return EXAMPLES / self.image

    @property
    def title(self) -> str:
        """The question in short."""
        return {"box": "who is in this box?", "instruction": "an instruction of one's own"}.get(
            self.way, self.expression
        )


QUESTIONS = (
    Example("park.jpg", expression="the guy waving with the left hand"),
    Example("bucket.jpg", expression="the girl wearing a woolly hat", wanted=("box", "keypoints")),
    Example("room.jpg", expression="the man in an open gray coat", wanted=("box", "parts", "caption")),
    Example("runners.jpg", expression="the guy wearing a sweater", wanted=("box", "parts"), parallel=True),
    Example("snow.jpg", "box", box="122, 27, 245, 216"),
    Example("umbrella.jpg", "chain", expression="man at the left in pink gloves", wanted=("box", "keypoints", "parts")),
    Example(
        "jump.jpg",
        "instruction",
        instruction='which region does the text " guy dressed in a light blue beanie " describe? '
        "Provide the bounding box and keypoints.",
    ),
)
