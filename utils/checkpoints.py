"""Weights files. Reading unpickles nothing but tensors, plain values and a short allow-list (docs/network.md)."""

import argparse
import pickle
import zipfile
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import CheckpointError, UserError
from .files import atomic_write

# fairseq writes its flags as a Namespace; the rest are plain containers.
ALLOWED_GLOBALS: list[Any] = [argparse.Namespace, OrderedDict, defaultdict, Counter, dict, list, set, tuple]


@dataclass(frozen=True)
class Checkpoint:
    """A fairseq checkpoint: the model's flags, its weights by name, and everything else unchanged."""

    path: Path
    args: argparse.Namespace | Mapping[str, Any]
    weights: dict[str, Tensor]
    rest: dict[str, Any]

    def flags(self) -> dict[str, Any]:
        """The flags that the model was trained with."""
        return dict(self.args) if isinstance(self.args, Mapping) else dict(vars(self.args))

    def ema_weights(self) -> dict[str, Tensor]:
        """The averaged weights. Raises CheckpointError if training kept none."""
        extra = self.rest.get("extra_state") or {}
        if not extra.get("ema"):
            raise CheckpointError(f"{self.path}: holds no averaged weights; train with --store-ema")
        return extra["ema"] | (extra.get("ema_fp32_params") or {})  # not rounded to half precision


def load_file(path: str | Path, *, mmap: bool = False) -> Any:
    """What `torch.save` wrote to `path`, on the CPU.

    Raises CheckpointError if it is missing, damaged, or holds objects that are not on the allow-list.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        with torch.serialization.safe_globals(ALLOWED_GLOBALS):
            mmap = mmap and zipfile.is_zipfile(path)  # torch's old format cannot be mapped
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        lines = str(error).splitlines()
        reason = next((line for line in lines if "GLOBAL" in line or "nsupported" in line), lines[0])
        raise CheckpointError(
            f"{path}: refused: it holds more than weights and plain values: {reason.strip()}"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, IndexError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: not a readable weights file ({reason})") from error


def read_checkpoint(path: str | Path, *, mmap: bool = False) -> Checkpoint:
    """A fairseq checkpoint, `{"cfg" or "args", "model", ...}`: the published ones, OFA's, and our own."""
    path = Path(path)
    content = load_file(path, mmap=mmap)
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        found = ", ".join(map(str, list(content)[:6])) if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(f"{path}: not a fairseq checkpoint: expected `model` and `cfg` or `args`, found {found}")
    cfg = content.get("cfg") or {}
    args = cfg.get("model") if isinstance(cfg, Mapping) else None
    args = args or content.get("args")
    if args is None:
        raise CheckpointError(f"{path}: holds no `cfg.model` and no `args`, so the network's sizes are unknown")
    weights = {name: value for name, value in content["model"].items() if isinstance(value, Tensor)}
    return Checkpoint(path, args, weights, {k: v for k, v in content.items() if k not in ("model", "args")})


def save_file(content: dict[str, Any], path: Path) -> int:
    """Writes a weights file atomically; returns its size in bytes. Raises UserError if that fails: a full disk, say."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            torch.save(content, part)
    except (OSError, RuntimeError) as error:  # torch's writer: RuntimeError
        raise UserError(f"{path}: cannot be written ({str(error).splitlines()[0]})") from error
    return path.stat().st_size
