"""Attention whose bias learns, a few heads at a time (spec/model.md, "Attention").

No fused kernel has a gradient for its bias, and torch's own fallback writes five tensors of the size of all scores.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

AT_ONCE = {"cpu": 8 * 2**20}  # bytes of scores: a core's caches hold them
ELSEWHERE = 256 * 2**20


def biased_attention(
    q: Tensor, keys: Tensor, values: Tensor, bias: Tensor, hidden: Tensor | None, *, dropout: float = 0.0
) -> Tensor:
    """softmax(q k^T + bias + hidden) v, the softmax in float32.

    q: [B, H, T, d], scaled; keys, values: [B, H, S, d]; bias: [B or 1, H, T, S], which learns; hidden: broadcasts to
    [B, 1, T, S], 0 or -inf; dropout: share of the probabilities. -> [B, H, T, d].
    """
    return _BiasedAttention.apply(q, keys, values, bias, hidden, dropout)


class _BiasedAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, keys: Tensor, values: Tensor, bias: Tensor, hidden: Tensor | None, dropout: float
    ) -> Tensor:
        shape = (*q.shape[:3], keys.shape[2])
        out, kept = torch.empty_like(q), q.new_empty(shape, dtype=torch.float32)
        scales = kept.new_empty(shape if dropout else 0)  # 0 or 1 / (1 - dropout)
        for part in _parts(kept):
            scores = q[:, part] @ keys[:, part].transpose(-1, -2) + bias[:, part]
            if hidden is not None:
                scores += hidden
            kept[:, part] = probabilities = scores.softmax(dim=-1, dtype=torch.float32)
            if dropout:
                scale = torch.ones_like(probabilities)
                scales[:, part] = torch.dropout_(scale, dropout, True)
                probabilities = probabilities * scale
            out[:, part] = probabilities.to(values.dtype) @ values[:, part]
        ctx.save_for_backward(q, keys, values, kept, scales)
        ctx.dropout, ctx.bias = dropout, (bias.shape, bias.dtype)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, keys, values, kept, scales = ctx.saved_tensors
        of_q, of_keys, of_values = (torch.empty_like(x) for x in (q, keys, values))
        shape, dtype = ctx.bias
        of_bias = grad.new_empty(shape, dtype=dtype)
        for part in _parts(kept):
            probabilities, of_out = kept[:, part], grad[:, part]
            used = probabilities * scales[:, part] if ctx.dropout else probabilities
            of_values[:, part] = used.to(values.dtype).transpose(-1, -2) @ of_out
            wanted = (of_out @ values[:, part].transpose(-1, -2)).float()
            if ctx.dropout:
                wanted *= scales[:, part]
            of_scores = torch.ops.aten._softmax_backward_data(wanted, probabilities, -1, torch.float32).to(q.dtype)
            of_bias[:, part] = of_scores.sum_to_size(shape[0], *of_scores.shape[1:])
            of_q[:, part] = of_scores @ keys[:, part]
            of_keys[:, part] = of_scores.transpose(-1, -2) @ q[:, part]
        return of_q, of_keys, of_values, of_bias, None, None


def _parts(scores: Tensor) -> Iterator[slice]:
    """Heads of [B, H, T, S] whose scores are few enough to be worked on together."""
    heads = scores.shape[1]
    at_once = AT_ONCE.get(scores.device.type, ELSEWHERE) * heads // max(scores.nbytes, 1)
    step = min(max(at_once, 1), heads)
    return (slice(start, start + step) for start in range(0, heads, step))
