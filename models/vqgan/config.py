"""The sizes of a VQGAN, read from its `model.yaml` (docs/tokenizer.md)."""

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from ...utils.errors import CheckpointError
from ...utils.parsing import NUM_CLASSES

GRID_HW = (8, 6)
NUM_CODES = GRID_HW[0] * GRID_HW[1]
_GROUPS = 32  # groups of every GroupNorm; widths must be multiples of it


@dataclass(frozen=True, kw_only=True)
class VQConfig:
    """Sizes of the tokenizer, named as in `model.yaml`; its section `ddconfig` is flattened."""

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
        """Channels of each level, finest first."""
        return tuple(self.ch * multiple for multiple in self.ch_mult)

    @property
    def input_size_hw(self) -> tuple[int, int]:
        """Size of the label map that becomes the 8 x 6 grid."""
        factor = 2 ** (len(self.ch_mult) - 1)
        return GRID_HW[0] * factor, GRID_HW[1] * factor

    def attends(self, level: int) -> bool:
        """Whether a level has attention. As published, `resolution` decides, not the real size of the map."""
        return self.resolution // 2**level in self.attn_resolutions


def read_config(path: str | Path) -> VQConfig:
    """Reads `model.yaml`; unknown keys are ignored. CheckpointError names the file and the key at fault."""
    try:
        document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: is not a YAML file ({' '.join(str(error).split())})") from error
    params = _section(path, document, ("model", "params"))
    ddconfig = _section(path, document, ("model", "params", "ddconfig"))
    values = {}
    for field in fields(VQConfig):
        top = field.name in ("n_labels", "n_embed", "embed_dim")
        section, key = (params, field.name) if top else (ddconfig, f"ddconfig.{field.name}")
        if field.name in section:
            values[field.name] = _checked(path, key, section[field.name])
        elif field.default is MISSING:
            raise CheckpointError(f"{path}: model.params lacks {key}")
    config = VQConfig(**values)
    for problem in _problems(config, params, ddconfig):
        raise CheckpointError(f"{path}: model.params.{problem}")
    return config


def _section(path: str | Path, document: Any, keys: tuple[str, ...]) -> dict[str, Any]:
    for depth, key in enumerate(keys, start=1):
        document = document.get(key) if isinstance(document, dict) else None
        if not isinstance(document, dict):
            raise CheckpointError(f"{path}: lacks the section {'.'.join(keys[:depth])}")
    return document


def _checked(path: str | Path, key: str, value: Any) -> Any:
    name = key.rpartition(".")[2]
    if name == "dropout":
        valid, expected = isinstance(value, int | float) and 0 <= value < 1, "a number in 0..1"
    elif name in ("ch_mult", "attn_resolutions"):
        valid, expected = isinstance(value, list) and all(map(_is_size, value)), "a list of whole numbers above 0"
        valid = valid and bool(value or name == "attn_resolutions")
    else:
        valid, expected = _is_size(value), "a whole number above 0"
    if not valid:
        raise CheckpointError(f"{path}: model.params.{key} is {value!r}, expected {expected}")
    return tuple(value) if isinstance(value, list) else value


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _problems(config: VQConfig, params: dict[str, Any], ddconfig: dict[str, Any]) -> Iterator[str]:
    """What this tokenizer cannot be: a variant of the VQGAN, or sizes that do not match."""
    if ddconfig.get("double_z", False):
        yield "ddconfig.double_z is set, expected false: a VQGAN has no variance"
    if params.get("remap") is not None:
        yield f"remap is {params['remap']!r}, expected none: codes are not renamed"
    if config.n_labels != NUM_CLASSES:
        yield f"n_labels is {config.n_labels}, expected CIHP's {NUM_CLASSES}"
    for key in ("in_channels", "out_ch"):
        if (channels := getattr(config, key)) != config.n_labels:
            yield f"ddconfig.{key} is {channels}, expected n_labels = {config.n_labels} (one channel per class)"
    if any(width % _GROUPS for width in (config.ch, *config.widths)):
        yield f"ddconfig.ch times ch_mult gives widths {config.widths}, expected multiples of {_GROUPS} (GroupNorm)"
