"""What all tasks share: row -> annotation -> sample -> batch -> answer -> prediction -> statistics -> metrics.

A task is one subclass in one file. Plain Python and torch: `fairseq_tasks.py` registers it for training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..data.canvas import IMAGENET_MEAN, IMAGENET_STD, Canvas, Placed, to_canvas, to_image
from ..data.collate import collate
from ..data.columns import check_box_in_picture, parse_box, parse_caption
from ..data.dataset import ReferringDataset, Sample
from ..data.images import read_image
from ..data.text import TextEncoder, pre_caption
from ..data.tsv import TsvFile
from ..data.vocabulary import Vocabulary
from ..models.generation import GenerationSettings, SequenceGenerator
from ..models.refhcm.network import Network
from ..utils.boxes import box_hits
from .settings import TaskSettings

Batch = Mapping[str, Any]
Labels = Mapping[str, Any]  # one row of a batch's numpy fields
BOX_SYMBOLS = 4
LOWEST_SCORE = torch.finfo(torch.float32).min  # of no answer: finite, for average precision ranks by it


@dataclass(frozen=True)
class Annotation:
    """One row, in image px. What a task's file, or a user who asks, does not give is None."""

    id: str
    where: str
    image: Image.Image | None
    box_xyxy: np.ndarray | None = None  # float32 [4]
    expression: str = ""
    keypoints: np.ndarray | None = None  # float32 [34]
    codes: np.ndarray | None = None  # int64 [48]
    label_map: np.ndarray | None = None  # integers [h, w]


@dataclass(frozen=True)
class Prediction:
    """An answer, in canvas px. `valid` is False for one that could not be read; what could be read is kept."""

    valid: bool
    box_xyxy: np.ndarray | None = None  # float32 [4]
    keypoints: np.ndarray | None = None  # float32 [34], (0, 0) where not named
    codes: np.ndarray | None = None  # int64 [48], may be out of range
    label_map: Tensor | None = None  # int64 [h, w], the box's inside
    caption: str | None = None
    score: float = 0.0  # the answer's, from generation; ranks predictions in average precision


@dataclass(frozen=True)
class Generated:
    """What the network wrote: ids with eos, int64 [T], the score of the whole, and each symbol's log-probability."""

    ids: Tensor
    score: float = 0.0
    log_probs: Tensor | None = None  # float32 [T], over the symbols that could be chosen


class Task:
    """One question about a person. Subclasses give the class variables, `target`, `parse` and the scores."""

    name: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]  # of the TSV, in the order of `default_cols`
    default_cols: ClassVar[str]
    prompt: ClassVar[str]
    image_folder: ClassVar[str] = ""  # below the annotation root, where the TSV names files
    generation: ClassVar[GenerationSettings] = GenerationSettings()  # of evaluation
    settings_class: ClassVar[type[TaskSettings]] = TaskSettings

    def __init__(self, text: TextEncoder, settings: TaskSettings, *, with_labels: bool = True) -> None:
        """with_labels: whether samples carry what costs time to read and only metrics need."""
        self.text, self.settings, self.with_labels = text, settings, with_labels
        self.vocabulary: Vocabulary = text.vocabulary
        statistics = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD} if settings.imagenet_default_mean_and_std else {}
        self.canvas = Canvas(settings.patch_image_size, settings.max_image_size, **statistics)
        self.canvas_size = settings.max_image_size  # canvas px of the last bin

    @classmethod
    def from_settings(cls, settings: TaskSettings) -> "Task":
        """The task with the vocabulary of `settings.bpe_dir`. Raises UserError when that folder is not complete."""
        folder = settings.bpe_dir
        vocabulary = Vocabulary.load(folder, num_bins=settings.num_bins, code_dict_size=settings.code_dict_size)
        return cls(TextEncoder.load(folder, vocabulary), settings)

    # Data in

    def open(self, path: str | Path, *, training: bool) -> ReferringDataset:
        """The rows of a TSV as samples."""
        file = TsvFile(path, self.settings.selected_cols or self.default_cols, names=self.columns)
        together = self.settings.rows_together
        return ReferringDataset(file, partial(self._read, training=training), together=together, name=self.name)

    def prepare_scores(self) -> None:
        """Reads the files that scores need: what is wrong with them shows before the work. Raises UserError."""

    def _read(self, row: Mapping[str, str], where: str, *, training: bool) -> Sample:
        return self.sample(self.annotation(row, where), training=training)

    @staticmethod
    def training_file(files: Sequence[str], epoch: int) -> str:
        """Epoch e trains on file (e-1) mod (n-1); the last file is for validation."""
        return files[(epoch - 1) % max(len(files) - 1, 1)]

    @classmethod
    def training_files(cls, files: Sequence[str]) -> list[str]:
        """Those of the given files that are trained on, in their order."""
        used = {cls.training_file(files, epoch) for epoch in range(1, len(files) + 1)}
        return [file for file in files if file in used]

    def annotation(self, row: Mapping[str, str], where: str) -> Annotation:
        """The columns that all tasks have; a subclass adds its own. Raises DataError naming row and column."""
        root = Path(self.settings.annotation_root) / self.image_folder
        image = read_image(row["image"], root=root, where=where)
        box_xyxy = parse_box(row["box"], where)
        check_box_in_picture(box_xyxy, image.size, where=where)
        expression = parse_caption(row["expression"], where, column="expression") if "expression" in row else ""
        return Annotation(row["id"], where, image, box_xyxy, expression)

    def sample(self, annotation: Annotation, *, training: bool) -> Sample:
        """Fields of docs/data.md, "A sample"."""
        placed = self.canvas.place(annotation.image)
        question = self.question(annotation, placed)
        target = self.target(annotation, placed, training=training)
        return question | {
            "target": torch.cat([target, question["target"]]),
            "prev_output_tokens": torch.cat([question["prev_output_tokens"], target]),
            "region_coord": annotation.box_xyxy,
            "clipped": self.clipped(annotation, placed),
        }

    def question(self, annotation: Annotation, placed: Placed) -> Sample:
        """A sample whose answer is empty: asking needs no label."""
        bos, eos = torch.tensor([self.vocabulary.bos()]), torch.tensor([self.vocabulary.eos()])
        return {
            "id": annotation.id,
            "source": torch.cat([bos, self.source(annotation, placed), eos]),
            "target": eos,
            "prev_output_tokens": bos,
            "patch_image": placed.patch_image,
            "patch_mask": torch.tensor([True]),
            "w_resize_ratio": placed.w_resize_ratio,
            "h_resize_ratio": placed.h_resize_ratio,
        }

    def source(self, annotation: Annotation, placed: Placed) -> Tensor:
        """Ids of the prompt, without bos and eos: int64 [S]."""
        return self.text.encode(self.prompt.format(pre_caption(annotation.expression, self.settings.max_src_length)))

    def target(self, annotation: Annotation, placed: Placed, *, training: bool) -> Tensor:
        """Ids of the answer, without bos and eos: int64 [T]."""
        raise NotImplementedError

    def bins(self, xy: np.ndarray, placed: Placed) -> Tensor:
        """Image px x, y, ... -> ids of bins, int64."""
        return self.vocabulary.bins(self._on_canvas(xy, placed), self.canvas_size)

    def clipped(self, annotation: Annotation, placed: Placed) -> bool:
        """Whether a coordinate of the row lies beyond the last bin."""
        numbers = annotation.box_xyxy
        if annotation.keypoints is not None:
            numbers = np.concatenate([numbers, annotation.keypoints])
        return bool(self.vocabulary.needs_clipping(self._on_canvas(numbers, placed), self.canvas_size).any())

    def box_prompt(self, annotation: Annotation, placed: Placed) -> Tensor:
        """The prompt word by word, with the box's four bin symbols in it."""
        symbols = " ".join(self.vocabulary[i] for i in self.bins(annotation.box_xyxy, placed).tolist())
        return self.text.encode_words(self.prompt.format(symbols))

    @staticmethod
    def _on_canvas(xy: np.ndarray, placed: Placed) -> Tensor:
        return to_canvas(xy, placed.w_resize_ratio, h_resize_ratio=placed.h_resize_ratio)

    def collate(self, samples: Sequence[Sample]) -> dict[str, Any]:
        """Samples -> a batch (docs/data.md, "A batch")."""
        return collate(samples, pad=self.vocabulary.pad(), share_pictures=self.settings.share_pictures)

    # Answers out

    def generation_settings(self) -> GenerationSettings:
        """How evaluation generates (docs/generation.md)."""
        return self.generation

    def asking_settings(self) -> GenerationSettings:
        """How a user's question is answered: as in evaluation, unless a task says otherwise."""
        return self.generation_settings()

    def generate(self, network: Network, batch: Batch, settings: GenerationSettings) -> list[Generated]:
        """The best answer to each row of a batch; nothing but eos where the network has none.

        A batch may hold `prefix_tokens`, int64 [B, P] padded on the right: the forced starts of its answers.
        """
        hypotheses = SequenceGenerator(settings).generate([network], batch, batch.get("prefix_tokens"))
        nothing = torch.tensor([-torch.inf])
        empty = {
            "tokens": torch.tensor([self.vocabulary.eos()]),
            "score": LOWEST_SCORE,
            "positional_scores": nothing,
        }
        best = [found[0] if found else empty for found in hypotheses]
        return [Generated(one["tokens"].cpu(), float(one["score"]), one["positional_scores"].cpu()) for one in best]

    def parse(self, ids: Tensor) -> Prediction:
        """Inverse of `target`. Never raises: what can not be read comes back with `valid=False`."""
        raise NotImplementedError

    def parse_batch(self, answers: Sequence[Generated], device: torch.device) -> list[Prediction]:
        """`parse` for each answer; a task with a decoder of its own decodes them together, on `device`."""
        return [replace(self.parse(answer.ids), score=answer.score) for answer in answers]

    def parse_box(self, ids: Tensor) -> np.ndarray | None:
        """The box of the first four symbols in canvas px, float32 [4]; None unless they are bins."""
        bins = self.vocabulary.bin_ids
        first = ids[:BOX_SYMBOLS]
        if len(first) < BOX_SYMBOLS or not bool(((first >= bins.start) & (first < bins.stop)).all()):
            return None
        return self.vocabulary.coordinates(first, self.canvas_size).numpy()

    @staticmethod
    def in_image(prediction: Prediction, labels: Labels) -> Prediction:
        """The prediction in image px; an unreadable box is (0, 0, 0, 0)."""
        box = np.zeros(4, np.float32) if prediction.box_xyxy is None else prediction.box_xyxy
        ratios = {
            "w_resize_ratio": float(labels["w_resize_ratios"]),
            "h_resize_ratio": float(labels["h_resize_ratios"]),
        }
        points = prediction.keypoints
        points = None if points is None else to_image(points, **ratios).numpy()
        return replace(prediction, box_xyxy=to_image(box, **ratios).numpy(), keypoints=points)

    # Scores

    def record(self, prediction: Prediction, labels: Labels) -> dict[str, Any]:
        """What the result file says of a row (docs/evaluation.md, "Result files")."""
        raise NotImplementedError

    def statistics(self, prediction: Prediction, labels: Labels) -> dict[str, Any]:
        """What `summarize` needs of a row."""
        raise NotImplementedError

    def summarize(self, statistics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Statistics of all rows -> metrics."""
        raise NotImplementedError

    def hit(self, prediction: Prediction, labels: Labels) -> bool:
        """Whether the predicted box is right at IoU 0.5."""
        box = self.in_image(prediction, labels).box_xyxy
        return bool(box_hits(box[None], labels["region_coords"][None])[0])


def mean_of(statistics: Sequence[Mapping[str, Any]], name: str) -> float:
    """Mean of one statistic over all rows; 0 for none."""
    return float(np.mean([float(row[name]) for row in statistics])) if statistics else 0.0
