"""Writes a model as a folder that the Hugging Face hub understands (docs/models.md)."""

import argparse
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.text import TextEncoder
from ..data.vocabulary import Vocabulary
from ..models.onnx.files import PARTS, path_of
from ..models.refhcm.config import NetworkConfig
from ..models.refhcm.loading import COMPUTED, EMBEDDINGS, check_symbols
from ..models.vqgan import load_tokenizer
from ..models.vqgan.tokenizer import read_lightning_checkpoint
from ..tasks.settings import NOT_FROM_CHECKPOINT, TaskSettings, settings_of
from ..utils.checkpoints import Checkpoint, read_checkpoint
from ..utils.errors import CheckpointError, UserError, reason_of
from ..utils.files import check_writable, files_below
from ..utils.model_files import CONFIG, TOKENIZER, WEIGHTS, write_settings, write_tensors
from .calibration import Calibration, calibration_of, calibration_path, write_calibration
from .hub import upload
from .learned import in_order, learned_by
from .model_card import CARD, LICENSE, RESULTS, write_card

KEPT = {f.name for config in (NetworkConfig, TaskSettings) for f in fields(config)} - set(NOT_FROM_CHECKPOINT)
VOCABULARY = ("dict.txt", "encoder.json", "vocab.bpe")


@dataclass(frozen=True)
class Sources:
    """The files that make a model. tokenizer: its weights and its sizes; None without one."""

    checkpoint: Path
    bpe_dir: Path
    tokenizer: tuple[Path, Path] | None


def write_folder(
    out: Path,
    checkpoint: Checkpoint,
    sources: Sources,
    *,
    calibration: Calibration | None,
    name: str,
    license: str = LICENSE,
    dtype: torch.dtype | None = None,
    learned: Sequence[str] = (),
) -> None:
    """Writes or renews the model's folder; an error leaves what was there. Files of other names stay.

    checkpoint: its weights and settings. calibration: of these weights. name: what the card calls the model.
    dtype: of the tokenizer's weights; None: as stored. learned: as for `kept_flags`.
    Raises UserError naming the file at fault, and for a folder of ONNX files.
    """
    check_writable(out)
    if any(path_of(out, part).exists() for part in PARTS):
        raise UserError(f"{out}: is a model's folder in ONNX; name another one")
    rest = argparse.Namespace(bpe_dir=str(sources.bpe_dir))
    settings = settings_of(checkpoint, rest)
    vocabulary = Vocabulary.load(sources.bpe_dir, num_bins=settings.num_bins, code_dict_size=settings.code_dict_size)
    text = TextEncoder.load(sources.bpe_dir, vocabulary)
    checkpoint.check_vocabulary(text.digest)
    check_symbols(checkpoint.weights, len(vocabulary), where=str(checkpoint.path))
    try:
        with tempfile.TemporaryDirectory(dir=out, prefix=".part") as temporary:
            part = Path(temporary)
            write_tensors(once(checkpoint.weights), part / WEIGHTS)
            write_settings({"vocabulary": text.digest()} | kept_flags(checkpoint, learned), part / CONFIG)
            (part / "bpe").mkdir()
            for file in VOCABULARY:
                shutil.copyfile(sources.bpe_dir / file, part / "bpe" / file)
            if sources.tokenizer is not None:
                _write_tokenizer(sources.tokenizer, part, dtype)
            if calibration is not None:
                write_calibration(calibration, part / WEIGHTS)
            write_card(part, _given(out, sources), name=name, license=license)
            # what lies beside weights of another name is not this model's
            owned = (calibration_path(out / WEIGHTS).name, *TOKENIZER) if (out / WEIGHTS).exists() else ()
            move_into(out, part, owned=owned)
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({reason_of(error)})") from error


def move_into(out: Path, part: Path, *, owned: Sequence[str]) -> None:
    """Replaces the model's files, the config last: until then a folder that was new is no model.

    owned: names of files that belong to the former model, and go with it where this one does not have them.
    """
    (out / "bpe").mkdir(exist_ok=True)
    for name in owned:
        if not (part / name).exists():
            (out / name).unlink(missing_ok=True)
    for file in sorted(files_below(part), key=lambda file: file.name == CONFIG):
        os.replace(file, out / file.relative_to(part))


def kept_flags(checkpoint: Checkpoint, learned: Sequence[str] = ()) -> dict[str, Any]:
    """The settings that asking needs; nothing of the training machine. learned: tasks that it does not name itself."""
    flags = {name: value for name, value in checkpoint.flags().items() if name in KEPT | {"arch", "task"}}
    return flags | {"learned": list(in_order([*learned, *learned_by(checkpoint)]))}


def once(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights without those that follow from the settings, the shared embedding only once; contiguous.

    CheckpointError if the embeddings, which RefHCM shares, differ.
    """
    found = {name: value for name, value in weights.items() if name.rpartition(".")[2] not in COMPUTED}
    first, *others = [name for name in EMBEDDINGS if name in found] or [""]
    for name in others:
        if not torch.equal(found.pop(name), found[first]):
            raise CheckpointError(f"{name} differs from {first}; RefHCM shares one matrix")
    return {name: value.contiguous() for name, value in found.items()}


def _write_tokenizer(files: tuple[Path, Path], out: Path, dtype: torch.dtype | None) -> None:
    weights, sizes = files
    stored = read_lightning_checkpoint(weights)["state_dict"]
    small = {name: value.to(dtype if value.is_floating_point() else None) for name, value in stored.items()}
    written = out / TOKENIZER[0], out / TOKENIZER[1]
    write_tensors({name: value.contiguous() for name, value in small.items()}, written[0])
    shutil.copyfile(sizes, written[1])
    load_tokenizer(written[1], written[0])  # says whether the two match


def _given(out: Path, sources: Sources) -> dict[str, Path]:
    """The card and the scores that there are.

    The card of the folder that is renewed keeps what people wrote; else that beside the checkpoint. A README.md beside
    a .pt is about that folder, not this model. Scores: those beside the checkpoint, which are of its weights; else
    those in the folder.
    """
    beside = sources.checkpoint.parent
    places = {CARD: [out, beside] if sources.checkpoint.name == WEIGHTS else [out], RESULTS: [beside, out]}
    files = {name: [at / name for at in each if (at / name).is_file()] for name, each in places.items()}
    return {name: found[0] for name, found in files.items() if found}


def publish(sources: Sources, repo: str, *, revision: str | None, private: bool, license: str) -> str:
    """Writes the model's folder and commits it to the hub; the commit's address. Raises UserError."""
    with tempfile.TemporaryDirectory() as temporary:
        checkpoint, calibration = read_checkpoint(sources.checkpoint, mmap=True), calibration_of(sources.checkpoint)
        folder = Path(temporary)
        write_folder(folder, checkpoint, sources, calibration=calibration, name=repo, license=license)
        return upload(folder, repo, revision=revision, private=private, message="RefHCM model")
