"""The network at work: pictures to image features, rows to what the network writes, and that to answers."""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..data.canvas import Canvas
from ..data.columns import NO_EXPRESSION
from ..models.generated import Generated
from ..models.generation import GenerationSettings
from ..models.refhcm.encoder import ImageFeatures
from ..models.refhcm.network import Network
from ..tasks.base import Annotation, Task
from ..utils.devices import move
from ..utils.errors import UserError
from .answers import Answer
from .calibration import Calibration
from .questions import Question
from .reading import Context, read


@dataclass(frozen=True)
class Row:
    """A question with its picture on the canvas; the picture itself, which may be large, is not kept."""

    question: Question
    context: Context


class Engine:
    """A network that answers rows. Threads take turns at it."""

    def __init__(self, network: Network, canvas: Canvas, *, calibration: Calibration | None = None) -> None:
        """network: on its device, in evaluation mode. calibration: None leaves confidences raw."""
        self.network, self.canvas = network, canvas
        self.calibration = Calibration({}) if calibration is None else calibration
        self._lock = threading.Lock()

    @property
    def _weight(self) -> Tensor:
        """Some weight, for the network's device and type."""
        return self.network.decoder.output_projection.weight

    def contexts(self, images: Iterable[Image.Image]) -> list[Context]:
        """Puts pictures on the canvas and encodes them together, once for all questions about them."""
        placed = [(image.size, self.canvas.resized(image)) for image in images]
        if not placed:
            return []
        patch_images = torch.stack([one.patch_image for _, one in placed])
        with self._lock, torch.inference_mode():
            features = self.network.encoder.encode_image(patch_images.to(self._weight.device, self._weight.dtype))
        return [Context(size_wh, one, features.one(i)) for i, (size_wh, one) in enumerate(placed)]

    def answer(self, task: Task, rows: Sequence[Row], settings: GenerationSettings | None = None) -> list[Answer]:
        """One answer for each row. settings: None for the task's own."""
        return self.read(task, rows, self.generate(task, rows, settings or task.asking_settings()))

    def generate(
        self, task: Task, rows: Sequence[Row], settings: GenerationSettings, *, starts: Sequence[Tensor] | None = None
    ) -> list[Generated]:
        """What the network writes to each question. starts: ids with which the answers must begin."""
        batch = task.collate([self._sample(task, row) for row in rows])
        pictures = {row.question.picture: row.context.image_features for row in rows}  # in the batch's order
        del batch["net_input"]["patch_images"]
        batch["net_input"]["image_features"] = ImageFeatures.together(list(pictures.values()))
        if starts is not None:
            batch["prefix_tokens"] = pad_sequence(list(starts), batch_first=True, padding_value=task.vocabulary.pad())
        with self._lock:
            batch = move(batch, self._weight.device, self._weight.dtype)
            return task.generate(self.network, batch, settings, distributions=True)

    def _sample(self, task: Task, row: Row) -> dict[str, Any]:
        question = row.question
        # A table's "None" stands for "no expression"; a user means the word.
        text = "none" if question.text == NO_EXPRESSION else question.text
        if task.asks_by_box and question.box_xyxy is not None and not text:
            text = NO_EXPRESSION
        asked = Annotation("", question.where, None, question.box_xyxy, text, picture_key=question.picture)
        sample = task.question(asked, row.context.placed)
        length, longest = len(sample["source"]), self.network.config.max_source_positions
        if length > longest:
            raise UserError(f"{question.where}: is {length} symbols long with its prompt, the model reads {longest}")
        return sample

    def read(self, task: Task, rows: Sequence[Row], generated: Sequence[Generated]) -> list[Answer]:
        """What was written to each row, as an answer."""
        with self._lock, torch.inference_mode():
            predictions = task.parse_batch(generated, self._weight.device)
        answers = [
            read(task, one, prediction, size_wh=row.context.size_wh, ratios=row.context.ratios)
            for one, prediction, row in zip(generated, predictions, rows, strict=True)
        ]
        return [self.calibration.apply(task.name, answer) for answer in answers]
