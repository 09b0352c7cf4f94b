"""Attention on a CPU in bfloat16, a few heads at a time, for answering (docs/network.md, "Attention").

Equals `F.scaled_dot_product_attention`, except that scores are rounded to bfloat16 before the softmax, and may be
replaced by it. For 16 heads of 1049 states torch's fused kernel takes 28 ms and this 13 (2 threads): the scores of a
head stay in the caches of the cores. In float32 both take 28 ms.
"""

from functools import cache

import torch
from torch import Tensor

CACHE = 2**20  # bytes of scores per thread
MANY = 2**18  # scores of a head; for fewer the fused kernel is as fast


def faster_by_heads(q: Tensor, keys: Tensor) -> bool:
    """Whether `attention_by_heads` beats the fused kernel. q: [B, H, T, d]; keys: [B, H, S, d]."""
    here = q.device.type == "cpu" and q.dtype == torch.bfloat16 and not torch.is_grad_enabled()
    return here and q.shape[2] * keys.shape[2] >= MANY and _has_bfloat16_products()


@cache
def _has_bfloat16_products() -> bool:
    """Whether this CPU has bfloat16 instructions; without them the fused kernel is faster."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def attention_by_heads(q: Tensor, keys: Tensor, values: Tensor, bias: Tensor, *, scale: float) -> Tensor:
    """softmax(q k^T * scale + bias) v.

    q: [B, H, T, d]; keys, values: [B, H, S, d]; bias: [B or 1, H, T, S] -> [B, H, T, d].
    """
    batch, heads, length, width = q.shape
    together = max(torch.get_num_threads() * CACHE // (q.element_size() * length * keys.shape[2]), 1)
    out = q.new_empty(batch, length, heads, width).transpose(1, 2)
    for sample, bias_of_sample in enumerate(bias.expand(batch, -1, -1, -1)):
        for start in range(0, heads, together):
            part = sample, slice(start, start + together)
            scores = torch.baddbmm(bias_of_sample[part[1]], q[part], keys[part].mT, alpha=scale)
            out[part] = scores.softmax(dim=-1) @ values[part]
    return out
