"""What all tasks share: row -> annotation -> sample -> batch -> answer -> prediction -> statistics -> metrics.

A task is one subclass in one file. It needs no fairseq: `fairseq_tasks.py` registers it for training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..data.annotation import LOWEST_SCORE, Annotation, Labels, Prediction, given
from ..data.canvas import IMAGENET_MEAN, IMAGENET_STD, Canvas, Placed, to_canvas, to_image
from ..data.cleaning import pre_caption
from ..data.columns import NO_EXPRESSION, check_box_in_picture, parse_box, parse_caption
from ..data.images import read_picture
from ..data.text import Ids, TextEncoder, plain_ids
from ..data.tsv import TsvFile
from ..data.vocabulary import Vocabulary
from ..models.generated import Generated
from ..models.generation_settings import GenerationSettings
from ..utils.boxes import box_hits
from ..utils.symbols import BOX_SYMBOLS
from .settings import TaskSettings

if TYPE_CHECKING:  # asking without torch imports this module, too
    import torch

    from ..data.dataset import ReferringDataset, Sample
    from ..models.generation import SequenceGenerator
    from ..models.refhcm.network import Network

Batch = dict[str, Any]
TURNED = (
    "the picture is turned upright by its EXIF orientation; box, keypoints and mask are taken to count in upright "
    "pixels (docs/data.md)"
)


class Task:
    """One question about a person. Subclasses give the class variables, `target`, `parse` and the scores."""

    name: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]  # of the TSV, in the order of `default_cols`
    default_cols: ClassVar[str]
    prompt: ClassVar[str]
    asks_by_box: ClassVar[bool] = False  # whether a row without an expression (`None`) asks by its box
    part: ClassVar[str] = "box"  # what is asked for, in notes
    image_folder: ClassVar[str] = ""  # below the annotation root, where the TSV names files
    generation: GenerationSettings = GenerationSettings()  # in evaluation
    settings_class: ClassVar[type[TaskSettings]] = TaskSettings

    def __init__(self, text: TextEncoder, settings: TaskSettings, *, with_labels: bool = True) -> None:
        """with_labels: whether samples carry the labels that only metrics need and that take time to read."""
        self.text, self.settings, self.with_labels = text, settings, with_labels
        self.vocabulary: Vocabulary = text.vocabulary
        imagenet = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD} if settings.imagenet_default_mean_and_std else {}
        self.canvas = Canvas(settings.patch_image_size, settings.max_image_size, **imagenet)
        self.canvas_size = settings.max_image_size  # canvas px of the last bin

    @classmethod
    def from_settings(cls, settings: TaskSettings) -> Task:
        """The task with the vocabulary in `settings.bpe_dir`. Raises UserError if that folder lacks a file."""
        folder = settings.bpe_dir
        vocabulary = Vocabulary.load(folder, num_bins=settings.num_bins, code_dict_size=settings.code_dict_size)
        return cls(TextEncoder.load(folder, vocabulary), settings)

    # Data in

    def open(self, path: str | Path, *, training: bool) -> ReferringDataset:
        """The rows of a TSV as samples."""
        from ..data.dataset import ReferringDataset

        file = TsvFile(path, self.settings.selected_cols or self.default_cols, names=self.columns)
        read = partial(self._read, training=training)
        return ReferringDataset(file, read, together=self.settings.rows_together, name=self.name)

    def _read(self, row: Mapping[str, str], where: str, *, training: bool) -> Sample:
        return self.sample(self.annotation(row, where), training=training)

    def prepare_scores(self) -> None:
        """Reads the files that scores need, before any row is answered. Raises UserError."""

    @staticmethod
    def training_file(files: Sequence[str], epoch: int) -> str:
        """Epoch e trains on file (e-1) mod (n-1); the last file is for validation."""
        return files[(epoch - 1) % max(len(files) - 1, 1)]

    @classmethod
    def training_files(cls, files: Sequence[str]) -> list[str]:
        """The given files without those that are for validation only, in their order."""
        used = {cls.training_file(files, epoch) for epoch in range(1, len(files) + 1)}
        return [file for file in files if file in used]

    def annotation(self, row: Mapping[str, str], where: str) -> Annotation:
        """The columns that all tasks have; a subclass adds its own. Raises DataError naming row and column."""
        root = Path(self.settings.annotation_root) / self.image_folder
        image, picture_key, turned = read_picture(row["image"], root=root, where=where)
        box_xyxy = parse_box(row["box"], where) if "box" in row else None
        if box_xyxy is not None:
            check_box_in_picture(box_xyxy, image.size, where=where)
        expression = parse_caption(row["expression"], where, column="expression") if "expression" in row else ""
        remarks = (TURNED,) if turned else ()
        return Annotation(row["id"], where, image, box_xyxy, expression, picture_key, remarks=remarks)

    def sample(self, annotation: Annotation, *, training: bool) -> Sample:
        """Fields of docs/data.md, "A sample"."""
        import torch

        placed = self.canvas.place(given(annotation.image), key=annotation.picture_key)
        question = self.question(annotation, placed)
        target = torch.as_tensor(self.target(annotation, placed, training=training))
        box = {} if annotation.box_xyxy is None else {"region_coord": annotation.box_xyxy}
        return question | {
            "target": torch.cat([target, question["target"]]),
            "prev_output_tokens": torch.cat([question["prev_output_tokens"], target]),
            **box,
            "clipped": self.clipped(annotation, placed),
            "remarks": annotation.remarks,
        }

    def question(self, annotation: Annotation, placed: Placed) -> Sample:
        """A sample with an empty answer, as asking needs it."""
        import torch

        bos, eos = torch.tensor([self.vocabulary.bos()]), torch.tensor([self.vocabulary.eos()])
        return {
            "id": annotation.id,
            "source": torch.from_numpy(self.whole_source(annotation, placed)),
            "target": eos,
            "prev_output_tokens": bos,
            "patch_image": torch.from_numpy(placed.patch_image),
            "picture_key": annotation.picture_key,
            "patch_mask": torch.tensor([True]),
            "w_resize_ratio": placed.w_resize_ratio,
            "h_resize_ratio": placed.h_resize_ratio,
        }

    def whole_source(self, annotation: Annotation, placed: Placed) -> np.ndarray:
        """`source` between bos and eos, as the network reads it: int64 [S]."""
        ends = self.vocabulary.bos(), self.vocabulary.eos()
        return np.concatenate([ends[:1], self.source(annotation, placed), ends[1:]])

    def source(self, annotation: Annotation, placed: Placed) -> np.ndarray:
        """Ids of the prompt, with the expression or the box in it, without bos and eos: int64 [S]."""
        if self.asks_by_box and annotation.expression == NO_EXPRESSION:
            return self.box_prompt(annotation, placed)
        return self.text.encode(self.prompt.format(pre_caption(annotation.expression, self.settings.max_src_length)))

    def target(self, annotation: Annotation, placed: Placed, *, training: bool) -> np.ndarray:
        """Ids of the answer, without bos and eos: int64 [T]."""
        raise NotImplementedError

    def bins(self, xy: np.ndarray, placed: Placed) -> np.ndarray:
        """Image px x, y, ... -> ids of bins, int64."""
        return self.vocabulary.bins(self._on_canvas(xy, placed), self.canvas_size)

    def box_bins(self, annotation: Annotation, placed: Placed) -> np.ndarray:
        """Ids of the four bins of the row's box."""
        return self.bins(given(annotation.box_xyxy), placed)

    def box_prompt(self, annotation: Annotation, placed: Placed) -> np.ndarray:
        """The prompt with the box's four bins in it, encoded word by word."""
        symbols = " ".join(self.vocabulary[i] for i in self.box_bins(annotation, placed).tolist())
        return self.text.encode_words(self.prompt.format(symbols))

    def clipped(self, annotation: Annotation, placed: Placed) -> bool:
        """Whether a coordinate of the row lies outside the bins."""
        columns = (annotation.box_xyxy, annotation.boxes_xyxy, annotation.keypoints)
        found = np.concatenate([numbers.ravel() for numbers in columns if numbers is not None])
        outside = self.vocabulary.needs_clipping(self._on_canvas(found, placed), self.canvas_size)
        return bool(outside.any())

    @staticmethod
    def _on_canvas(xy: np.ndarray, placed: Placed) -> np.ndarray:
        return to_canvas(xy, placed.w_resize_ratio, h_resize_ratio=placed.h_resize_ratio)

    def collate(self, samples: Sequence[Sample]) -> dict[str, Any]:
        """Samples -> a batch (docs/data.md, "A batch")."""
        from ..data.collate import collate

        return collate(samples, pad=self.vocabulary.pad(), share_pictures=self.settings.share_pictures)

    # Answers out

    def generation_settings(self) -> GenerationSettings:
        """How evaluation generates (docs/generation.md)."""
        return self.generation

    def asking_settings(self) -> GenerationSettings:
        """How a user's question is answered: as in evaluation, unless a task overrides it."""
        return self.generation_settings()

    @property
    def kept_symbols(self) -> np.ndarray:
        """Ids whose probabilities say how sure an answer is, int64 [C]: eos, all bins, the tokenizer's codes."""
        codes = self.vocabulary.code_ids[: self.settings.vq_n_embed]
        return np.array([self.vocabulary.eos(), *self.vocabulary.bin_ids, *codes])

    @property
    def generator(self) -> type[SequenceGenerator]:
        """The search for answers."""
        from ..models.generation import SequenceGenerator

        return SequenceGenerator

    def generate(
        self, network: Network, batch: Batch, settings: GenerationSettings, *, distributions: bool = False
    ) -> list[Generated]:
        """The best answer to each row of a batch; eos alone where the network found none.

        A batch may hold `prefix_tokens`, int64 [B, P] padded on the right: the forced starts of its answers.
        distributions: whether to keep the probabilities of `kept_symbols`.
        """
        import torch

        kept = torch.from_numpy(self.kept_symbols) if distributions else None
        hypotheses = self.generator(settings, kept=kept).generate([network], batch, batch.get("prefix_tokens"))
        none = Generated(torch.tensor([self.vocabulary.eos()]), LOWEST_SCORE, torch.tensor([-torch.inf]))
        best = [found[0] if found else None for found in hypotheses]
        return [Generated.of(one) if one else none for one in best]

    def parse(self, ids: Ids) -> Prediction:
        """Inverse of `target`. Never raises: an answer that cannot be read comes back with `valid=False`."""
        raise NotImplementedError

    def parse_batch(self, answers: Sequence[Generated], device: torch.device) -> list[Prediction]:
        """`parse` for each answer; a task with a decoder of its own decodes them together, on `device`."""
        return [replace(self.parse(answer.ids), score=answer.score) for answer in answers]

    def parse_box(self, ids: Ids) -> np.ndarray | None:
        """The box of the first four symbols in canvas px, float32 [4]; None unless they are bins."""
        first = plain_ids(ids)[:BOX_SYMBOLS]
        if len(first) < BOX_SYMBOLS or not all(symbol in self.vocabulary.bin_ids for symbol in first):
            return None
        return self.vocabulary.coordinates(first, self.canvas_size)

    @staticmethod
    def in_image(xy_canvas: np.ndarray, labels: Labels) -> np.ndarray:
        """Canvas px x, y, ... -> image px, float32."""
        w_resize_ratio, h_resize_ratio = float(labels["w_resize_ratios"]), float(labels["h_resize_ratios"])
        return to_image(xy_canvas, w_resize_ratio, h_resize_ratio=h_resize_ratio)

    def box_in_image(self, prediction: Prediction, labels: Labels) -> np.ndarray:
        """The predicted box in image px, float32 [4]; zeros where it could not be read."""
        box = np.zeros(4, np.float32) if prediction.box_xyxy is None else prediction.box_xyxy
        return self.in_image(box, labels)

    # Scores

    def record(self, prediction: Prediction, labels: Labels) -> dict[str, Any]:
        """The row's entry in the result file (docs/evaluation.md, "Result files")."""
        raise NotImplementedError

    def statistics(self, prediction: Prediction, labels: Labels) -> dict[str, Any]:
        """The row's part of the metrics, for `summarize`."""
        raise NotImplementedError

    def summarize(self, statistics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Statistics of all rows -> metrics."""
        raise NotImplementedError

    def hit(self, prediction: Prediction, labels: Labels) -> bool:
        """Whether the predicted box is right at IoU 0.5."""
        box = self.box_in_image(prediction, labels)
        return bool(box_hits(box[None], labels["region_coords"][None])[0])


def column(statistics: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    """One statistic of all rows, [N, ...]."""
    return np.stack([row[name] for row in statistics])


def mean_of(statistics: Sequence[Mapping[str, Any]], name: str) -> float:
    """Mean of one statistic over all rows; 0 for none."""
    return float(np.mean([float(row[name]) for row in statistics])) if statistics else 0.0
