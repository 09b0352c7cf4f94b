"""The sizes of a VQGAN, read from its `model.yaml` (docs/tokenizer.md)."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from ...utils.errors import CheckpointError
from ...utils.parsing import NUM_CLASSES

GRID_HW = (8, 6)
NUM_CODES = GRID_HW[0] * GRID_HW[1]
_GROUPS = 32  # of every GroupNorm: widths must be multiples of it


@dataclass(frozen=True, kw_only=True)
class VQConfig:
    """Sizes of the tokenizer. The names are those of `model.yaml`, whose `ddconfig` is flattened in."""

    n_labels: int
    n_embed: int
    embed_dim: int
    z_channels: int
    resolution: int
    in_channels: int
    out_ch: int
    ch: int
    ch_mult: tuple[int, ...]
    num_res_blocks: int
    attn_resolutions: tuple[int, ...]
    dropout: float = 0.0

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, the finest first."""
        return tuple(self.ch * multiple for multiple in self.ch_mult)

    @property
    def input_size_hw(self) -> tuple[int, int]:
        """Size of the label map that becomes the 8 x 6 grid."""
        factor = 2 ** (len(self.ch_mult) - 1)
        return GRID_HW[0] * factor, GRID_HW[1] * factor

    def attends(self, level: int) -> bool:
        """Whether a level attends: `resolution` is halved per level, whatever the real size of the map is."""
        return self.resolution // 2**level in self.attn_resolutions


def read_config(path: str | Path) -> VQConfig:
    """Reads `model.yaml`; unknown keys are ignored. CheckpointError names the file and the key at fault."""
    try:
        document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path}: can not be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: is not a YAML file ({' '.join(str(error).split())})") from error
    params = _section(path, document, ("model", "params"))
    ddconfig = _section(path, document, ("model", "params", "ddconfig"))
    values = {}
    for field in fields(VQConfig):
        prefix, section = (
            ("", params) if field.name in ("n_labels", "n_embed", "embed_dim") else ("ddconfig.", ddconfig)
        )
        if field.name in section:
            values[field.name] = _checked(path, prefix + field.name, section[field.name])
        elif field.name != "dropout":
            raise CheckpointError(f"{path}: model.params lacks {prefix}{field.name}")
    _refuse_variants(path, params, ddconfig)
    return _consistent(path, VQConfig(**values))


def _section(path: str | Path, document: Any, keys: tuple[str, ...]) -> dict[str, Any]:
    for depth, key in enumerate(keys, start=1):
        document = document.get(key) if isinstance(document, dict) else None
        if not isinstance(document, dict):
            raise CheckpointError(f"{path}: lacks the section {'.'.join(keys[:depth])}")
    return document


def _checked(path: str | Path, key: str, value: Any) -> Any:
    """A positive whole number, a list of them, or a share (dropout)."""
    name = key.rpartition(".")[2]
    if name == "dropout":
        if isinstance(value, int | float) and 0 <= value < 1:
            return float(value)
        raise CheckpointError(f"{path}: model.params.{key} is {value!r}, expected a number in 0..1")
    if name in ("ch_mult", "attn_resolutions"):
        if isinstance(value, list) and all(_is_size(item) for item in value) and (value or name != "ch_mult"):
            return tuple(value)
        raise CheckpointError(f"{path}: model.params.{key} is {value!r}, expected a list of whole numbers above 0")
    if _is_size(value):
        return value
    raise CheckpointError(f"{path}: model.params.{key} is {value!r}, expected a whole number above 0")


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _refuse_variants(path: str | Path, params: dict[str, Any], ddconfig: dict[str, Any]) -> None:
    if ddconfig.get("double_z", False):
        raise CheckpointError(f"{path}: model.params.ddconfig.double_z is set, expected false: a VQGAN has no variance")
    if params.get("remap") is not None:
        raise CheckpointError(
            f"{path}: model.params.remap is {params['remap']!r}, expected none: codes are not renamed"
        )


def _consistent(path: str | Path, config: VQConfig) -> VQConfig:
    if config.n_labels != NUM_CLASSES:
        raise CheckpointError(f"{path}: model.params.n_labels is {config.n_labels}, expected CIHP's {NUM_CLASSES}")
    for key in ("in_channels", "out_ch"):
        if getattr(config, key) != config.n_labels:
            raise CheckpointError(
                f"{path}: model.params.ddconfig.{key} is {getattr(config, key)}, "
                f"expected n_labels = {config.n_labels} (one channel per class)"
            )
    if any(width % _GROUPS for width in (config.ch, *config.widths)):
        raise CheckpointError(
            f"{path}: model.params.ddconfig.ch times ch_mult gives widths {config.widths}, "
            f"expected multiples of {_GROUPS} (GroupNorm)"
        )
    return config
