"""Loading a checkpoint's weights into a network (docs/network.md, "Loading checkpoints")."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ...utils.checkpoints import Checkpoint, check_finite
from ...utils.errors import CheckpointError, shown
from ...utils.memory import aligned, page_out
from ...utils.meta import without_values
from .config import NetworkConfig
from .network import Network

logger = logging.getLogger(__name__)

COMPUTED = ("version", "token_rp_bucket", "image_rp_bucket", "image_position_idx")  # buffers that the config implies
EMBEDDINGS = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "decoder.output_projection.weight")


@dataclass
class LoadReport:
    """Names of the weights that were not simply copied."""

    missing: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    extended: list[str] = field(default_factory=list)

    @property
    def drawn(self) -> list[str]:
        """Weights that would be random in whole or in part; batch norm's counters start at 0, as they should."""
        return [name for name in self.missing if not name.endswith("num_batches_tracked")] + self.extended

    def check_complete(self, where: str) -> None:
        """CheckpointError if a weight would be random."""
        if self.drawn:
            lacks = f"lacks all or part of {_some(self.drawn)} ({len(self.drawn)} in all)"
            raise CheckpointError(f"{where}: {lacks}: answers would be random; only training can start from it")

    def log(self, where: str) -> None:
        """Logs one line for each kind that occurred."""
        kinds = {"kept initial values of": self.missing, "dropped": self.dropped, "extended": self.extended}
        for what, names in kinds.items():
            if names:
                logger.info("%s: %s %d weights: %s", where, what, len(names), _some(names))


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + " ..." * (len(names) > 8)


def fit_weights(
    weights: Mapping[str, Tensor], network: Network, *, where: str, draw: bool = True
) -> tuple[dict[str, Tensor], LoadReport]:
    """A checkpoint's weights, fitted to the network's state dict; no argument is changed.

    draw: make new rows of embeddings that are too short; else those are left out, as what is missing is.
    CheckpointError names the first unknown key or the first shape or kind of number that does not match.
    """
    report, fitted = LoadReport(), {}
    expected = network.state_dict()
    embedding = _shared_embedding(weights, where)
    for name, value in weights.items():
        if name.rpartition(".")[2] in COMPUTED or name in EMBEDDINGS:
            continue
        if name.startswith("classification_heads.") or (name.endswith("num_batches_tracked") and name not in expected):
            report.dropped.append(name)
        elif name not in expected:
            raise CheckpointError(f"{where}: unknown weight {shown(name)} {list(value.shape)}")
        else:
            fitted[name] = value
    if embedding is not None:
        fitted |= dict.fromkeys(EMBEDDINGS, embedding)
    for name in (EMBEDDINGS[0], *(name for name in fitted if name.endswith("embed_image_positions.weight"))):
        rows = len(expected[name])
        if name in fitted and fitted[name].shape[1:] == expected[name].shape[1:] and len(fitted[name]) < rows:
            report.extended.append(name)
            longer = _with_rows(fitted[name], rows) if draw else None
            for same in EMBEDDINGS if name in EMBEDDINGS else (name,):
                if longer is None:
                    del fitted[same]
                else:
                    fitted[same] = longer
    for name, value in fitted.items():
        if value.shape != expected[name].shape:
            raise CheckpointError(
                f"{where}: {name} is {list(value.shape)}, the network's is {list(expected[name].shape)}"
            )
        if expected[name].is_floating_point() and not value.is_floating_point():
            raise CheckpointError(f"{where}: {name} is of {value.dtype}, expected floating-point numbers")
    report.missing = [name for name in expected if name not in fitted and name not in report.extended]
    return fitted, report


def vocabulary_rows(weights: Mapping[str, Tensor], where: str) -> int:
    """How many symbols the weights know. CheckpointError if they have no embedding."""
    embedding = next((weights[name] for name in EMBEDDINGS if name in weights), None)
    if embedding is None or embedding.dim() != 2:
        raise CheckpointError(f"{where}: holds no embedding, such as {EMBEDDINGS[0]}")
    return len(embedding)


def _shared_embedding(weights: Mapping[str, Tensor], where: str) -> Tensor | None:
    given = [weights[name] for name in EMBEDDINGS if name in weights]
    if any(not torch.equal(given[0], other) for other in given[1:]):
        raise CheckpointError(f"{where}: encoder, decoder and output embeddings differ; RefHCM shares one matrix")
    return given[0] if given else None


def _with_rows(matrix: Tensor, rows: int) -> Tensor:
    """The matrix [n, D] with at least this many rows; new ones are normal(0, D^-0.5)."""
    width = matrix.shape[1]
    return torch.cat([matrix, matrix.new_empty(rows - len(matrix), width).normal_(0, width**-0.5)])


def network_without_values(
    config: NetworkConfig, num_symbols: int, *, weights: Mapping[str, Tensor], where: str
) -> Network:
    """A network of names and shapes only, for these weights. CheckpointError if they have fewer layers."""
    for part, layers in (("encoder", config.encoder_layers), ("decoder", config.decoder_layers)):
        prefix = f"{part}.layers."
        stored = {name.split(".")[2] for name in weights if name.startswith(prefix)}
        lacking = next((k for k in range(layers) if str(k) not in stored), None)
        if lacking is not None:
            raise CheckpointError(f"{where}: lacks weights of {prefix}{lacking}; its settings say {layers} layers")
    try:
        with without_values():
            return Network(config, num_symbols)
    except CheckpointError as error:
        raise CheckpointError(f"{where}: {error}") from error


def load_network(
    checkpoint: Checkpoint,
    num_symbols: int,
    *,
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
    ema: bool = False,
) -> Network:
    """The network of a checkpoint, in evaluation mode.

    device, dtype: None for the CPU and the file's dtype. ema: the averaged weights of `--store-ema`.
    CheckpointError for weights that do not fit, are missing, or are not finite in `dtype`, and for fewer symbols than
    `num_symbols`: nothing is ever drawn at random.
    """
    where, weights = str(checkpoint.path), checkpoint.ema_weights() if ema else checkpoint.weights
    config = NetworkConfig.from_args(checkpoint.flags(), where=where)
    network = network_without_values(config, num_symbols, weights=weights, where=where)
    fitted, report = fit_weights(weights, network, where=where, draw=False)
    check_symbols(weights, num_symbols, where=where)
    report.check_complete(where)
    fitted |= {name: torch.zeros((), dtype=torch.long) for name in report.missing}  # batch norm's counters
    network.load_state_dict(fitted, assign=True)
    network.share_embedding()
    report.log(where)
    for module in network.modules():  # one by one: at most one module is in memory twice
        _move(module, device, dtype)
    check_finite(network.state_dict(), where=where)
    return network.eval()


def check_symbols(weights: Mapping[str, Tensor], num_symbols: int, *, where: str) -> None:
    """CheckpointError if a vocabulary has more symbols than the weights know: those would be random."""
    known = vocabulary_rows(weights, where)
    if known < num_symbols:
        has = f"knows {known} symbols, but the vocabulary has {num_symbols}"
        raise CheckpointError(f"{where}: {has}. Give the vocabulary that it was trained with (--bpe-dir)")


def _move(module: nn.Module, device: torch.device | None, dtype: torch.dtype | None) -> None:
    for tensor in [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
        floating = dtype if tensor.is_floating_point() else None
        moved = aligned(tensor.data.to(device, floating))
        if moved is not tensor.data:
            page_out(tensor.data)
            tensor.data = moved
