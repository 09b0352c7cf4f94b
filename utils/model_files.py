"""The files of a model's folder: weights in safetensors, settings in config.json (docs/models.md)."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import CheckpointError, UserError, reason_of, shown
from .files import check_small, no_such_file
from .memory import page_out

if TYPE_CHECKING:
    from torch import Tensor

CONFIG, WEIGHTS, OTHER_WEIGHTS = "config.json", "model.safetensors", "model.pt"
TOKENIZER = ("tokenizer.safetensors", "tokenizer.yaml")
SUFFIX = ".safetensors"
MODEL_TYPE = "refhcm"
LARGEST_CONFIG = 2**18  # bytes; ours have 3,000
CHECKSUM = "crc32"  # in the file's metadata: of all names and bytes, in the order of the names


def weights_file(path: Path) -> Path:
    """The file of weights that a path means: of a folder its model.safetensors, or its model.pt; else the path.

    CheckpointError for a folder without either.
    """
    if not path.is_dir():
        return path
    found = next((file for name in (WEIGHTS, OTHER_WEIGHTS) if (file := path / name).is_file()), None)
    if found is None:
        half = (path / CONFIG).is_file()
        why = "its download is not complete: run the same again, online" if half else "is no model's folder"
        raise CheckpointError(f"{path}: holds no {WEIGHTS}: {why}")
    return found


def write_tensors(weights: Mapping[str, Tensor], path: Path) -> None:
    """Writes weights as safetensors, with a checksum. Each must own its numbers, which are contiguous."""
    from safetensors.torch import save_file  # here: --help needs none of it

    path.touch()
    mode = path.stat().st_mode  # that the user's mask gives; safetensors lets nobody else read
    save_file(dict(weights), path, metadata={CHECKSUM: checksum(weights)})  # one entry: of more, the order changes
    path.chmod(mode)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The weights of a safetensors file, by name, mapped from it. They may lie at odd addresses (`aligned`).

    CheckpointError if it is missing, damaged, cut off, or does not fit the checksum that it may hold.
    """
    from safetensors import safe_open

    if not path.is_file():
        raise CheckpointError(no_such_file(path))
    try:
        with safe_open(path, "pt") as file:  # it compares all shapes and places with the file's length
            said = (file.metadata() or {}).get(CHECKSUM)
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  file is no dict
    except Exception as error:  # its own class, and what torch raises for formats that it does not have
        raise CheckpointError(
            f"{path}: is damaged or cut off, or no safetensors file ({reason_of(error)}): copy or download it again"
        ) from error
    if said is not None and said != checksum(weights):
        raise CheckpointError(f"{path}: is damaged: it does not fit its checksum: copy or download it again")
    return weights


def checksum(weights: Mapping[str, Tensor]) -> str:
    """Of all names and bytes, in the order of the names."""
    from torch import uint8

    found = 0
    for name in sorted(weights):
        found = zlib.crc32(name.encode(), found)
        if weights[name].numel():
            found = zlib.crc32(weights[name].detach().reshape(-1).view(uint8).numpy().data, found)
            page_out(weights[name])
    return f"{found:08x}"


def write_settings(settings: Mapping[str, Any], path: Path) -> None:
    """Writes config.json. CheckpointError for a setting that is no plain value."""
    try:
        text = json.dumps({"model_type": MODEL_TYPE, "architectures": ["RefHCM"]} | dict(settings), indent=2)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: settings cannot be written ({reason_of(error)})") from error
    path.write_text(text + "\n", encoding="utf-8")


def read_settings(path: Path) -> dict[str, Any]:
    """The settings of a config.json. CheckpointError unless it is of this kind of model."""
    try:
        check_small(path, largest=LARGEST_CONFIG)
        content = json.loads(path.read_text(encoding="utf-8"))
    except UserError as error:
        raise CheckpointError(str(error)) from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: is not a JSON file ({reason_of(error)})") from error
    kind = content.get("model_type") if isinstance(content, dict) else None
    if kind != MODEL_TYPE:
        raise CheckpointError(f"{path}: is of another kind of model: model_type is {shown(kind)}, not {MODEL_TYPE}")
    return {name: value for name, value in content.items() if name not in ("model_type", "architectures")}
