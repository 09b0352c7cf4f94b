"""Writes a model as a folder for asking and publishing, or as one small file, from what training wrote.

    refhcm export runs/multitask/checkpoint_last.pt checkpoints/mine
    refhcm export runs/one/checkpoint_last.pt runs/two/checkpoint_last.pt checkpoints/mine
    refhcm export runs/multitask/checkpoint_last.pt checkpoints/mine/model.pt
    refhcm export runs/vqgan/model.ckpt checkpoints/mine/vqgan/model.ckpt
    refhcm export checkpoints/mine checkpoints/mine_onnx --format onnx --dtype int8

A folder has all that asking needs (docs/models.md): weights as they are stored, settings, vocabulary, tokenizer,
calibration, and a model card with the scores of a results.json. A .pt or .ckpt has the weights in half precision and
the settings; copy vocabulary and tokenizer by hand. Optimiser state, meters and paths of the training machine are left
out. A calibration beside the checkpoint (refhcm calibrate) is kept. If you name several checkpoints, the mean of their
weights is written: models trained from the same start often answer better as a mean than each alone (arXiv 2203.05482).
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ...inference.calibration import calibration_of, calibration_path, write_calibration
from ...inference.learned import FURTHER
from ...inference.loading import checkpoint_file, sources_of
from ...inference.model_card import LICENSE
from ...inference.publishing import kept_flags, write_folder
from ...models.onnx.files import DTYPES as ONNX_DTYPES
from ...models.refhcm.loading import COMPUTED, EMBEDDINGS
from ...models.vqgan.tokenizer import read_lightning_checkpoint
from ...utils.checkpoints import Checkpoint, read_checkpoint, save_file
from ...utils.errors import UserError
from ...utils.files import readable

FILES = (".pt", ".ckpt")  # endings of an OUT that is one file
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
    first = checkpoints[0]
    flags = kept_flags(first, learned)
    small = cast(weights_of(checkpoints, ema=ema), dtype, where=str(out))
    # torch saves a shared matrix once, but the cast has made copies of it.
    shared = [name for name in EMBEDDINGS if name in small]
    for name in shared:
        small[name] = small[shared[0]]
    own = {name: first.rest[name] for name in ("vocabulary",) if name in first.rest}
    return save_file({"args": None, "cfg": {"model": argparse.Namespace(**flags)}, "model": small} | own, Path(out))


def export_folder(
    checkpoints: Sequence[Checkpoint],
    out: str | Path,
    *,
    ema: bool = False,
    dtype: torch.dtype | None = None,
    tokenizer: str | Path | None = None,
    bpe_dir: str | Path | None = None,
    license: str = LICENSE,
    learned: Sequence[str] = (),
) -> int:
    """The same as a model's folder, with the other files of the first checkpoint. dtype: None for the stored ones.

    tokenizer, bpe_dir: as for `refhcm.load`. Returns the size of the weights.
    """
    first, out = checkpoints[0], Path(out)
    weights = weights_of(checkpoints, ema=ema)
    if dtype is not None:
        weights = cast(weights, dtype, where=str(out))
    sources = sources_of(first.path, tokenizer=tokenizer, bpe_dir=bpe_dir)
    known = calibration_of(first.path) if len(checkpoints) == 1 and not ema else None
    write_folder(
        out,
        replace(first, weights=weights),
        sources,
        calibration=known,
        name=out.resolve().name,
        license=license,
        dtype=dtype,
        learned=learned,
    )
    if sources.tokenizer is None:
        print(f"{out}: has no tokenizer, so it cannot be asked for parts; name its folder with --tokenizer")
    return sum(value.nbytes for value in {value.data_ptr(): value for value in weights.values()}.values())


def export_onnx(
    checkpoints: Sequence[Checkpoint],
    out: str | Path,
    *,
    ema: bool = False,
    dtype: str = "float32",
    tokenizer: str | Path | None = None,
    bpe_dir: str | Path | None = None,
) -> int:
    """The same as a folder of ONNX files (docs/onnx.md). dtype: float32, float16 or int8. Returns their size."""
    from ...inference.onnx_folder import write_onnx  # here: without this format nobody needs torch's exporter

    first = checkpoints[0]
    sources = sources_of(first.path, tokenizer=tokenizer, bpe_dir=bpe_dir)
    known = calibration_of(first.path) if len(checkpoints) == 1 and not ema else None
    changed = replace(first, weights=weights_of(checkpoints, ema=ema))
    return write_onnx(Path(out), changed, sources, calibration=known, dtype=dtype)


def weights_of(checkpoints: Sequence[Checkpoint], *, ema: bool) -> dict[str, Tensor]:
    """The mean weights, or averaged weights. Raises UserError if a setting, a name or a shape differs."""
    first, *others = checkpoints
    flags = kept_flags(first)
    for other in others:
        for name in sorted(ALIKE & flags.keys() & other.flags().keys()):
            if other.flags()[name] != flags[name]:
                raise UserError(f"{other.path}: {name} differs from {first.path}; the two have no mean")
    return mean([(str(c.path), c.ema_weights() if ema else c.weights) for c in checkpoints])


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
    help = "Export this checkpoint or model's folder, or .ckpt of a tokenizer; of several, their mean."
    parser.add_argument("checkpoints", nargs="+", metavar="checkpoint", help=help)
    parser.add_argument("out", type=Path, help="Write this folder, or a file that ends in .pt or .ckpt.")
    parser.add_argument("--ema", action="store_true", help="Take the averaged weights that --store-ema kept.")
    parser.add_argument(
        "--dtype",
        choices=("float16", "bfloat16", "float32", "int8"),
        help="Store the weights in this number format; int8 is for ONNX only (default: float16 in a file, as stored in "
        "a folder, float32 in ONNX).",
    )
    parser.add_argument(
        "--format",
        choices=("torch", "onnx"),
        default="torch",
        help="Write a folder or a .pt file (torch), or a folder for refhcm.load_onnx, which needs no torch to answer "
        "(onnx; default: torch).",
    )
    parser.add_argument(
        "--tokenizer",
        help="Put this tokenizer into a folder (default: the model's own, else vqgan/ beside it, else "
        "checkpoints/vqgan).",
    )
    parser.add_argument(
        "--bpe-dir", help="Put this vocabulary into a folder (default: bpe/ beside the checkpoint, or dataset/bpe)."
    )
    parser.add_argument(
        "--license", default=LICENSE, help=f"Name the licence of a folder's weights, as hubs do (default: {LICENSE})."
    )
    parser.add_argument(
        "--learned",
        nargs="*",
        choices=FURTHER,
        default=[],
        help="Name what else the model has learned; grec is read from its training settings, keypoints by box must be "
        "named.",
    )


def run(args: argparse.Namespace) -> None:
    """Writes the folder or the file, and prints its size."""
    paths, one_file = args.checkpoints, args.out.suffix in FILES
    onnx = args.format == "onnx"
    if onnx and (one_file or args.dtype not in (None, *ONNX_DTYPES)):
        raise UserError(f"--format onnx: writes a folder, in {', '.join(ONNX_DTYPES)}")
    if args.dtype == "int8" and not onnx:
        raise UserError("--dtype int8: needs --format onnx")
    dtype: torch.dtype = torch.float16 if onnx else getattr(torch, args.dtype or "float16")
    real = [Path(path).resolve() for path in paths]
    if len(set(real)) < len(real):
        raise UserError(f"{max(real, key=real.count)}: is named twice")
    if args.out.exists() and any(args.out.samefile(path) for path in real if path.exists()):
        raise UserError(f"{args.out}: is one of the checkpoints, which would be lost; name another file to write")
    if paths[0].endswith(".ckpt"):
        if not one_file:
            raise UserError(f"{args.out}: a tokenizer alone is no model; name a .ckpt file to write")
        size = export_tokenizer(paths, args.out, dtype=dtype)
    else:
        found = [read_checkpoint(checkpoint_file(path), mmap=True) for path in paths]
        if one_file:
            size = export(found, args.out, ema=args.ema, dtype=dtype, learned=args.learned)
            if len(paths) == 1 and not args.ema:  # of a mean or of averaged weights nothing is known
                _copy_calibration(found[0].path, args.out)
        elif onnx:
            given = {name: getattr(args, name) for name in ("tokenizer", "bpe_dir")}
            size = export_onnx(found, args.out, ema=args.ema, dtype=args.dtype or "float32", **given)
        else:
            given = {name: getattr(args, name) for name in ("tokenizer", "bpe_dir", "license", "learned")}
            size = export_folder(found, args.out, ema=args.ema, dtype=dtype if args.dtype else None, **given)
    print(f"{args.out}: {readable(size)}")


def _copy_calibration(checkpoint: Path, out: Path) -> None:
    """The calibration beside the checkpoint, if it belongs to it, beside the small one. Raises UserError."""
    if (calibration := calibration_of(checkpoint)) is not None:
        write_calibration(calibration, out)
        print(f"{calibration_path(out)}: calibration of {checkpoint}")
