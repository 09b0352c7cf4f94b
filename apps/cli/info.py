"""Says what a weights file is, and whether this project can use it.

    refhcm info checkpoints/refhcm.pt
    refhcm info checkpoints/mine                          a model's folder
    refhcm info checkpoints/vqgan/model.ckpt --json

The weights are compared with the network that the file's settings describe. No code in the file is run; a file that
needs some is refused. Exit status 0: it can be used; 1: it cannot; 2: there is no such file.
"""

import argparse
import json
import textwrap
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ...data.vocabulary import Vocabulary
from ...inference.learned import learned_by
from ...models.refhcm.config import NetworkConfig
from ...models.refhcm.loading import check_symbols, fit_weights, network_without_values, vocabulary_rows
from ...models.vqgan.tokenizer import load_tokenizer, read_lightning_checkpoint
from ...tasks.settings import settings_of
from ...utils.checkpoints import Checkpoint, check_finite, kinds_of, load_file, read_checkpoint
from ...utils.errors import CheckpointError, UserError, printable, shown
from ...utils.files import no_such_file, readable
from ...utils.model_files import SUFFIX, TOKENIZER, read_tensors, weights_file

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
    """What the file is: `kind`, `loads`, the `problem` if it does not load, and more by kind.

    bpe_dir: the vocabulary that a model will be used with; None: one of as many symbols as the file has.
    yaml: the sizes of a parsing-map tokenizer; None: the .yaml beside it. Raises UserError where there is no file.
    """
    path = weights_file(path)
    if not path.is_file():
        raise UserError(no_such_file(path))
    facts, problem = {"path": str(path), "bytes": path.stat().st_size}, None
    try:
        for more in _inspect(path, bpe_dir=bpe_dir, yaml=yaml or path.with_suffix(".yaml")):
            facts |= more
    except UserError as error:
        problem = str(error).removeprefix(str(path)).removeprefix(":").strip()
    return facts | {"loads": problem is None} | ({"problem": problem} if problem else {})


def _inspect(path: Path, *, bpe_dir: Path | None, yaml: Path) -> Iterator[Facts]:
    """Facts about the file, one group after the other, until an error says why it cannot be used."""
    if path.suffix == SUFFIX:
        yield from _safetensors(path, bpe_dir, yaml)
        return
    yield {"kind": "something else"}
    with path.open("rb") as file:
        if file.read(1) != b"\x80" and not zipfile.is_zipfile(path):
            raise CheckpointError("was not written by torch.save")
    try:
        content = _read(path)
    except CheckpointError as error:
        yield {"kind": "refused" if ": refused" in str(error) else "unreadable"}
        raise
    if not isinstance(content, dict):
        raise CheckpointError(f"holds a {type(content).__name__} instead of named weights")
    if isinstance(content.get("model"), Mapping):
        yield from _network(path, content, bpe_dir)
    elif isinstance(content.get("state_dict"), Mapping):
        yield from _tokenizer(path, content["state_dict"], yaml)
    elif content and all(isinstance(value, Tensor) for value in content.values()):
        yield {"kind": "bare weights"} | _weights(content)
        raise CheckpointError("holds neither `cfg` nor `args`, so the network's sizes are unknown")
    else:
        raise CheckpointError(f"expected `model` or `state_dict`, found {kinds_of(content)}")


def _safetensors(path: Path, bpe_dir: Path | None, yaml: Path) -> Iterator[Facts]:
    """A model's weights beside their config.json, or its tokenizer's beside the .yaml."""
    yield {"kind": "safetensors"}
    weights = read_tensors(path)
    if path.name == TOKENIZER[0]:
        yield from _tokenizer(path, weights, yaml)
        return
    checkpoint = read_checkpoint(path)
    yield {"kind": "model folder"} | _weights(weights)
    yield from _fitting(checkpoint, bpe_dir)


def _read(path: Path) -> Any:
    """The file's content, where possible without reading its weights into memory."""
    try:
        return load_file(path, mmap=True)
    except CheckpointError as error:
        try:
            return read_lightning_checkpoint(path)  # allows the classes that Lightning saves
        except CheckpointError:
            raise error from None


def _network(path: Path, content: Mapping[str, Any], bpe_dir: Path | None) -> Iterator[Facts]:
    """A fairseq checkpoint: the released ones, OFA's, and our own."""
    history = content.get("optimizer_history")
    yield {"kind": "fairseq checkpoint"} | _weights(content["model"])
    yield {
        "optimizer_state": content.get("last_optimizer_state") is not None,
        "updates": _plain(_at(history[-1], "num_updates")) if isinstance(history, list) and history else None,
        "epoch": _plain(_at(content, "extra_state", "train_iterator", "epoch")),
        "averaged_weights": isinstance(ema := _at(content, "extra_state", "ema"), Mapping) and bool(ema),
    }
    yield from _fitting(read_checkpoint(path, mmap=True), bpe_dir)


def _fitting(checkpoint: Checkpoint, bpe_dir: Path | None) -> Iterator[Facts]:
    """Settings, and how the weights fit the network that they describe."""
    where, flags = str(checkpoint.path), checkpoint.flags()
    yield {
        "arch": _plain(flags.get("arch", flags.get("_name"))),
        "task": _plain(flags.get("task")),
        "learned": list(learned_by(checkpoint)),
    }
    rows = vocabulary_rows(checkpoint.weights, where)
    yield {"vocabulary_rows": rows}
    settings = settings_of(checkpoint, argparse.Namespace())
    yield {"num_bins": settings.num_bins, "patch_image_size": settings.patch_image_size}
    config = NetworkConfig.from_args(flags, where=where)
    network = network_without_values(config, rows, weights=checkpoint.weights, where=where)
    _, report = fit_weights(checkpoint.weights, network, where=where, draw=False)
    yield {
        "sizes": {name: getattr(config, name) for name in SIZES},
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "missing": [name for name in report.drawn if name not in report.extended],
        "dropped": report.dropped,
        "extended": report.extended,
    }
    report.check_complete(where)
    check_finite(checkpoint.weights, where=where)
    if bpe_dir is not None:
        known = Vocabulary.load(bpe_dir, num_bins=settings.num_bins, code_dict_size=settings.code_dict_size)
        check_symbols(checkpoint.weights, len(known), where=where)


def _at(content: Any, *names: str) -> Any:
    """A value within values; None where something else is in the way."""
    for name in names:
        content = content.get(name) if isinstance(content, Mapping) else None
    return content


def _plain(value: Any) -> str | int | float | None:
    """A text or a number from the file; of anything else its beginning, as text."""
    value = value.item() if isinstance(value, np.generic) else value
    return value if isinstance(value, str | int | float | None) else shown(value)


def _tokenizer(path: Path, weights: Mapping[str, Any], yaml: Path) -> Iterator[Facts]:
    """A Lightning checkpoint, which this project knows as a parsing-map tokenizer."""
    yield {"kind": "Lightning checkpoint"} | _weights(weights)
    codebook = weights.get("quantize.embedding.weight")
    if not isinstance(codebook, Tensor) or codebook.dim() != 2:
        raise CheckpointError("is not a parsing-map tokenizer: it lacks quantize.embedding.weight")
    yield {"kind": "parsing-map tokenizer", "codes": len(codebook), "code_width": codebook.shape[-1], "yaml": str(yaml)}
    if not yaml.is_file():
        raise CheckpointError(f"its sizes are missing: there is no {yaml}; name the file with --yaml")
    tokenizer = load_tokenizer(yaml, path)
    parameters = sum(parameter.numel() for parameter in tokenizer.parameters())
    yield {"parameters": parameters, "map_size_hw": list(tokenizer.input_size_hw)}


def _weights(named: Mapping[str, Any]) -> Facts:
    """Number and formats of the tensors."""
    tensors = [value for value in named.values() if isinstance(value, Tensor)]
    formats = Counter(str(value.dtype).removeprefix("torch.") for value in tensors if value.is_floating_point())
    return {"weights": len(tensors), "dtype": dict(formats.most_common())}


def as_text(facts: Facts) -> str:
    """The facts for people, one a line."""
    usable = "yes" if facts["loads"] else f"no: {facts['problem']}"
    said = ("path", "kind", "bytes", "loads", "problem")
    rest = {name: value for name, value in facts.items() if value is not None and name not in said}
    words = {name: printable(value) if isinstance(value, str) else json.dumps(value) for name, value in rest.items()}
    lines = [f"  {name.replace('_', ' '):18}{textwrap.shorten(text, 300)}" for name, text in words.items()]
    first = f"{facts['path']}: {facts['kind']}, {readable(facts['bytes'])}"
    return "\n".join([first, f"  {'can be used':18}{usable}", *lines])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("checkpoint", type=Path, help="Describe this weights file or model's folder.")
    parser.add_argument(
        "--bpe-dir",
        type=Path,
        help="Check the model with this vocabulary (default: assume one of as many symbols as it has).",
    )
    parser.add_argument(
        "--yaml", type=Path, help="Take a parsing-map tokenizer's sizes from here (default: the .yaml beside it)."
    )
    parser.add_argument("--json", action="store_true", help="Print JSON.")


def run(args: argparse.Namespace) -> int:
    """Exit status 0 if the file can be used, else 1."""
    facts = describe(args.checkpoint, bpe_dir=args.bpe_dir, yaml=args.yaml)
    print(json.dumps(facts, indent=2, default=str) if args.json else as_text(facts))
    return 0 if facts["loads"] else 1
