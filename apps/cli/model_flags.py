"""The flags that choose a model, the same for every command that asks one."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...inference.predictor import Predictor

DTYPES = ("auto", "float32", "float16", "bfloat16")


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """Adds --checkpoint, --tokenizer, --bpe-dir, --device, --dtype and --cuda-graphs in a group of their own."""
    model = parser.add_argument_group("model")
    model.add_argument(
        "--checkpoint",
        help="Ask this model: a file, a folder, OWNER/NAME of the hub, or the name refhcm or refhcm-tuned (default: "
        "the small model of drawn people).",
    )
    model.add_argument(
        "--tokenizer",
        help="Use the parsing-map tokenizer in this folder, of model.yaml and model.ckpt; parsing needs one "
        "(default: the model's own, else vqgan/ beside it, else checkpoints/vqgan).",
    )
    model.add_argument(
        "--bpe-dir",
        help="Use the vocabulary in this folder, of dict.txt, encoder.json and vocab.bpe "
        "(default: bpe/ beside the checkpoint, or dataset/bpe).",
    )
    model.add_argument(
        "--device", default="auto", help="Compute on cpu, cuda, cuda:1, ... (default: a GPU if there is one)."
    )
    model.add_argument(
        "--dtype",
        default="auto",
        choices=DTYPES,
        help="Compute in this number format (default: float16 on a GPU, float32 on the CPU).",
    )
    add_graphs_flag(model)


def add_graphs_flag(parser: argparse._ActionsContainer) -> None:
    """Adds --cuda-graphs."""
    parser.add_argument(
        "--cuda-graphs", action="store_true", help="Replay recorded steps of decoding, on a GPU only (docs/speed.md)."
    )


def load_model(args: argparse.Namespace, *, batch_size: int | None = None, drawn: bool = False) -> "Predictor":
    """The model that the flags choose. Raises UserError naming the file or flag at fault.

    drawn: asked about drawn people alone, so that the small model need not say that it knows nothing else.
    """
    from ...inference.loading import SHIPPED, load  # imports torch, which --help does not need

    checkpoint = SHIPPED if drawn and args.checkpoint is None else args.checkpoint
    given = {name: getattr(args, name) for name in ("tokenizer", "bpe_dir", "device", "dtype", "cuda_graphs")}
    return load(checkpoint, **given, batch_size=batch_size)
