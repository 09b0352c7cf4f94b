"""A trained checkpoint made small enough to ship: weights in half precision and the flags that asking needs.

    python -m refhcm.tasks.export runs/multitask/checkpoint_last.pt checkpoints/mine/model.pt

Optimiser, meters and paths of the training machine are left out. It loads wherever the whole checkpoint does.
"""

import argparse
import os
import sys
from dataclasses import fields
from pathlib import Path

import torch

from ..models.refhcm.config import NetworkConfig
from ..models.refhcm.loading import COMPUTED
from ..utils.checkpoints import Checkpoint, read_checkpoint
from ..utils.errors import UserError, exit_status
from .settings import NOT_FROM_CHECKPOINT, TaskSettings

KEPT = {f.name for config in (NetworkConfig, TaskSettings) for f in fields(config)} - set(NOT_FROM_CHECKPOINT)


def export(checkpoint: Checkpoint, out: str | Path, *, ema: bool = False, dtype: torch.dtype = torch.float16) -> int:
    """Writes the small checkpoint, whole or not at all; its size in bytes. ema: of the averaged weights."""
    out = Path(out)
    weights = checkpoint.ema_weights() if ema else checkpoint.weights
    weights = {name: value for name, value in weights.items() if name.rpartition(".")[2] not in COMPUTED}
    small = {name: value.to(dtype) if value.is_floating_point() else value for name, value in weights.items()}
    for name, value in small.items():
        if not bool(value.isfinite().all()):
            raise UserError(f"{checkpoint.path}: {name} does not fit into {dtype}: use --dtype bfloat16")
    # Of matrices that are one, torch writes one: they must be one again after the cast.
    shared = {name: small[name] for name in small if name.endswith("embed_tokens.weight")}
    small |= dict.fromkeys(shared, next(iter(shared.values()), None))
    if "decoder.output_projection.weight" in small and shared:
        small["decoder.output_projection.weight"] = next(iter(shared.values()))
    flags = {name: value for name, value in checkpoint.flags().items() if name in KEPT | {"arch", "task"}}
    content = {"args": None, "cfg": {"model": argparse.Namespace(**flags)}, "model": small}
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f"{out.name}.{os.getpid()}.part")
    try:
        torch.save(content, part)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return out.stat().st_size


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m refhcm.tasks.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", help="what training wrote")
    parser.add_argument("out", type=Path, help="file to write")
    parser.add_argument("--ema", action="store_true", help="the averaged weights of --store-ema")
    parser.add_argument("--dtype", choices=("float16", "bfloat16", "float32"), default="float16", help="of the weights")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, or 2 for a mistake of the user's, which is one line."""
    args = make_parser().parse_args(arguments)

    def run() -> None:
        size = export(read_checkpoint(args.checkpoint), args.out, ema=args.ema, dtype=getattr(torch, args.dtype))
        print(f"{args.out}: {size / 1e6:.1f} MB")

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
