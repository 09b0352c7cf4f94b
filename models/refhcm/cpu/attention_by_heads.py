"""Attention on a CPU in bfloat16, some heads at a time, for answering (docs/network.md, "Attention").

Equals `F.scaled_dot_product_attention`, except that scores are rounded to bfloat16 before the softmax, and may be
replaced by it. For 16 heads of 1049 states torch's fused kernel takes 28 ms and this 13 (2 threads): the scores of a
head stay in the caches of the cores. For 5 queries to as many states it takes .31 ms and this .15; for 5 answers of 57
symbols, one query each, .24 and .07. In float32 both take the same.
"""

from functools import cache

import torch
from torch import Tensor

CACHE = 2**20  # bytes of scores per thread


def faster_by_heads(q: Tensor) -> bool:
    """Whether `attention_by_heads` beats the fused kernel."""
    here = q.device.type == "cpu" and q.dtype == torch.bfloat16 and not torch.is_grad_enabled()
    return here and _has_bfloat16_products()


@cache
def _has_bfloat16_products() -> bool:
    """Whether this CPU has bfloat16 instructions; without them the fused kernel is faster."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def attention_by_heads(q: Tensor, keys: Tensor, values: Tensor, bias: Tensor, *, scale: float) -> Tensor:
    """softmax(q k^T * scale + bias) v.

    q: [B, H, T, d]; keys, values: [B, H, S, d]; bias: broadcast to [B, H, T, S] -> [B, H, T, d].
    """
    batch, heads, length, width = q.shape
    together = max(torch.get_num_threads() * CACHE // (q.element_size() * length * keys.shape[2]), 1)
    bias = bias.expand(batch, heads, length, -1)
    if together >= batch * heads:
        parts = (x.flatten(0, 1) for x in (q, keys, values, bias))
        return _attend(*parts, scale=scale).view(batch, heads, length, width)
    out = q.new_empty(batch, length, heads, width).transpose(1, 2)
    for sample in range(batch):
        for start in range(0, heads, together):
            part = sample, slice(start, start + together)
            out[part] = _attend(q[part], keys[part], values[part], bias[part], scale=scale)
    return out


def _attend(q: Tensor, keys: Tensor, values: Tensor, bias: Tensor, *, scale: float) -> Tensor:
    """The same for [N, T, d], [N, S, d] and [N, T, S]."""
    return torch.baddbmm(bias, q, keys.mT, alpha=scale).softmax(dim=-1) @ values
