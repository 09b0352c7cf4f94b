"""Attention with a learned bias on a CPU, a few heads at a time, for training (docs/network.md, "Attention").

Equals `F.scaled_dot_product_attention` with `attn_mask = bias + attn_mask`, to rounding, and may be replaced by it.
torch's fused CPU kernels have no gradient for the bias, and its fallback writes five tensors of the size of all scores.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

AT_ONCE = 8 * 2**20  # bytes of scores that fit the caches


def biased_attention(
    q: Tensor, keys: Tensor, values: Tensor, bias: Tensor, attn_mask: Tensor | None, *, dropout: float = 0.0
) -> Tensor:
    """softmax(q k^T + bias + attn_mask) v, the softmax in float32.

    q: [B, H, T, d], scaled; keys, values: [B, H, S, d]; bias: [B or 1, H, T, S], which gets a gradient; attn_mask:
    broadcasts to [B, 1, T, S], 0 or -inf; dropout: rate of dropped probabilities. -> [B, H, T, d].
    """
    return _BiasedAttention.apply(q, keys, values, bias, attn_mask, dropout)


class _BiasedAttention(torch.autograd.Function):
    """Inside, heads come first, [H, B, T, d], so that a few heads are contiguous."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, keys: Tensor, values: Tensor, bias: Tensor, attn_mask: Tensor | None, dropout: float
    ) -> Tensor:
        q, keys, values = (x.transpose(0, 1).contiguous() for x in (q, keys, values))
        out, kept = torch.empty_like(q), []
        ctx.parts, ctx.dropout = _parts(q, keys), dropout
        for part in ctx.parts:
            scores = _product(q[part], keys[part].mT).add_(bias.transpose(0, 1)[part])
            if attn_mask is not None:
                scores += attn_mask.transpose(0, 1)
            kept += [probabilities := scores.softmax(dim=-1, dtype=torch.float32)]
            if dropout:  # scales are 0 or 1 / (1 - dropout)
                kept += [scales := torch.dropout_(torch.ones_like(probabilities), dropout, True)]
                probabilities = probabilities * scales
            _product(probabilities.to(values.dtype), values[part], out=out[part])
        ctx.save_for_backward(q, keys, values, *kept)
        ctx.bias = bias.shape, bias.dtype
        return out.transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, keys, values, *kept = ctx.saved_tensors
        grad, left = grad.transpose(0, 1).contiguous(), iter(kept)
        of_q, of_keys, of_values = (torch.empty_like(x) for x in (q, keys, values))
        (batch, *shape), dtype = ctx.bias
        of_bias = grad.new_empty(shape[0], batch, *shape[1:], dtype=dtype)
        for part in ctx.parts:
            used = probabilities = next(left)
            wanted = _product(grad[part], values[part].mT).float()
            if ctx.dropout:
                used = probabilities * (scales := next(left))
                wanted *= scales
            _product(used.to(values.dtype).mT, grad[part], out=of_values[part])
            of_scores = torch.ops.aten._softmax_backward_data(wanted, probabilities, -1, torch.float32).to(q.dtype)
            of_bias[part] = of_scores.sum(1, keepdim=True) if batch < of_scores.shape[1] else of_scores
            _product(of_scores, keys[part], out=of_q[part])
            _product(of_scores.mT, q[part], out=of_keys[part])
        return *(x.transpose(0, 1) for x in (of_q, of_keys, of_values, of_bias)), None, None


def _product(one: Tensor, other: Tensor, out: Tensor | None = None) -> Tensor:
    """[h, B, n, k] @ [h, B, k, m] -> [h, B, n, m]."""
    flat = None if out is None else out.flatten(0, 1)
    return torch.bmm(one.flatten(0, 1), other.flatten(0, 1), out=flat).unflatten(0, one.shape[:2])


def _parts(q: Tensor, keys: Tensor) -> list[slice]:
    """Slices of the heads of [H, B, T, d] whose float32 scores fit `AT_ONCE`."""
    heads, size = len(q), 4 * q.shape[1] * q.shape[2] * keys.shape[2]
    step = max(AT_ONCE // max(size, 1), 1)
    return [slice(start, start + step) for start in range(0, heads, step)]
