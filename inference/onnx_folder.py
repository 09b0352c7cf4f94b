"""Writes a model as a folder of ONNX files (docs/onnx.md)."""

import argparse
import shutil
import tempfile
from pathlib import Path

import torch

from ..data.text import TextEncoder
from ..data.vocabulary import Vocabulary
from ..models.onnx.files import MAPS, PARTS, SECTION, VERSION, mark, path_of
from ..models.onnx.writing import write_graphs
from ..models.refhcm.loading import load_network
from ..models.vqgan import load_tokenizer
from ..tasks.settings import settings_of
from ..utils.checkpoints import Checkpoint
from ..utils.errors import UserError, reason_of
from ..utils.files import check_writable, files_below
from ..utils.model_files import CONFIG, WEIGHTS, checksum, write_settings
from .calibration import Calibration, calibration_path, write_calibration
from .publishing import VOCABULARY, Sources, kept_flags, move_into, once


def write_onnx(
    out: Path, checkpoint: Checkpoint, sources: Sources, *, calibration: Calibration | None, dtype: str
) -> int:
    """Writes or renews the folder; an error leaves what was there. Returns the size of its ONNX files in bytes.

    checkpoint: its weights and settings. calibration: of these weights. dtype: float32, float16 or int8.
    Raises UserError naming the file at fault.
    """
    check_writable(out)
    if (out / WEIGHTS).exists():
        raise UserError(f"{out}: is a model's folder with {WEIGHTS}; name another one for ONNX")
    settings = settings_of(checkpoint, argparse.Namespace(bpe_dir=str(sources.bpe_dir)))
    vocabulary = Vocabulary.load(sources.bpe_dir, num_bins=settings.num_bins, code_dict_size=settings.code_dict_size)
    text = TextEncoder.load(sources.bpe_dir, vocabulary)
    checkpoint.check_vocabulary(text.digest)
    network = load_network(checkpoint, len(vocabulary), dtype=torch.float32)
    vq = None
    if sources.tokenizer is not None:
        ckpt, yaml = sources.tokenizer
        vq = load_tokenizer(yaml, ckpt, n_embed=settings.vq_n_embed)
    weights = checksum(once(checkpoint.weights))
    own = {"vocabulary": text.digest(), SECTION: {"version": VERSION, "weights": weights, "dtype": dtype}}
    try:
        with tempfile.TemporaryDirectory(dir=out, prefix=".part") as temporary:
            part = Path(temporary)
            size = settings.patch_image_size
            write_graphs(network, vq, part, canvas_px=size, dtype=dtype, mark=mark(weights, dtype))
            total = sum(file.stat().st_size for file in files_below(part))
            write_settings(own | kept_flags(checkpoint), part / CONFIG)
            (part / "bpe").mkdir()
            for name in VOCABULARY:
                shutil.copyfile(sources.bpe_dir / name, part / "bpe" / name)
            if calibration is not None:
                write_calibration(calibration, path_of(part, PARTS[-1]))
            move_into(out, part, owned=(calibration_path(path_of(out, PARTS[-1])).name, path_of(out, MAPS).name))
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({reason_of(error)})") from error
    return total
