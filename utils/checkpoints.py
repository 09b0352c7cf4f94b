"""Reading weights files: never unpickles more than tensors, plain values and a short allow-list (docs/network.md)."""

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
from .files import replacing

# fairseq writes its flags as a Namespace; the rest are plain containers.
ALLOWED_GLOBALS = [argparse.Namespace, OrderedDict, defaultdict, Counter, dict, list, set, tuple]


@dataclass(frozen=True)
class Checkpoint:
    """A fairseq checkpoint: the model's flags, its weights by name, and everything else as read."""

    path: Path
    args: argparse.Namespace | Mapping[str, Any]
    weights: dict[str, Tensor]
    rest: dict[str, Any]

    def flags(self) -> dict[str, Any]:
        """The flags that the model was trained with."""
        return dict(self.args) if isinstance(self.args, Mapping) else dict(vars(self.args))

    def ema_weights(self) -> dict[str, Tensor]:
        """The averaged weights. Raises CheckpointError when training did not keep any."""
        extra = self.rest.get("extra_state") or {}
        if not extra.get("ema"):
            raise CheckpointError(f"{self.path}: holds no averaged weights; train with --store-ema")
        return extra["ema"] | (extra.get("ema_fp32_params") or {})  # these are not rounded to the network's format


def load_file(path: str | Path, *, mmap: bool = False) -> Any:
    """What `torch.save` wrote to `path`, on the CPU.

    Raises CheckpointError when it is missing, damaged, or would run code that is not on the allow-list.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        with torch.serialization.safe_globals(ALLOWED_GLOBALS):
            mmap = mmap and zipfile.is_zipfile(path)  # torch's old format can not be mapped
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        first = next(
            (line for line in str(error).splitlines() if "GLOBAL" in line or "nsupported" in line),
            str(error).splitlines()[0],
        )
        raise CheckpointError(
            f"{path}: refused, for it holds more than weights and plain values: {first.strip()}"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, IndexError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: not a readable weights file ({reason})") from error


def read_checkpoint(path: str | Path, *, mmap: bool = False) -> Checkpoint:
    """A fairseq checkpoint, `{"cfg" or "args", "model", ...}`: the released ones, OFA's, and our own."""
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
    """A weights file, whole or not at all; its size in bytes. UserError where there is no room for it, say."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            torch.save(content, part)
    except (OSError, RuntimeError) as error:  # torch's writer: RuntimeError
        raise UserError(f"{path}: can not be written ({str(error).splitlines()[0]})") from error
    return path.stat().st_size
