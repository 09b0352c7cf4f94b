"""`refhcm.load_onnx`: a model in ONNX to ask, on onnxruntime and without torch (docs/onnx.md).

Prompts and answers are those of `Predictor`: only the network's part of `Engine` is another.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..data.annotation import LOWEST_SCORE
from ..data.canvas import Canvas
from ..data.text import TextEncoder
from ..data.vocabulary import Vocabulary
from ..models.generated import Generated
from ..models.generation_settings import GenerationSettings
from ..models.onnx.files import PARTS, SECTION, VERSION, mark, path_of
from ..models.onnx.sessions import CPU, OnnxModel, Sizes
from ..models.refhcm.config import NetworkConfig
from ..tasks.base import Task
from ..tasks.refcoco import ReferringComprehension
from ..tasks.rhrc import ReferringCaption
from ..tasks.rkpt import ReferringKeypoints
from ..tasks.rpar import ReferringParsing
from ..tasks.settings import TaskSettings
from ..utils.errors import CheckpointError, UserError, shown
from ..utils.flags import from_namespace
from ..utils.model_files import CONFIG, read_settings
from .answers import Answer
from .batch_size import batch_size_of
from .calibration import Calibration, calibration_of
from .engine import Engine, Row, asked, check_length
from .hub import check_revision, download, repository
from .instruction import Instruction
from .learned import EVERYONE
from .names import path_given
from .predictor import Predictor
from .reading import Context, read

IN_FOLDER = (CONFIG, "*.onnx", "bpe/*", "*.calibration.json")
TASKS: dict[str, type[Task]] = {
    task.name: task for task in (ReferringComprehension, ReferringKeypoints, ReferringParsing, ReferringCaption)
}


def load_onnx(
    folder: str | Path,
    *,
    revision: str | None = None,
    batch_size: int | None = None,
    threads: int | None = None,
    providers: Sequence[str] = CPU,
) -> OnnxPredictor:
    """A model that `refhcm export --format onnx` wrote, to ask as one that `refhcm.load` loaded.

    folder: or OWNER/NAME of the Hugging Face hub, at a revision. batch_size: questions answered together; None: as many
    as fit into 2 GiB, at most 64. threads: of onnxruntime; None: one for each core. providers: onnxruntime's, best
    first, such as "CUDAExecutionProvider".
    UserError without onnxruntime, or naming the argument at fault; CheckpointError naming the file that is missing,
    damaged, of another version, or contradicts the folder's config.json.
    """
    named = repository(folder)
    if named is not None:
        folder = download(named[0], revision or named[1], files=IN_FOLDER)
    else:
        folder = path_given(folder, "folder")
        check_revision(revision, folder)
    flags = read_settings(folder / CONFIG)
    expected = _marks(flags, folder / CONFIG)
    where, bpe_dir = str(folder / CONFIG), str(folder / "bpe")
    config = NetworkConfig.from_args(flags, where=where)
    try:
        settings = replace(from_namespace(TaskSettings, argparse.Namespace(**flags)), bpe_dir=bpe_dir)
    except UserError as error:
        raise CheckpointError(f"{where}: {error}") from error
    vocabulary = Vocabulary.load(bpe_dir, num_bins=settings.num_bins, code_dict_size=settings.code_dict_size)
    text = TextEncoder.load(bpe_dir, vocabulary)
    if flags.get("vocabulary") != text.digest():
        raise CheckpointError(f"{where}: was written with another vocabulary than {bpe_dir}: export the model again")
    positions = config.max_source_positions, config.max_target_positions
    sizes = Sizes(len(vocabulary), settings.patch_image_size, config.decoder_layers, *positions)
    model = OnnxModel(folder, expected, sizes, threads=threads, providers=providers)
    return OnnxPredictor(
        model,
        text,
        settings,
        batch_size=batch_size_of(config, settings, number_bytes=4) if batch_size is None else batch_size,
        calibration=calibration_of(path_of(folder, PARTS[-1])),
        name=folder.name,
    )


def _marks(flags: dict[str, Any], where: Path) -> dict[str, str]:
    """What the folder's config says of its files. CheckpointError for one without ONNX, or of another version."""
    said = flags.get(SECTION)
    if not isinstance(said, dict):
        raise CheckpointError(f"{where}: says nothing of ONNX; write it: refhcm export CHECKPOINT OUT --format onnx")
    if said.get("version") != VERSION:
        raise CheckpointError(
            f"{where}: is of version {shown(said.get('version'))} of RefHCM's ONNX files, this one reads version "
            f"{VERSION}: export the model again"
        )
    return mark(str(said.get("weights")), str(said.get("dtype")))


class OnnxEngine(Engine):
    """A model in ONNX that answers rows."""

    def __init__(self, model: OnnxModel, canvas: Canvas, *, calibration: Calibration | None = None) -> None:
        super().__init__(None, canvas, calibration=calibration)  # type: ignore[arg-type]  # no method below needs it
        self.model = model

    def contexts(self, images: Iterable[Image.Image]) -> list[Context]:
        """As `Engine.contexts`."""
        placed = [(image.size, self.canvas.resized(image)) for image in images]
        if not placed:
            return []
        with self._lock:
            patches = self.model.encode_images(np.stack([one.patch_image for _, one in placed]))
        return [Context(size_wh, one, patches[i : i + 1]) for i, (size_wh, one) in enumerate(placed)]

    def generate(
        self,
        task: Task,
        rows: Sequence[Row],
        settings: GenerationSettings,
        *,
        starts: Sequence[np.ndarray] | None = None,
    ) -> list[Generated]:
        """As `Engine.generate`."""
        pad = task.vocabulary.pad()
        sources = [task.whole_source(asked(task, row), row.context.placed) for row in rows]
        for row, source in zip(rows, sources, strict=True):
            check_length(row, source, self.model.sizes.max_source_positions)
        patches = np.concatenate([np.asarray(row.context.image_features) for row in rows])
        prefix = None if starts is None else _padded(starts, pad)
        with self._lock:
            found = self.model.generate(patches, _padded(sources, pad), settings, kept=task.kept_symbols, prefix=prefix)
        none = Generated(np.array([task.vocabulary.eos()]), LOWEST_SCORE, np.array([-np.inf], np.float32))
        return [Generated(one.tokens, one.score, one.log_probs, one.distributions) if one else none for one in found]

    def read(self, task: Task, rows: Sequence[Row], generated: Sequence[Generated]) -> list[Answer]:
        """As `Engine.read`; the tokenizer's part of `parse_batch` is done here."""
        predictions = [replace(task.parse(one.ids), score=one.score) for one in generated]
        coded = [k for k, one in enumerate(predictions) if one.codes is not None]
        if coded and self.model.draws:
            with self._lock:
                drawn = self.model.draw(np.stack([np.asarray(predictions[k].codes) for k in coded]))
            for k, label_map, overlaps in zip(coded, *drawn, strict=True):
                predictions[k] = replace(predictions[k], label_map=label_map, part_overlaps=overlaps)
        answers = []
        for one, prediction, row in zip(generated, predictions, rows, strict=True):
            answer = read(task, one, prediction, size_wh=row.context.size_wh, ratios=row.context.ratios)
            answers.append(self.calibration.apply(task.name, answer))
        return answers


def _padded(rows: Sequence[np.ndarray], pad: int) -> np.ndarray:
    """int64 [B, longest], padded on the right."""
    padded = np.full((len(rows), max(map(len, rows))), pad, np.int64)
    for row, ids in zip(padded, rows, strict=True):
        row[: len(ids)] = ids
    return padded


class OnnxPredictor(Predictor):
    """A model in ONNX, asked as any `Predictor`; `load_onnx` makes one. Query Parallel Generation is not in it."""

    def __init__(
        self,
        model: OnnxModel,
        text: TextEncoder,
        settings: TaskSettings,
        *,
        batch_size: int,
        calibration: Calibration | None = None,
        name: str = "",
    ) -> None:
        if not isinstance(batch_size, int) or batch_size < 1:
            raise UserError(f"batch_size: needs a whole number from 1 on, got {batch_size!r}")
        self.text, self.batch_size = text, batch_size
        self.settings = replace(settings, share_pictures=True)
        self.model = model
        self._instruction = Instruction(text, self.settings)
        self._engine = OnnxEngine(model, self._instruction.canvas, calibration=calibration)
        self._tasks = {}
        self._sources, self.name, self.notes, self.learned = None, name, (), ()

    def __repr__(self) -> str:
        return f"OnnxPredictor({self.name}, tasks {', '.join(TASKS)})"

    def find(self, *args: Any, **wanted: Any) -> Any:
        """UserError: the task `grec` is not for a model in ONNX."""
        return self._task(EVERYONE)

    def _task(self, name: str, beam: int | None = None) -> Task:
        if name not in TASKS:
            raise UserError(f"{name}: is not for a model in ONNX, which answers {', '.join(TASKS)}; use refhcm.load")
        if (name, beam) not in self._tasks:
            task = self._tasks[name, beam] = TASKS[name](self.text, self.settings)
            if beam is not None:
                task.generation = replace(task.generation, beam=beam)
        return self._tasks[name, beam]

    def _need_tokenizer(self) -> None:
        if not self.model.draws:
            raise UserError("parsing: this model in ONNX was exported without a tokenizer: export it with --tokenizer")
