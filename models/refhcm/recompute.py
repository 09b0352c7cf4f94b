"""What a backward pass computes again instead of keeping it (`--checkpoint-activations`)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

_PRODUCTS = {torch.ops.aten.mm.default, torch.ops.aten.addmm.default}


def recomputed(function: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
    """function(*args, **kwargs), of which the results of linear layers are kept.

    Norms, activations and attention's probabilities, most of the memory and little of the time, are computed again.
    """
    contexts = partial(create_selective_checkpoint_contexts, _policy)
    return checkpoint(function, *args, use_reentrant=False, context_fn=contexts, **kwargs)


def recomputed_blocks(blocks: nn.Sequential, x: Tensor) -> Tensor:
    """blocks(x), of which nothing is kept. Batch norms count each picture once."""
    return checkpoint(blocks, x, use_reentrant=False, context_fn=lambda: (nullcontext(), _uncounted(blocks)))


def _policy(_context: Any, operator: Any, *_args: Any, **_kwargs: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if operator in _PRODUCTS else CheckpointPolicy.PREFER_RECOMPUTE


@contextmanager
def _uncounted(module: nn.Module) -> Iterator[None]:
    """Batch norms use the statistics of their batch, as in training, and remember nothing of it."""
    norms = [part for part in module.modules() if getattr(part, "num_batches_tracked", None) is not None]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, norm.num_batches_tracked.clone()  # SyncBatchNorm needs one
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
