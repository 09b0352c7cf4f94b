"""Loading a checkpoint's weights into a network (docs/network.md, "Loading checkpoints")."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ...utils.checkpoints import Checkpoint
from ...utils.errors import CheckpointError
from ...utils.memory import page_out
from .config import NetworkConfig
from .network import Network

logger = logging.getLogger(__name__)

COMPUTED = ("version", "token_rp_bucket", "image_rp_bucket", "image_position_idx")  # buffers that the config implies
EMBEDDINGS = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "decoder.output_projection.weight")


class _SkipInit(TorchFunctionMode):
    """Skips random initialisation, which on `meta` would import 120 MB of torch's compiler."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in ("normal_", "uniform_", "kaiming_uniform_"):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@dataclass
class LoadReport:
    """Names of the weights that were not simply copied."""

    missing: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    extended: list[str] = field(default_factory=list)

    def log(self, where: str) -> None:
        """Logs one line for each kind that occurred."""
        kinds = {"kept initial values of": self.missing, "dropped": self.dropped, "extended": self.extended}
        for what, names in kinds.items():
            if names:
                some = ", ".join(names[:8]) + " ..." * (len(names) > 8)
                logger.info("%s: %s %d weights: %s", where, what, len(names), some)


def fit_weights(weights: Mapping[str, Tensor], network: Network, *, where: str) -> tuple[dict[str, Tensor], LoadReport]:
    """A checkpoint's weights, fitted to the network's state dict; no argument is changed.

    CheckpointError names the first unknown key or the first shape that does not match.
    """
    report, fitted = LoadReport(), {}
    expected = network.state_dict()
    embedding = _shared_embedding(weights, where)
    for name, value in weights.items():
        if name.rpartition(".")[2] in COMPUTED or name in EMBEDDINGS:
            continue
        if name.startswith("classification_heads.") or (name.endswith("num_batches_tracked") and name not in expected):
            report.dropped.append(name)
            continue
        if name not in expected:
            raise CheckpointError(f"{where}: unknown weight {name!r} {list(value.shape)}")
        if name.endswith("embed_image_positions.weight"):
            value = _with_rows(value, len(expected[name]), name, report)
        fitted[name] = value
    if embedding is not None:
        embedding = _with_rows(embedding, len(expected[EMBEDDINGS[0]]), EMBEDDINGS[0], report)
        fitted |= dict.fromkeys(EMBEDDINGS, embedding)
    for name, value in fitted.items():
        if value.shape != expected[name].shape:
            raise CheckpointError(
                f"{where}: {name} is {list(value.shape)}, the network's is {list(expected[name].shape)}"
            )
    report.missing = [name for name in expected if name not in fitted]
    return fitted, report


def _shared_embedding(weights: Mapping[str, Tensor], where: str) -> Tensor | None:
    given = [weights[name] for name in EMBEDDINGS if name in weights]
    if any(not torch.equal(given[0], other) for other in given[1:]):
        raise CheckpointError(f"{where}: encoder, decoder and output embeddings differ; RefHCM shares one matrix")
    return given[0] if given else None


def _with_rows(matrix: Tensor, rows: int, name: str, report: LoadReport) -> Tensor:
    """The matrix [n, D] with at least this many rows; new ones are normal(0, D^-0.5)."""
    if len(matrix) >= rows:
        return matrix
    report.extended.append(name)
    width = matrix.shape[1]
    return torch.cat([matrix, matrix.new_empty(rows - len(matrix), width).normal_(0, width**-0.5)])


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
    Weights are initialised only when the file lacks some. CheckpointError for weights that do not fit, and for fewer
    symbols than `num_symbols`: the embeddings of the others would be random.
    """
    where = str(checkpoint.path)
    config = NetworkConfig.from_args(checkpoint.flags(), where=where)
    with torch.device("meta"), _SkipInit():
        network = Network(config, num_symbols)
    fitted, report = fit_weights(checkpoint.ema_weights() if ema else checkpoint.weights, network, where=where)
    if EMBEDDINGS[0] in report.extended:
        known = next(len(checkpoint.weights[name]) for name in EMBEDDINGS if name in checkpoint.weights)
        has = f"knows {known} symbols, but the vocabulary has {num_symbols}"
        raise CheckpointError(f"{where}: {has}. Give the vocabulary that it was trained with (--bpe-dir)")
    counters = [name for name in report.missing if name.endswith("num_batches_tracked")]
    if report.missing == counters:
        fitted |= {name: torch.zeros((), dtype=torch.long) for name in counters}
        network.load_state_dict(fitted, assign=True)
        network.share_embedding()
    else:
        network = Network(config, num_symbols)
        network.load_state_dict(fitted, strict=False)
    report.log(where)
    for module in network.modules():  # one by one: at most one module is in memory twice
        _move(module, device, dtype)
    return network.eval()


def _move(module: nn.Module, device: torch.device | None, dtype: torch.dtype | None) -> None:
    for tensor in [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
        floating = dtype if tensor.is_floating_point() else None
        moved = tensor.data.to(device, floating)
        if moved is not tensor.data:
            page_out(tensor.data)
            tensor.data = moved
