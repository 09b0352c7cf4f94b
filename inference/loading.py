"""`refhcm.load`: finds a model, its vocabulary and its tokenizer, and makes a Predictor of them."""

import argparse
import logging
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import torch

from ..data.text import TextEncoder
from ..data.vocabulary import Vocabulary
from ..models.refhcm.loading import load_network
from ..models.vqgan import load_tokenizer
from ..tasks.settings import TaskSettings, settings_of
from ..utils.checkpoints import read_checkpoint
from ..utils.devices import choose_kernels, pick_device
from ..utils.errors import CheckpointError, UserError
from ..utils.memory import keep_freed_memory
from ..utils.model_files import SUFFIX, weights_file
from ..utils.model_files import TOKENIZER as IN_FOLDER
from .calibration import calibration_of
from .hub import check_revision, download, repository
from .learned import learned_by
from .names import model_file, path_given
from .predictor import Predictor
from .publishing import Sources

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "checkpoints" / "synthetic"
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
TOKENIZER = ("model.ckpt", "model.yaml")

logger = logging.getLogger(__name__)


def load(
    checkpoint: str | Path | None = None,
    *,
    revision: str | None = None,
    tokenizer: str | Path | None = None,
    bpe_dir: str | Path | None = None,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    batch_size: int | None = None,
    cuda_graphs: bool = False,
) -> Predictor:
    """A model to ask. Its sizes and settings come from the checkpoint.

    checkpoint: a model's folder, a .pt file, OWNER/NAME of the Hugging Face hub, or the name of a published model,
        "refhcm" or "refhcm-tuned", whose download is offered if it is missing; None for the small model of drawn people
        that comes with the project; a warning says so, once.
    revision: branch, tag or commit on the hub; OWNER/NAME@REVISION says the same.
    tokenizer: needed for parsing: a folder with model.ckpt and model.yaml, or a .ckpt with a .yaml beside it.
        Default: the model's own, `vqgan/` beside the checkpoint, else checkpoints/vqgan, else none.
    bpe_dir: folder of the vocabulary. Default: `bpe/` beside the checkpoint, else dataset/bpe.
    device: "auto" for a GPU if there is one. dtype: "auto" for float16 on a GPU and float32 on the CPU.
    batch_size: questions answered together. Default: as many as fit into 2 GiB, at most 64.
    cuda_graphs: record steps of decoding as CUDA graphs and replay them, on a GPU only (docs/speed.md).
    Raises UserError naming the file or argument at fault.
    """
    device = _device(device)
    dtype = _dtype(dtype, device)
    path = checkpoint_file(checkpoint, revision=revision)
    found = read_checkpoint(path, mmap=True)
    sources = sources_of(path, tokenizer=tokenizer, bpe_dir=bpe_dir)
    settings = settings_of(found, argparse.Namespace(bpe_dir=str(sources.bpe_dir)))
    vocabulary = Vocabulary.load(settings.bpe_dir, num_bins=settings.num_bins, code_dict_size=settings.code_dict_size)
    text = TextEncoder.load(settings.bpe_dir, vocabulary)
    found.check_vocabulary(text.digest)
    network = load_network(found, len(vocabulary), device=device, dtype=dtype)
    network.for_answers(cuda_graphs=cuda_graphs)
    if device.type == "cpu":  # only now, so that what loading the weights has freed goes back to the system
        keep_freed_memory()
    vq = None
    if sources.tokenizer is not None:
        ckpt, yaml = sources.tokenizer
        vq = load_tokenizer(yaml, ckpt, n_embed=settings.vq_n_embed).to(device)
    notes = (drawn_people_only(),) if checkpoint is None else ()
    for note in notes:
        _warn_once(note)
    return Predictor(
        network,
        text,
        settings,
        tokenizer=vq,
        batch_size=batch_size,
        calibration=calibration_of(path),
        learned=learned_by(found),
        name="/".join(path.parts[-2:]),
        notes=notes,
        sources=sources,
    )


def drawn_people_only() -> str:
    """What users of the small model should know: it was trained on drawings, and another one is for photographs."""
    return (
        "the model that comes with the project knows drawn people only. For photographs, name the model refhcm, after: "
        "refhcm download photos"
    )


@cache
def _warn_once(note: str) -> None:
    """Once a process."""
    logger.warning("%s", note)


def checkpoint_file(given: str | Path | None, *, revision: str | None = None) -> Path:
    """The file of weights that a user means: as `load` says, downloaded where it is not here.

    UserError for what cannot be had.
    """
    path = SHIPPED if given is None else model_file(given)
    if given is None and not path.exists():
        raise CheckpointError(f"{path}: the shipped model is missing: name another one. Run: refhcm download photos")
    named = None if given is None else repository(given)
    if named is not None:
        return weights_file(download(named[0], revision or named[1]))
    check_revision(revision, path)
    return weights_file(path)


def sources_of(checkpoint: Path, *, tokenizer: str | Path | None = None, bpe_dir: str | Path | None = None) -> Sources:
    """The checkpoint's file with those of its vocabulary and tokenizer. UserError for those that are missing."""
    return Sources(checkpoint, _bpe_dir(bpe_dir, checkpoint), tokenizer_files(tokenizer, checkpoint))


def _bpe_dir(given: str | Path | None, checkpoint: Path) -> Path:
    if given is not None:
        return path_given(given, "bpe_dir")
    places = [checkpoint.parent / "bpe", Path(TaskSettings.bpe_dir), ROOT / TaskSettings.bpe_dir]
    found = _first(places, "dict.txt")
    if found is None:
        looked = ", ".join(dict.fromkeys(str(place.resolve()) for place in places))
        raise UserError(
            f"bpe_dir: found no dict.txt of a vocabulary in {looked}: name its folder, bpe_dir=FOLDER, "
            "or run: refhcm download vocabulary"
        )
    return found


def tokenizer_files(given: str | Path | None, checkpoint: Path) -> tuple[Path, Path] | None:
    """The files of weights and sizes that `load` takes for the tokenizer; None if there are none."""
    if given is None:
        own = (checkpoint.with_name(IN_FOLDER[0]), checkpoint.with_name(IN_FOLDER[1]))
        if checkpoint.suffix == SUFFIX and own[0].is_file():
            return own
        vqgan = Path("checkpoints") / "vqgan"
        folder = _first([checkpoint.parent / "vqgan", vqgan, ROOT / vqgan], TOKENIZER[0])
        return None if folder is None else (folder / TOKENIZER[0], folder / TOKENIZER[1])
    path = path_given(given, "tokenizer")
    names = IN_FOLDER if (path / IN_FOLDER[0]).is_file() else TOKENIZER
    files = (path / names[0], path / names[1]) if path.is_dir() else (path, path.with_suffix(".yaml"))
    for file in files:
        if not file.is_file():
            expected = f"needs a folder of {' and '.join(TOKENIZER)}"
            raise UserError(f"tokenizer: {file}: no such file; {expected}. Run: refhcm download tokenizer")
    return files


def _first(folders: Iterable[Path], file: str) -> Path | None:
    return next((folder for folder in folders if (folder / file).is_file()), None)


def _device(given: str | torch.device) -> torch.device:
    if given == "auto":
        return pick_device()
    try:
        choose_kernels()
        device = torch.device(given)
        torch.empty(0, device=device)
    except (RuntimeError, TypeError, AssertionError) as error:  # AssertionError: torch built without that device
        raise UserError(f"device: {given!r} cannot be used here ({str(error).splitlines()[0]})") from error
    return device


def _dtype(given: str | torch.dtype, device: torch.device) -> torch.dtype:
    if given == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    dtype = DTYPES.get(given) if isinstance(given, str) else given
    if dtype is None or dtype not in DTYPES.values():
        raise UserError(f"dtype: needs auto, {', '.join(DTYPES)}, got {given!r}")
    return dtype
