"""Writes a small checkpoint from what training wrote: weights in half precision, and the settings that asking needs.

    refhcm export runs/multitask/checkpoint_last.pt checkpoints/mine/model.pt
    refhcm export runs/vqgan/model.ckpt checkpoints/mine/vqgan/model.ckpt
    refhcm export runs/one/checkpoint_last.pt runs/two/checkpoint_last.pt checkpoints/mine/model.pt

Optimiser state, meters and paths of the training machine are left out. The file loads wherever the large one does. A
calibration beside the checkpoint (refhcm calibrate) is copied.
Copy the tokenizer's model.yaml by hand. If you name several checkpoints, the mean of their weights is written: models
trained from the same start often answer better as a mean than each alone (arXiv 2203.05482).
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import torch
from torch import Tensor

from ...inference.calibration import calibration_of, calibration_path, write_calibration
from ...inference.learned import FURTHER, in_order, learned_by
from ...models.refhcm.config import NetworkConfig
from ...models.refhcm.loading import COMPUTED, EMBEDDINGS
from ...models.vqgan.tokenizer import read_lightning_checkpoint
from ...tasks.settings import NOT_FROM_CHECKPOINT, TaskSettings
from ...utils.checkpoints import Checkpoint, read_checkpoint, save_file
from ...utils.errors import UserError

KEPT = {f.name for config in (NetworkConfig, TaskSettings) for f in fields(config)} - set(NOT_FROM_CHECKPOINT)
# Settings that change what a weight means, but not its shape.
ALIKE = {"num_bins", "code_dict_size", "patch_image_size", "max_image_size", "imagenet_default_mean_and_std"} | {
    "disable_entangle",
    "encoder_attention_heads", "decoder_attention_heads", "attn_scale_factor", "entangle_position_embedding",
}  # fmt: skip


def export(
    checkpoints: Sequence[Checkpoint],
    out: str | Path,
    *,
    ema: bool = False,
    dtype: torch.dtype = torch.float16,
    learned: Sequence[str] = (),
) -> int:
    """Writes the small checkpoint atomically, with the mean weights of `checkpoints`. Returns its size in bytes.

    ema: takes the averaged weights of each. learned: tasks of `FURTHER` that the flags of `checkpoints` do not name.
    Raises UserError if a setting, a name or a shape of the networks differs, or if a weight is too large for `dtype`.
    """
    first, *others = checkpoints
    flags = {name: value for name, value in first.flags().items() if name in KEPT | {"arch", "task"}}
    for other in others:
        for name in sorted(ALIKE & flags.keys() & other.flags().keys()):
            if other.flags()[name] != flags[name]:
                raise UserError(f"{other.path}: {name} differs from {first.path}; the two have no mean")
    weights = mean([(str(c.path), c.ema_weights() if ema else c.weights) for c in checkpoints])
    small = cast(weights, dtype, where=str(out))
    # torch saves a shared matrix once, but the cast has made copies of it.
    shared = [name for name in EMBEDDINGS if name in small]
    for name in shared:
        small[name] = small[shared[0]]
    flags["learned"] = list(in_order([*learned, *learned_by(first)]))
    own = {name: first.rest[name] for name in ("vocabulary",) if name in first.rest}
    return save_file({"args": None, "cfg": {"model": argparse.Namespace(**flags)}, "model": small} | own, Path(out))


def export_tokenizer(checkpoints: Sequence[str | Path], out: str | Path, *, dtype: torch.dtype = torch.float16) -> int:
    """The same for checkpoints of a parsing-map tokenizer."""
    weights = mean([(str(path), read_lightning_checkpoint(path)["state_dict"]) for path in checkpoints])
    return save_file({"state_dict": cast(weights, dtype, where=str(out))}, Path(out))


def mean(checkpoints: Sequence[tuple[str, Mapping[str, Tensor]]]) -> dict[str, Tensor]:
    """The mean of weights, given with their files, without what follows from the settings; of one, the weights.

    Raises UserError if a name or a shape differs.
    """
    (first, weights), *others = checkpoints
    names = [name for name in weights if name.rpartition(".")[2] not in COMPUTED]
    for path, other in others:
        known = {name for name in other if name.rpartition(".")[2] not in COMPUTED}
        for name in sorted({*known, *names}):
            if name not in other or name not in weights or other[name].shape != weights[name].shape:
                raise UserError(f"{path}: {name} differs from {first}; the two have no mean")
    result = {name: weights[name] for name in names}
    for name, value in result.items():
        if others and value.is_floating_point():
            result[name] = torch.stack([each[name].float() for _, each in checkpoints]).mean(0)
    return result


def cast(weights: Mapping[str, Tensor], dtype: torch.dtype, *, where: str) -> dict[str, Tensor]:
    """Floating weights as `dtype`. Raises UserError naming the first that is too large for it."""
    small = {name: value.to(dtype) if value.is_floating_point() else value for name, value in weights.items()}
    for name, value in small.items():
        if not bool(value.isfinite().all()):
            raise UserError(f"{where}: {name} is too large for {dtype}; use --dtype bfloat16")
    return small


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    help = "checkpoint of training: .pt, or .ckpt of a tokenizer; several: their mean is written"
    parser.add_argument("checkpoints", nargs="+", metavar="checkpoint", help=help)
    parser.add_argument("out", type=Path, help="file to write")
    parser.add_argument("--ema", action="store_true", help="take the averaged weights that --store-ema kept")
    parser.add_argument(
        "--dtype",
        choices=("float16", "bfloat16", "float32"),
        default="float16",
        help="number format (default: float16)",
    )

    parser.add_argument(
        "--learned",
        nargs="*",
        choices=FURTHER,
        default=[],
        help="what the model has learned besides; `grec` is known from its training, keypoints by box are not",
    )


def run(args: argparse.Namespace) -> None:
    """Writes the file and prints its size."""
    paths, dtype = args.checkpoints, getattr(torch, args.dtype)
    real = [Path(path).resolve() for path in paths]
    if len(set(real)) < len(real):
        raise UserError(f"{max(real, key=real.count)}: is named twice")
    if args.out.exists() and any(args.out.samefile(path) for path in real if path.exists()):
        raise UserError(f"{args.out}: is one of the checkpoints, which would be lost; name another file to write")
    if paths[0].endswith(".ckpt"):
        size = export_tokenizer(paths, args.out, dtype=dtype)
    else:
        found = [read_checkpoint(path, mmap=True) for path in paths]
        size = export(found, args.out, ema=args.ema, dtype=dtype, learned=args.learned)
        if len(paths) == 1 and not args.ema:  # of a mean or of averaged weights nothing is known
            _copy_calibration(Path(paths[0]), args.out)
    print(f"{args.out}: {size / 1e6:.1f} MB")


def _copy_calibration(checkpoint: Path, out: Path) -> None:
    """The calibration beside the checkpoint, if it belongs to it, beside the small one. Raises UserError."""
    if (calibration := calibration_of(checkpoint)) is not None:
        write_calibration(calibration, out)
        print(f"{calibration_path(out)}: calibration of {checkpoint}")
