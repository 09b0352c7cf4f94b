"""The sizes of a VQGAN, read from its `model.yaml` (docs/tokenizer.md)."""

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from ...utils.errors import CheckpointError, UserError, reason_of, shown
from ...utils.files import check_small
from ...utils.parsing import NUM_CLASSES

GRID_HW = (8, 6)
NUM_CODES = GRID_HW[0] * GRID_HW[1]
_GROUPS = 32  # groups of every GroupNorm; widths must be multiples of it
_LARGEST = 2**16  # of every size; few are near it
_LARGEST_OF = {"num_res_blocks": 32}
_LEVELS = 8
_YAML_BYTES, _YAML_VALUES, _YAML_DEPTH = 2**16, 5000, 30  # a real file has 1,000 bytes, 50 values and 4 levels
# Switches of taming-transformers' networks that this one does not have, and keys of training that it does not read.
_FIXED = {"double_z": False, "resamp_with_conv": True, "give_pre_end": False}


@dataclass(frozen=True, kw_only=True)
class VQConfig:
    """Sizes of the tokenizer, named as in `model.yaml`; its sections `ddconfig` and `lossconfig.params` are flattened.

    unused: what the file says about training that is not done here.
    """

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
    codebook_weight: float = 1.0
    unused: tuple[str, ...] = ()

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
    document = _document(path)
    params = _section(path, document, ("model", "params"))
    ddconfig = _section(path, document, ("model", "params", "ddconfig"))
    loss = _loss(path, params)
    values: dict[str, Any] = {"unused": tuple(_unused(params, loss))}
    for field in fields(VQConfig):
        section, key = ddconfig, f"ddconfig.{field.name}"
        if field.name == "unused":
            continue
        if field.name in ("n_labels", "n_embed", "embed_dim"):
            section, key = params, field.name
        elif field.name == "codebook_weight":
            section, key = loss, f"lossconfig.params.{field.name}"
        if field.name in section:
            values[field.name] = _checked(path, key, section[field.name])
        elif field.default is MISSING:
            raise CheckpointError(f"{path}: model.params lacks {key}")
    config = VQConfig(**values)
    for problem in _problems(config, params, ddconfig):
        raise CheckpointError(f"{path}: model.params.{problem}")
    return config


def _document(path: str | Path) -> Any:
    """The file's content. CheckpointError unless it is a small YAML file, however often it repeats a part."""
    try:
        check_small(Path(path), largest=_YAML_BYTES)
        text = Path(path).read_text(encoding="utf-8")
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _YAML_DEPTH:
                raise CheckpointError(f"{path}: is nested too deeply for a model.yaml")
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        if tree is not None and _size(tree, {}) > _YAML_VALUES:
            raise CheckpointError(f"{path}: has more than {_YAML_VALUES} values; a model.yaml has about 50")
        return yaml.safe_load(text)
    except UserError as error:
        raise CheckpointError(str(error)) from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except Exception as error:  # PyYAML's readers of dates and numbers raise anything
        reason = reason_of(ValueError(" ".join(str(error).split())))
        raise CheckpointError(f"{path}: is not a YAML file ({reason})") from error


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """Values of a tree with every alias written out; an alias within itself counts as too many."""
    if id(node) not in known:
        known[id(node)] = _YAML_VALUES + 1
        parts = [] if isinstance(node, yaml.ScalarNode) else node.value
        children = [child for part in parts for child in (part if isinstance(part, tuple) else (part,))]
        known[id(node)] = 1 + sum(_size(child, known) for child in children)
    return known[id(node)]


def _loss(path: str | Path, params: dict[str, Any]) -> dict[str, Any]:
    """`lossconfig.params`, or nothing."""
    loss = params.get("lossconfig")
    loss = loss.get("params") if isinstance(loss, dict) else loss
    if loss is not None and not isinstance(loss, dict):
        raise CheckpointError(
            f"{path}: model.params.lossconfig is {shown(loss)}, expected the sections target and params"
        )
    return loss or {}


def _unused(params: dict[str, Any], loss: dict[str, Any]) -> Iterator[str]:
    yield from (f"lossconfig.params: {shown(name)}" for name in loss if name != "codebook_weight")
    if params.get("ckpt_path") is not None:
        yield "ckpt_path"


def _section(path: str | Path, document: Any, keys: tuple[str, ...]) -> dict[str, Any]:
    for depth, key in enumerate(keys, start=1):
        document = document.get(key) if isinstance(document, dict) else None
        if not isinstance(document, dict):
            raise CheckpointError(f"{path}: lacks the section {'.'.join(keys[:depth])}")
    return document


def _checked(path: str | Path, key: str, value: Any) -> Any:
    name = key.rpartition(".")[2]
    largest = _LARGEST_OF.get(name, _LARGEST)
    if name in ("dropout", "codebook_weight"):
        limit = 1 if name == "dropout" else 1000
        number = isinstance(value, int | float) and not isinstance(value, bool)
        valid, expected = number and 0 <= value < limit, f"a number in 0..{limit}"
    elif name in ("ch_mult", "attn_resolutions"):
        valid = isinstance(value, list) and all(_is_size(one, largest) for one in value)
        valid = valid and (name == "attn_resolutions" or 1 <= len(value) <= _LEVELS)
        expected = f"a list of whole numbers from 1 to {largest}"
        expected += f", at most {_LEVELS}" * (name == "ch_mult")
    else:
        valid, expected = _is_size(value, largest), f"a whole number from 1 to {largest}"
    if not valid:
        raise CheckpointError(f"{path}: model.params.{key} is {shown(value)}, expected {expected}")
    return tuple(value) if isinstance(value, list) else value


def _is_size(value: Any, largest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= largest


def _problems(config: VQConfig, params: dict[str, Any], ddconfig: dict[str, Any]) -> Iterator[str]:
    """What this tokenizer cannot be: a variant of the VQGAN, or sizes that do not match."""
    for name, value in _FIXED.items():
        if ddconfig.get(name, value) != value:
            yield f"ddconfig.{name} is {shown(ddconfig[name])}, expected {str(value).lower()}: this is another network"
    if params.get("remap") is not None:
        yield f"remap is {shown(params['remap'])}, expected none: codes are not renamed"
    if config.n_labels != NUM_CLASSES:
        yield f"n_labels is {config.n_labels}, expected CIHP's {NUM_CLASSES}"
    for key in ("in_channels", "out_ch"):
        if (channels := getattr(config, key)) != config.n_labels:
            yield f"ddconfig.{key} is {channels}, expected n_labels = {config.n_labels} (one channel per class)"
    if any(width % _GROUPS or width > _LARGEST for width in (config.ch, *config.widths)):
        expected = f"multiples of {_GROUPS} (GroupNorm) up to {_LARGEST}"
        yield f"ddconfig.ch times ch_mult gives widths {shown(config.widths)}, expected {expected}"
