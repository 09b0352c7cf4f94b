"""A trained checkpoint made small enough to ship: weights in half precision and the flags that asking needs.

    refhcm export runs/multitask/checkpoint_last.pt checkpoints/mine/model.pt
    refhcm export runs/vqgan/model.ckpt checkpoints/mine/vqgan/model.ckpt
    refhcm export runs/one/checkpoint_last.pt runs/two/checkpoint_last.pt checkpoints/mine/model.pt

Optimiser, meters and paths of the training machine are left out. It loads wherever the whole checkpoint does. A
tokenizer's model.yaml, which it is read with, is copied by hand. Of several checkpoints the mean is written: trainings
that began with one model often answer better together than each of them (arXiv 2203.05482).
"""

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import torch
from torch import Tensor

from ...models.refhcm.config import NetworkConfig
from ...models.refhcm.loading import COMPUTED
from ...models.vqgan.tokenizer import read_lightning_checkpoint
from ...tasks.settings import NOT_FROM_CHECKPOINT, TaskSettings
from ...utils.checkpoints import Checkpoint, read_checkpoint, save_file
from ...utils.errors import UserError

KEPT = {f.name for config in (NetworkConfig, TaskSettings) for f in fields(config)} - set(NOT_FROM_CHECKPOINT)
# What a weight means, where its shape does not show it.
ALIKE = {"num_bins", "code_dict_size", "patch_image_size", "max_image_size", "imagenet_default_mean_and_std"} | {
    "disable_entangle",
    "encoder_attention_heads", "decoder_attention_heads", "attn_scale_factor", "entangle_position_embedding",
}  # fmt: skip


def export(
    checkpoints: Sequence[Checkpoint], out: str | Path, *, ema: bool = False, dtype: torch.dtype = torch.float16
) -> int:
    """Writes the small checkpoint, whole or not at all; its size in bytes. Of several, the mean of their weights.

    ema: of the averaged weights. Raises UserError when a flag, a name or a shape of the networks differs, or a weight
    does not fit into `dtype`.
    """
    first, *others = checkpoints
    _each_once([checkpoint.path for checkpoint in checkpoints])
    flags = {name: value for name, value in first.flags().items() if name in KEPT | {"arch", "task"}}
    for other in others:
        for name in sorted(ALIKE & flags.keys() & other.flags().keys()):
            if other.flags()[name] != flags[name]:
                raise UserError(f"{other.path}: {name} is not as in {first.path}: the two have no mean")
    weights = mean({str(c.path): c.ema_weights() if ema else c.weights for c in checkpoints})
    small = cast(weights, dtype, where=str(out))
    # Of matrices that are one, torch writes one: they must be one again after the cast.
    shared = {name: small[name] for name in small if name.endswith("embed_tokens.weight")}
    small |= dict.fromkeys(shared, next(iter(shared.values()), None))
    if "decoder.output_projection.weight" in small and shared:
        small["decoder.output_projection.weight"] = next(iter(shared.values()))
    return save_file({"args": None, "cfg": {"model": argparse.Namespace(**flags)}, "model": small}, Path(out))


def export_tokenizer(checkpoints: Sequence[str | Path], out: str | Path, *, dtype: torch.dtype = torch.float16) -> int:
    """The same of checkpoints of a parsing-map tokenizer."""
    _each_once(checkpoints)
    weights = mean({str(path): read_lightning_checkpoint(path)["state_dict"] for path in checkpoints})
    return save_file({"state_dict": cast(weights, dtype, where=str(out))}, Path(out))


def _each_once(paths: Sequence[str | Path]) -> None:
    twice = [path for path, times in Counter(map(str, paths)).items() if times > 1]
    if twice:
        raise UserError(f"{twice[0]}: is named twice")


def mean(checkpoints: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of the weights of checkpoints by path, without what is computed; of one, its own.

    Raises UserError when a name or a shape differs.
    """
    (first, names), *others = (
        (path, {name: value for name, value in weights.items() if name.rpartition(".")[2] not in COMPUTED})
        for path, weights in checkpoints.items()
    )
    for path, weights in others:
        for name in sorted(names.keys() | weights.keys()):
            if name not in names or name not in weights or names[name].shape != weights[name].shape:
                raise UserError(f"{path}: {name} is not as in {first}: the two have no mean")
    if not others:
        return names
    return {
        name: torch.stack([value.float(), *(weights[name].float() for _, weights in others)]).mean(0)
        if value.is_floating_point()
        else value
        for name, value in names.items()
    }


def cast(weights: Mapping[str, Tensor], dtype: torch.dtype, *, where: str) -> dict[str, Tensor]:
    """Floating weights as `dtype`. Raises UserError naming the first that it can not hold."""
    small = {name: value.to(dtype) if value.is_floating_point() else value for name, value in weights.items()}
    for name, value in small.items():
        if not bool(value.isfinite().all()):
            raise UserError(f"{where}: {name} does not fit into {dtype}: use --dtype bfloat16")
    return small


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    help = "what training wrote: a .pt, or a tokenizer's .ckpt; of several, the mean"
    parser.add_argument("checkpoints", nargs="+", metavar="checkpoint", help=help)
    parser.add_argument("out", type=Path, help="file to write")
    parser.add_argument("--ema", action="store_true", help="the averaged weights of --store-ema")
    parser.add_argument("--dtype", choices=("float16", "bfloat16", "float32"), default="float16", help="of the weights")


def run(args: argparse.Namespace) -> None:
    """Writes the file and says how large it is."""
    dtype = getattr(torch, args.dtype)
    if args.checkpoints[0].endswith(".ckpt"):
        size = export_tokenizer(args.checkpoints, args.out, dtype=dtype)
    else:
        networks = [read_checkpoint(path, mmap=True) for path in args.checkpoints]
        size = export(networks, args.out, ema=args.ema, dtype=dtype)
    print(f"{args.out}: {size / 1e6:.1f} MB")
