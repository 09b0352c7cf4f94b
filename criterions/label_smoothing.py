"""The training loss, in plain torch (docs/training.md, "Criterion")."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..utils.flags import id_pair
from ..utils.symbols import SPECIAL_SYMBOLS


@dataclass(frozen=True)
class SmoothedLoss:
    """Sums over the positions that count: their loss, plain negative log-likelihood, and number."""

    loss: Tensor
    nll: Tensor
    count: int


def range_mask(num_symbols: int, constraint_range: str, device: torch.device) -> Tensor:
    """Symbols that count under `--constraint-range=a,b`, bool [V]: the special ones and a..b-1."""
    first, last = id_pair(constraint_range, "--constraint-range")
    ids = torch.arange(num_symbols, device=device)
    return (ids < SPECIAL_SYMBOLS) | ((ids >= first) & (ids < last))


@dataclass(frozen=True)
class Neighbours:
    """Spreads the target of a coordinate over neighbouring bins, as a normal distribution.

    bins: their ids, in order; deviation: standard deviation of the distribution, in bins.
    """

    bins: range
    deviation: float

    def nll(self, log_probs: Tensor, target: Tensor, nll: Tensor) -> Tensor:
        """Cross entropy with the spread target for coordinates, the plain loss `nll` for all others: [N]."""
        at_bin = (target >= self.bins.start) & (target < self.bins.stop)
        distance = torch.arange(len(self.bins), device=target.device) - (target[at_bin] - self.bins.start)[:, None]
        spread = torch.softmax(-0.5 * (distance / self.deviation) ** 2, dim=-1)  # [n, bins]
        loss = -(spread * log_probs[at_bin, self.bins.start : self.bins.stop]).sum(-1)
        return nll.masked_scatter(at_bin, loss)


def position_losses(
    logits: Tensor,
    target: Tensor,
    *,
    smoothing: float,
    allowed: Tensor | None = None,
    neighbours: Neighbours | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Smoothed loss, plain loss and log-probabilities of each position: [N], [N], [N, V].

    logits: [N, V], any float type; target: int64 [N]; allowed: bool, broadcasts to [N, V]. Computed in float32.
    neighbours: spreads the targets of coordinates in the smoothed loss only.
    """
    logits = logits.float()
    if allowed is not None:
        logits = logits.masked_fill(~allowed, -torch.inf)
    log_probs = logits.log_softmax(dim=-1)
    nll = -log_probs.gather(1, target[:, None])[:, 0]
    if allowed is None:
        others: int | Tensor = logits.shape[-1] - 1
        smooth = -log_probs.sum(dim=-1)
    else:
        others = allowed.sum(dim=-1) - 1 + 1e-6
        smooth = -log_probs.masked_fill(~allowed, 0).sum(dim=-1)
    epsilon = smoothing / others
    hard = nll if neighbours is None else neighbours.nll(log_probs, target, nll)
    return (1 - smoothing - epsilon) * hard + epsilon * smooth, nll, log_probs


def sum_positions(loss: Tensor, nll: Tensor, *, drop_worst_ratio: float = 0.0) -> SmoothedLoss:
    """Sums over positions [N], or over the int(N * (1 - ratio)) positions of smallest loss."""
    if drop_worst_ratio > 0:
        kept = int(len(loss) * (1 - drop_worst_ratio))
        loss, order = loss.topk(kept, largest=False)
        nll = nll[order]
    return SmoothedLoss(loss.sum(), nll.sum(), len(loss))


def symmetric_kl(log_probs: Tensor, *, allowed: Tensor | None = None) -> Tensor:
    """R-Drop's term: half the sum of the two KL divergences between the halves of [2N, V]."""
    if allowed is not None:  # before the products: forbidden symbols are -inf, and inf - inf has no gradient
        log_probs = log_probs.masked_fill(~allowed, 0)
    p, q = log_probs.chunk(2)
    return ((p.exp() - q.exp()) * (p - q)).sum() / 2
