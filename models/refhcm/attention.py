"""Multi-head attention with an additive bias and scaled heads (docs/network.md, "Attention")."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import NetworkConfig
from .cpu.attention_by_heads import attention_by_heads, faster_by_heads
from .cpu.biased_attention import biased_attention
from .cpu.linear import Linear


class Attention(nn.Module):
    """softmax(q k^T * scale + bias) v, each head times its factor (`--scale-heads`), then projected.

    `keys_values` is apart from `forward`, so that a decoder computes the keys and values of the encoder once.
    """

    def __init__(self, config: NetworkConfig, heads: int) -> None:
        super().__init__()
        width, self.heads, self.dropout = config.encoder_embed_dim, heads, config.attention_dropout
        self.scale = (width / heads * config.attn_scale_factor) ** -0.5
        self.c_attn = nn.Parameter(torch.ones(heads)) if config.scale_heads else None
        self.k_proj = Linear(width, width)
        self.v_proj = Linear(width, width)
        self.q_proj = Linear(width, width)
        self.out_proj = Linear(width, width)

    def split(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, H, T, d], a view."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, S, D] -> keys and values, each [B, H, S, d]."""
        return self.split(self.k_proj(x)), self.split(self.v_proj(x))

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, *, bias: Tensor, attn_mask: Tensor | None = None
    ) -> Tensor:
        """x: [B, T, D]; keys, values: [B, H, S, d] -> [B, T, D].

        bias: added to the scores of all samples; attn_mask: 0 or -inf, added to hide positions of single samples.
        Both broadcast to [B, H, T, S].
        """
        dropout = self.dropout if self.training else 0.0
        q = self.split(self.q_proj(x))
        if bias.requires_grad and bias.device.type == "cpu":
            out = biased_attention(q * self.scale, keys, values, bias, attn_mask, dropout=dropout)
        else:
            bias = bias if attn_mask is None else bias + attn_mask
            if faster_by_heads(q) and not dropout:
                out = attention_by_heads(q, keys, values, bias, scale=self.scale)
            else:
                out = F.scaled_dot_product_attention(q, keys, values, bias, dropout, scale=self.scale)
        if self.c_attn is not None:
            out = out * self.c_attn[:, None, None]
        return self.out_proj(out.transpose(1, 2).flatten(2))
