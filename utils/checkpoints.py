"""Weights files. Reading unpickles nothing but tensors, plain values and a short allow-list (docs/network.md)."""

import argparse
import io
import math
import pickle
import re
import warnings
import zipfile
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import CheckpointError, UserError, reason_of, shown
from .files import atomic_write, no_such_file
from .model_files import CONFIG, SUFFIX, read_settings, read_tensors, weights_file
from .numpy_values import NUMPY_VALUES

# fairseq writes its flags as a Namespace; the rest are plain containers, and numpy's values.
CONTAINERS: list[Any] = [argparse.Namespace, OrderedDict, defaultdict, Counter, dict, list, set, tuple]
ALLOWED_GLOBALS = [*CONTAINERS, *NUMPY_VALUES]
ZIP = b"PK\x03\x04"  # how torch knows its zip format
LEAST_PICKLE, PICKLE_SHARE = 2**20, 16  # bytes of names that any file may hold, and the share that a larger one may
WRAPPERS = re.compile(r"^(?:(?:module|_orig_mod)\.)+|(?<=\.)_orig_mod\.")  # of DataParallel, and of torch.compile


@dataclass(frozen=True)
class Checkpoint:
    """A fairseq checkpoint: the model's flags, its weights by name, and everything else unchanged."""

    path: Path
    args: argparse.Namespace | Mapping[str, Any]
    weights: dict[str, Tensor]
    rest: dict[str, Any]

    def flags(self) -> dict[str, Any]:
        """The flags that the model was trained with; numpy's numbers among them as Python's."""
        flags = self.args if isinstance(self.args, Mapping) else vars(self.args)
        return {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in flags.items()
            if isinstance(name, str)
        }

    def check_vocabulary(self, digest: Callable[[], str]) -> None:
        """CheckpointError if the file names another vocabulary than `digest()`, as files of training and export do."""
        if (own := self.rest.get("vocabulary")) is not None and own != digest():
            hint = "give the one that it was trained with (--bpe-dir, --num-bins, --code-dict-size)"
            raise CheckpointError(f"{self.path}: was trained with another vocabulary: {hint}")

    def ema_weights(self) -> dict[str, Tensor]:
        """The averaged weights. Raises CheckpointError if training kept none."""
        extra = self.rest.get("extra_state")
        ema, precise = (extra.get(name) if isinstance(extra, Mapping) else None for name in ("ema", "ema_fp32_params"))
        if not (isinstance(ema, Mapping) and ema):
            raise CheckpointError(f"{self.path}: holds no averaged weights; train with --store-ema")
        precise = precise if isinstance(precise, Mapping) else {}  # not rounded to half precision
        return named_weights({**ema, **precise}, where=str(self.path))


def load_file(path: str | Path, *, mmap: bool = False) -> Any:
    """What `torch.save` wrote to `path`, on the CPU.

    Raises CheckpointError if it is missing, damaged, or holds objects that are not on the allow-list.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(no_such_file(path))
    try:
        with path.open("rb") as file:
            zipped = file.read(len(ZIP)) == ZIP
        if zipped:
            _check_records(path)
            _check_sums(path, path.stat().st_mtime_ns)
        with warnings.catch_warnings(), torch.serialization.safe_globals(ALLOWED_GLOBALS):
            warnings.simplefilter("ignore")  # torch's, about odd files that it refuses next
            if zipped:
                return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
            with _OldFile(io.FileIO(path)) as old:
                return torch.load(old, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        lines = str(error).splitlines()
        reason = next((line for line in lines if "GLOBAL" in line or "nsupported" in line), lines[0])
        reason = reason.strip()[:200]
        raise CheckpointError(f"{path}: refused: it holds more than weights and plain values: {reason}") from error
    except Exception as error:  # a damaged file calls torch's builders with any arguments, and they raise anything
        raise CheckpointError(f"{path}: not a readable weights file ({reason_of(error)})") from error


class _OldFile(io.BufferedReader):
    """A file of torch's old format. Its names are what Python reads of it: torch reads the numbers by itself."""

    def __init__(self, raw: io.FileIO) -> None:
        super().__init__(raw)
        self._left = _largest_pickle(self.seek(0, io.SEEK_END))
        self.seek(0)

    def read(self, size: int | None = -1, /) -> bytes:
        return self._counted(super().read(self._left + 1 if size is None or size < 0 else min(size, self._left + 1)))

    def readline(self, size: int | None = -1, /) -> bytes:
        return self._counted(super().readline(self._left + 1))

    def _counted(self, content: bytes) -> bytes:
        self._left -= len(content)
        if self._left < 0:
            raise CheckpointError(f"{self.name}: is damaged: its names are longer than they can be")
        return content


def _largest_pickle(size: int) -> int:
    return max(LEAST_PICKLE, size // PICKLE_SHARE)


def _check_records(path: Path) -> None:
    """CheckpointError for a zip file that would become larger than it is, or mostly is no weights."""
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        raise CheckpointError(f"{path}: is a compressed zip file; torch.save compresses nothing: unpack it")
    names = sum(record.file_size for record in records if "/data/" not in record.filename)  # read as they are
    if sum(record.file_size for record in records) > size or names > _largest_pickle(size):
        raise CheckpointError(f"{path}: is damaged: its records are larger than they can be")


@lru_cache(maxsize=8)  # a training reads its checkpoint several times
def _check_sums(path: Path, mtime_ns: int) -> None:
    """CheckpointError for flipped bits, which torch would take for weights: torch.save writes a sum of each record."""
    with zipfile.ZipFile(path) as archive:
        if (record := archive.testzip()) is not None:
            raise CheckpointError(f"{path}: is damaged: {record} does not fit its checksum: copy or download it again")


def read_checkpoint(path: str | Path, *, mmap: bool = False) -> Checkpoint:
    """A fairseq checkpoint, `{"cfg" or "args", "model", ...}`: the published ones, OFA's, and our own; or a model's
    folder, or its model.safetensors, which is always mapped.
    """
    path = weights_file(Path(path))
    if path.suffix == SUFFIX:
        settings = read_settings(path.with_name(CONFIG))
        rest = {name: settings.pop(name) for name in ("vocabulary",) if name in settings}
        return Checkpoint(path, settings, named_weights(read_tensors(path), where=str(path)), rest)
    content = load_file(path, mmap=mmap)
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise CheckpointError(
            f"{path}: not a fairseq checkpoint: expected `model` and `cfg` or `args`, found {kinds_of(content)}"
        )
    cfg = content.get("cfg")
    args = cfg.get("model") if isinstance(cfg, Mapping) else None
    if args is None or (isinstance(args, Mapping) and not args):
        args = content.get("args")
    if args is None:
        raise CheckpointError(f"{path}: holds no `cfg.model` and no `args`, so the network's sizes are unknown")
    if not isinstance(args, Mapping | argparse.Namespace):
        raise CheckpointError(f"{path}: its `cfg.model` or `args` is {shown(args)}, expected named settings")
    weights = named_weights(content["model"], where=str(path))
    return Checkpoint(path, args, weights, {k: v for k, v in content.items() if k not in ("model", "args")})


def kinds_of(content: Any) -> str:
    """What a file holds instead of what was expected: its first names, or its type."""
    if not isinstance(content, dict):
        return type(content).__name__
    return ", ".join(shown(name).strip("'") for name in list(content)[:6]) or "nothing"


def named_weights(found: Mapping[Any, Any], *, where: str) -> dict[str, Tensor]:
    """The tensors of a state dict by name, without the prefixes of wrappers around the network.

    CheckpointError for a tensor without a name, twice the same name, and tensors that are not plain numbers in full.
    """
    weights: dict[str, Tensor] = {}
    for key, value in found.items():
        if not isinstance(value, Tensor):
            continue
        if not isinstance(key, str):
            raise CheckpointError(f"{where}: weight {shown(key)} needs a name")
        name = WRAPPERS.sub("", key)
        if name in weights:
            raise CheckpointError(f"{where}: weight {shown(name)} comes twice")
        if not _is_plain(value):
            kind = f"{value.dtype}, {value.layout}".replace("torch.", "")
            raise CheckpointError(f"{where}: weight {shown(key)} ({kind}) is not stored as plain numbers")
        weights[name] = value
    return weights


def _is_plain(value: Tensor) -> bool:
    if value.layout is not torch.strided or value.device.type != "cpu" or value.is_quantized or value.is_complex():
        return False
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()  # else a few numbers, repeated


def check_finite(weights: Mapping[str, Tensor], *, where: str) -> None:
    """CheckpointError if a weight is NaN or infinite: every answer would be empty."""
    for name, value in weights.items():
        if value.is_floating_point() and value.numel():
            numbers = value.float() if value.element_size() == 1 else value
            edges = [edge.item() for edge in numbers.aminmax()]  # NaN if any is; isfinite() would take much memory
            if not all(map(math.isfinite, edges)):
                raise CheckpointError(f"{where}: {name} is not finite in {str(value.dtype).removeprefix('torch.')}")


def save_file(content: dict[str, Any], path: Path) -> int:
    """Writes a weights file atomically; returns its size in bytes. Raises UserError if that fails: a full disk, say."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            torch.save(content, part)
    except (OSError, RuntimeError) as error:  # torch's writer: RuntimeError
        raise UserError(f"{path}: cannot be written ({str(error).splitlines()[0]})") from error
    return path.stat().st_size
