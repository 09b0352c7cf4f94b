"""Saves memory in training: the backward pass recomputes activations (`--checkpoint-activations`)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

_PRODUCTS = {torch.ops.aten.mm.default, torch.ops.aten.addmm.default}


def recomputed(function: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
    """function(*args, **kwargs), keeping only the results of linear layers.

    Norms, activations and attention probabilities take most of the memory and little of the time: they are recomputed.
    """
    contexts = partial(create_selective_checkpoint_contexts, _policy)
    return checkpoint(function, *args, use_reentrant=False, context_fn=contexts, **kwargs)


def recomputed_blocks(blocks: nn.Module, x: Tensor) -> Tensor:
    """blocks(x), keeping only x. Running statistics of batch norms are updated once, not twice."""
    return checkpoint(blocks, x, use_reentrant=False, context_fn=lambda: (nullcontext(), _uncounted(blocks)))


def _policy(_context: Any, operator: Any, *_args: Any, **_kwargs: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if operator in _PRODUCTS else CheckpointPolicy.PREFER_RECOMPUTE


@contextmanager
def _uncounted(module: nn.Module) -> Iterator[None]:
    """Batch norms normalise by their batch, as in training, but leave their running statistics as they are."""
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:  # SyncBatchNorm insists on a counter
        norm.momentum, norm.num_batches_tracked = 0.0, torch.zeros((), dtype=torch.long)
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
