"""Symbol embedding, and the pre-norm layers of encoder and decoder (docs/network.md, "Layers")."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import Attention
from .config import NetworkConfig
from .cpu.linear import Linear
from .decoding_state import KeyValueCache
from .drop_path import DropPath


class SymbolEmbedding(nn.Embedding):
    """Embeds the symbols of encoder and decoder; the output projection uses the same matrix."""

    padding_idx: int

    def forward(self, ids: Tensor) -> Tensor:
        """int64 [...] -> [..., D]. On a CPU the gradient is sparse: a dense one would clear the whole vocabulary."""
        return F.embedding(ids, self.weight, self.padding_idx, sparse=self.weight.device.type == "cpu")


class Layer(nn.Module):
    """The part that encoder and decoder layers share: the feed-forward block and the residual path."""

    def __init__(self, config: NetworkConfig, drop_path: float) -> None:
        super().__init__()
        width, ffn = config.encoder_embed_dim, config.encoder_ffn_embed_dim
        self.dropout, self.activation_dropout = config.dropout, config.activation_dropout
        self.drop_path = DropPath(drop_path)
        self.fc1 = Linear(width, ffn)
        self.fc2 = Linear(ffn, width)
        self.ffn_layernorm = nn.LayerNorm(ffn) if config.scale_fc else nn.Identity()
        self.w_resid = nn.Parameter(torch.ones(width)) if config.scale_resids else None
        self.final_layer_norm = nn.LayerNorm(width)

    def residual(self, x: Tensor, branch: Tensor) -> Tensor:
        """x + branch; dropout and stochastic depth (per sample) apply to the branch."""
        return x + self.drop_path(F.dropout(branch, self.dropout, self.training))

    def feed_forward(self, x: Tensor) -> Tensor:
        """The last block of every layer, [B, T, D] -> [B, T, D]."""
        hidden = F.gelu(self.fc1(self.final_layer_norm(x)))
        hidden = F.dropout(hidden, self.activation_dropout, self.training)
        branch = self.fc2(self.ffn_layernorm(hidden))
        return self.residual(x if self.w_resid is None else self.w_resid * x, branch)


class EncoderLayer(Layer):
    """Self-attention and feed-forward."""

    def __init__(self, config: NetworkConfig, drop_path: float) -> None:
        super().__init__(config, drop_path)
        width = config.encoder_embed_dim
        self.self_attn = Attention(config, config.encoder_attention_heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.attn_ln = nn.LayerNorm(width) if config.scale_attn else nn.Identity()

    def forward(self, x: Tensor, bias: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """x: [B, S, D] -> the same; bias and attn_mask broadcast to [B, H, S, S]."""
        normed = self.self_attn_layer_norm(x)
        attended = self.self_attn(normed, *self.self_attn.keys_values(normed), bias=bias, attn_mask=attn_mask)
        return self.feed_forward(self.residual(x, self.attn_ln(attended)))


class DecoderLayer(Layer):
    """Self-attention, attention to the encoder, feed-forward."""

    def __init__(self, config: NetworkConfig, drop_path: float) -> None:
        super().__init__(config, drop_path)
        width, heads = config.encoder_embed_dim, config.decoder_attention_heads
        self.self_attn = Attention(config, heads)
        self.self_attn_ln = nn.LayerNorm(width) if config.scale_attn else nn.Identity()
        self.cross_attn_ln = nn.LayerNorm(width) if config.scale_attn else nn.Identity()
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.encoder_attn = Attention(config, heads)
        self.encoder_attn_layer_norm = nn.LayerNorm(width)

    def forward(
        self,
        x: Tensor,
        memory: Tensor | tuple[Tensor, Tensor],
        *,
        self_bias: Tensor,
        cross_bias: Tensor,
        self_attn_mask: Tensor | None = None,
        cross_attn_mask: Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """x: [N, n, D] -> the same. N is B times the number of beams, which share the keys and values of their sample.

        memory: the encoder's states [B, S, D], or their keys and values, each [B, H, S, d].
        self_bias, self_attn_mask: broadcast to [N, H, n, past + n]; cross_bias, cross_attn_mask: to [B, H, n, S].
        """
        normed = self.self_attn_layer_norm(x)
        keys, values = self.self_attn.keys_values(normed)
        if cache is not None:
            keys, values = cache.append(keys, values)
        attended = self.self_attn(normed, keys, values, bias=self_bias, attn_mask=self_attn_mask)
        x = self.residual(x, self.self_attn_ln(attended))

        keys, values = self.encoder_attn.keys_values(memory) if isinstance(memory, Tensor) else memory
        queries = self.encoder_attn_layer_norm(x)
        beams, n = len(x) // len(keys), x.shape[1]
        if beams > 1:  # the beams of a sample are further queries to the same keys
            queries = queries.reshape(len(keys), beams * n, -1)
            cross_bias = cross_bias if n == 1 else cross_bias.repeat(1, 1, beams, 1)
        attended = self.encoder_attn(queries, keys, values, bias=cross_bias, attn_mask=cross_attn_mask).reshape(x.shape)
        return self.feed_forward(self.residual(x, self.cross_attn_ln(attended)))
