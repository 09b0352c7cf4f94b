"""The network at work: pictures to image features, rows to what the network writes, and that to answers."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from PIL import Image

from ..data.annotation import Annotation
from ..data.canvas import Canvas
from ..data.columns import NO_EXPRESSION
from ..models.generated import Generated
from ..models.generation_settings import GenerationSettings
from ..tasks.base import Task
from ..utils.errors import UserError
from .answers import Answer
from .calibration import Calibration
from .questions import Question
from .reading import Context, read

if TYPE_CHECKING:
    from torch import Tensor

    from ..models.refhcm.network import Network


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
        import torch

        placed = [(image.size, self.canvas.resized(image)) for image in images]
        if not placed:
            return []
        patch_images = torch.stack([torch.from_numpy(one.patch_image) for _, one in placed])
        with self._lock, torch.inference_mode():
            features = self.network.encoder.encode_image(patch_images.to(self._weight.device, self._weight.dtype))
        return [Context(size_wh, one, features.one(i)) for i, (size_wh, one) in enumerate(placed)]

    def answer(self, task: Task, rows: Sequence[Row], settings: GenerationSettings | None = None) -> list[Answer]:
        """One answer for each row. settings: None for the task's own."""
        return self.read(task, rows, self.generate(task, rows, settings or task.asking_settings()))

    def generate(
        self,
        task: Task,
        rows: Sequence[Row],
        settings: GenerationSettings,
        *,
        starts: Sequence[np.ndarray] | None = None,
    ) -> list[Generated]:
        """What the network writes to each question. starts: ids with which the answers must begin."""
        import torch
        from torch.nn.utils.rnn import pad_sequence

        from ..models.refhcm.encoder import ImageFeatures
        from ..utils.devices import move

        batch = task.collate([self._sample(task, row) for row in rows])
        pictures = {row.question.picture: row.context.image_features for row in rows}  # in the batch's order
        features = [cast(ImageFeatures, own) for own in pictures.values()]
        del batch["net_input"]["patch_images"]
        batch["net_input"]["image_features"] = ImageFeatures.together(features)
        if starts is not None:
            batch["prefix_tokens"] = pad_sequence(
                [torch.as_tensor(start) for start in starts], batch_first=True, padding_value=task.vocabulary.pad()
            )
        with self._lock:
            batch = move(batch, self._weight.device, self._weight.dtype)
            return task.generate(self.network, batch, settings, distributions=True)

    def _sample(self, task: Task, row: Row) -> dict[str, Any]:
        sample = task.question(asked(task, row), row.context.placed)
        check_length(row, sample["source"], self.network.config.max_source_positions)
        return sample

    def read(self, task: Task, rows: Sequence[Row], generated: Sequence[Generated]) -> list[Answer]:
        """What was written to each row, as an answer."""
        import torch

        with self._lock, torch.inference_mode():
            predictions = task.parse_batch(generated, self._weight.device)
        answers = [
            read(task, one, prediction, size_wh=row.context.size_wh, ratios=row.context.ratios)
            for one, prediction, row in zip(generated, predictions, rows, strict=True)
        ]
        return [self.calibration.apply(task.name, answer) for answer in answers]


def asked(task: Task, row: Row) -> Annotation:
    """A question as tasks take it."""
    question = row.question
    # A table's "None" stands for "no expression"; a user means the word.
    text = "none" if question.text == NO_EXPRESSION else question.text
    if task.asks_by_box and question.box_xyxy is not None and not text:
        text = NO_EXPRESSION
    return Annotation("", question.where, None, question.box_xyxy, text, picture_key=question.picture)


def check_length(row: Row, source: Sequence[int] | np.ndarray | Tensor, longest: int) -> None:
    """UserError if a question is longer than the model can read. source: ids with the prompt, bos and eos."""
    if len(source) > longest:
        raise UserError(
            f"{row.question.where}: is {len(source)} symbols long with its prompt, the model reads {longest}"
        )
