"""`refhcm info`: what a weights file is, and whether this project can use it.

It really tries: names and shapes of the weights against the network that the file's settings describe. No code of the
file is run; one that needs it is refused. Exit status 0: can be used; 1: can not; 2: no such file.
"""

import argparse
import json
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...data.vocabulary import Vocabulary
from ...models.refhcm import Network, NetworkConfig
from ...models.refhcm.loading import EMBEDDINGS, fit_weights
from ...models.vqgan import load_tokenizer
from ...models.vqgan.tokenizer import read_lightning_checkpoint
from ...tasks.settings import TaskSettings, settings_of
from ...utils.checkpoints import Checkpoint, load_file, read_checkpoint
from ...utils.errors import CheckpointError, UserError
from ...utils.files import readable

SIZES = (
    "encoder_embed_dim",
    "encoder_ffn_embed_dim",
    "encoder_layers",
    "decoder_layers",
    "encoder_attention_heads",
    "resnet_type",
)
Facts = dict[str, Any]


def describe(path: Path, *, bpe_dir: Path | None = None, yaml: Path | None = None) -> Facts:
    """What the file is: `kind`, `loads`, `problem` when it does not, and what there is to say of its kind.

    bpe_dir: vocabulary that a model is to be used with; None for one of as many symbols as the file has rows.
    yaml: the sizes of a parsing-map tokenizer; None for the .yaml beside it.
    """
    if not path.is_file():
        raise UserError(f"{path}: {'is a folder, not a file' if path.is_dir() else 'no such file'}")
    about = {"path": str(path), "bytes": path.stat().st_size}
    header = safetensors_header(path)
    if header is not None:
        return about | _safetensors(header)
    if not looks_saved(path):
        return about | _kind("something else", "it is no zip file and no pickle, so torch.save did not write it")
    try:
        content = _read(path)
    except CheckpointError as error:
        kind = "refused" if ": refused" in str(error) else "unreadable"
        return about | _kind(kind, str(error).removeprefix(f"{path}: "))
    if not isinstance(content, dict):
        return about | _kind("something else", f"it holds a {type(content).__name__}, not weights by name")
    if isinstance(content.get("model"), Mapping):
        return about | _fairseq(path, content, bpe_dir=bpe_dir)
    if isinstance(content.get("state_dict"), Mapping):
        return about | _tokenizer(path, content["state_dict"], yaml=yaml or path.with_suffix(".yaml"))
    if content and all(isinstance(value, Tensor) for value in content.values()):
        return about | _kind("bare weights", "without `cfg` or `args` the network's sizes are unknown") | _of(content)
    names = ", ".join(map(str, list(content)[:8])) or "nothing"
    return about | _kind("something else", f"expected `model` or `state_dict`, found {names}")


def _read(path: Path) -> Any:
    """The file's content, without bringing its weights into memory where its format allows that."""
    try:
        return load_file(path, mmap=zipfile.is_zipfile(path))
    except CheckpointError as error:
        try:
            return read_lightning_checkpoint(path)  # knows the classes that Lightning leaves in a file
        except CheckpointError:
            raise error from None


def _kind(kind: str, problem: str | None = None) -> Facts:
    return {"kind": kind, "loads": problem is None} | ({} if problem is None else {"problem": problem})


def _of(weights: Mapping[str, Any]) -> Facts:
    """Number and format of named tensors."""
    tensors = [value for value in weights.values() if isinstance(value, Tensor)]
    formats = Counter(str(tensor.dtype).removeprefix("torch.") for tensor in tensors if tensor.is_floating_point())
    return {"weights": len(tensors), "dtype": dict(formats.most_common())}


def _fairseq(path: Path, content: Mapping[str, Any], *, bpe_dir: Path | None) -> Facts:
    """A fairseq checkpoint: the released ones, OFA's, and our own."""
    facts = {"optimizer_state": bool(content.get("last_optimizer_state")), **_progress(content)}
    kind = "fairseq checkpoint"
    try:
        checkpoint = read_checkpoint(path, mmap=zipfile.is_zipfile(path))
    except CheckpointError as error:
        return _kind(kind, str(error).removeprefix(f"{path}: ")) | _of(content["model"]) | facts
    flags = checkpoint.flags()
    named = {"arch": flags.get("arch") or flags.get("_name"), "task": flags.get("task")}
    try:
        settings = settings_of(checkpoint, argparse.Namespace())
        checked = _check(checkpoint, settings, bpe_dir)
        problem = None
    except (UserError, TypeError, ValueError, KeyError) as error:  # the last three: flags of no sensible type
        settings, checked, problem = TaskSettings(), {}, str(error).removeprefix(f"{path}: ")
    rows = {"vocabulary_rows": _rows(checkpoint)}
    asked = {name: flags.get(name, getattr(settings, name)) for name in ("num_bins", "patch_image_size")}
    return _kind(kind, problem) | named | checked | rows | asked | _of(checkpoint.weights) | facts


def _progress(content: Mapping[str, Any]) -> Facts:
    """How far the training had come, as far as the file says."""
    history, state = content.get("optimizer_history") or [{}], content.get("extra_state") or {}
    iterator = state.get("train_iterator") or {}
    return {
        "updates": history[-1].get("num_updates"),
        "epoch": iterator.get("epoch"),
        "averaged_weights": bool(state.get("ema")),
    }


def _rows(checkpoint: Checkpoint) -> int | None:
    """Symbols in the file's embedding."""
    return next((len(checkpoint.weights[name]) for name in EMBEDDINGS if name in checkpoint.weights), None)


def _check(checkpoint: Checkpoint, settings: TaskSettings, bpe_dir: Path | None) -> Facts:
    """Fits the weights into the network, of which no number is made. CheckpointError says what does not fit."""
    where = str(checkpoint.path)
    rows = _rows(checkpoint)
    if bpe_dir is not None:
        sizes = {"num_bins": settings.num_bins, "code_dict_size": settings.code_dict_size}
        rows = len(Vocabulary.load(bpe_dir, **sizes))
    if rows is None:
        raise CheckpointError(f"{where}: holds no embedding of symbols, such as {EMBEDDINGS[0]}")
    config = NetworkConfig.from_args(checkpoint.flags(), where=where)
    with torch.device("meta"):
        network = Network(config, rows)
    _, report = fit_weights(checkpoint.weights, network, where=where)
    return {
        "sizes": {name: getattr(config, name) for name in SIZES},
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        # Batch norm's counters start at 0 where a file lacks them, and nothing depends on them.
        "missing": [name for name in report.missing if not name.endswith("num_batches_tracked")],
        "dropped": report.dropped,
        "extended": report.extended,
    }


def _tokenizer(path: Path, weights: Mapping[str, Any], *, yaml: Path) -> Facts:
    """A Lightning checkpoint, which for this project is a parsing-map tokenizer."""
    codebook = weights.get("quantize.embedding.weight")
    if not isinstance(codebook, Tensor):
        return _kind("Lightning checkpoint", "no parsing-map tokenizer: lacks quantize.embedding.weight") | _of(weights)
    facts = {"codes": codebook.shape[0], "code_width": codebook.shape[-1], "yaml": str(yaml), **_of(weights)}
    kind = "parsing-map tokenizer"
    if not yaml.is_file():
        return _kind(kind, f"needs its sizes: there is no {yaml}; name it with --yaml") | facts
    try:
        tokenizer = load_tokenizer(yaml, path)
    except CheckpointError as error:
        return _kind(kind, str(error).removeprefix(f"{path} ")) | facts
    parameters = sum(parameter.numel() for parameter in tokenizer.parameters())
    return _kind(kind) | facts | {"parameters": parameters, "map_size_hw": list(tokenizer.input_size_hw)}


def looks_saved(path: Path) -> bool:
    """Whether the file begins as those of `torch.save`, in its present or its old format."""
    with open(path, "rb") as file:
        return file.read(1) == b"\x80" or zipfile.is_zipfile(path)


def safetensors_header(path: Path) -> dict[str, Any] | None:
    """The names, formats and shapes at the head of a safetensors file; None for any other file."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if not 2 <= size <= min(path.stat().st_size - 8, 100_000_000):
            return None
        try:
            header = json.loads(file.read(size))
        except ValueError:
            return None
    return header if isinstance(header, dict) else None


def _safetensors(header: Mapping[str, Any]) -> Facts:
    tensors = [value for name, value in header.items() if name != "__metadata__" and isinstance(value, dict)]
    formats = Counter(str(tensor.get("dtype")) for tensor in tensors)
    problem = "this project reads .pt checkpoints, whose settings are in the file"
    facts = {"weights": len(tensors), "dtype": dict(formats.most_common()), "metadata": header.get("__metadata__", {})}
    return _kind("safetensors", problem) | facts


def as_text(facts: Facts) -> str:
    """The facts to read, one a line."""
    lines = [f"{facts['path']}: {facts['kind']}, {readable(facts['bytes'])}"]
    usable = "yes" if facts["loads"] else f"no: {facts['problem']}"
    if facts.get("missing"):
        usable += f", but {len(facts['missing'])} weights are missing and keep random values"
    lines.append(_line("can be used", usable))
    hidden = ("path", "kind", "bytes", "loads", "problem")
    lines += [_line(name.replace("_", " "), _value(value)) for name, value in facts.items() if name not in hidden]
    return "\n".join(lines)


def _line(name: str, value: str) -> str:
    return f"  {name:18}{value}"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {item}" for name, item in value.items()) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and value >= 1_000_000:
        return f"{value:,}"
    return _names(value) if isinstance(value, list) else "unknown" if value is None else str(value)


def _names(names: Iterable[Any]) -> str:
    names = list(map(str, names))
    return f"{', '.join(names[:8])}{f' and {len(names) - 8} more' if len(names) > 8 else ''}" if names else "none"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("checkpoint", type=Path, help="file to look at")
    parser.add_argument("--bpe-dir", type=Path, help="vocabulary to use it with (default: as many symbols as it has)")
    parser.add_argument("--yaml", type=Path, help="sizes of a parsing-map tokenizer (default: the .yaml beside it)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Exit status: whether the file can be used."""
    facts = describe(args.checkpoint, bpe_dir=args.bpe_dir, yaml=args.yaml)
    print(json.dumps(facts, indent=2, default=str) if args.json else as_text(facts))
    return 0 if facts["loads"] else 1
