"""The flags that say which model is asked: the same for every command that asks one."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...inference.predictor import Predictor

DTYPES = ("auto", "float32", "float16", "bfloat16")


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """Adds --checkpoint, --tokenizer, --bpe-dir, --device and --dtype in a group of their own."""
    model = parser.add_argument_group("model")
    model.add_argument("--checkpoint", help="trained model (default: the small one of drawn people)")
    model.add_argument("--tokenizer", help="folder with model.yaml and model.ckpt of the parsing-map tokenizer")
    model.add_argument("--bpe-dir", help="folder with dict.txt, encoder.json and vocab.bpe")
    model.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (default: auto)")
    model.add_argument("--dtype", default="auto", choices=DTYPES, help="number format (default: auto)")


def load_model(args: argparse.Namespace, *, batch_size: int | None = None) -> "Predictor":
    """The model that the flags name. Raises UserError naming the file or flag at fault."""
    from ...inference.loading import load  # torch, which `--help` does not need

    given = {name: getattr(args, name) for name in ("tokenizer", "bpe_dir", "device", "dtype")}
    return load(args.checkpoint, **given, batch_size=batch_size)
