"""The decoder: teacher forcing, and step by step with cached keys and values (docs/network.md, "Decoder")."""

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import NetworkConfig
from .cpu.linear import Linear, Output, linear
from .cuda_graphs import StepGraphs
from .decoding_state import DecodingState, KeyValueCache
from .drop_path import drop_path_rates
from .encoder import EncoderOutput
from .layers import DecoderLayer, SymbolEmbedding
from .positions import additive_mask, bias_of, token_buckets
from .recompute import recomputed


class Decoder(nn.Module):
    """Pre-norm decoder. Its position biases depend on positions only and are computed once, for batch 1."""

    answers_only = False  # see `Network.for_answers`
    graphs: StepGraphs | None = None

    def __init__(self, config: NetworkConfig, embed_tokens: SymbolEmbedding) -> None:
        super().__init__()
        self.config = config
        width, heads, layers = config.encoder_embed_dim, config.decoder_attention_heads, config.decoder_layers
        self.padding_idx = embed_tokens.padding_idx
        self.embed_tokens = embed_tokens
        self.layernorm_embedding = nn.LayerNorm(width)
        self.embed_positions = nn.Embedding(config.max_target_positions + 2, width)
        self.pos_ln = nn.LayerNorm(width)
        self.self_pos_q_linear = Linear(width, width)
        self.self_pos_k_linear = Linear(width, width)
        self.cross_pos_q_linear = Linear(width, width)
        self.cross_pos_k_linear = Linear(width, width)
        self.position_scale = (width / heads * config.attn_scale_factor) ** -0.5
        rates = drop_path_rates(config.decoder_drop_path_rate, layers)
        self.layers = cast("list[DecoderLayer]", nn.ModuleList(DecoderLayer(config, rate) for rate in rates))
        self.layer_norm = nn.LayerNorm(width)
        self._outputs: dict[tuple[range, ...] | None, Output] = {}
        self.output_projection = nn.Linear(width, embed_tokens.num_embeddings, bias=False)
        self.output_projection.weight = embed_tokens.weight
        token_rows, image_rows = 2 * config.token_bucket_size - 1, (2 * config.image_bucket_size - 1) ** 2 + 3
        tables = nn.ModuleList(nn.Embedding(token_rows, heads) for _ in range(layers))
        self.token_rel_pos_table_list = cast("list[nn.Embedding]", tables)
        # For OFA's image generation: no RefHCM task uses these weights, but every checkpoint holds them.
        self.code_layernorm_embedding = nn.LayerNorm(width)
        self.embed_image_positions = nn.Embedding(config.image_bucket_size**2 + 1, width)
        self.image_pos_ln = nn.LayerNorm(width)
        self.image_rel_pos_table_list = nn.ModuleList(nn.Embedding(image_rows, heads) for _ in range(layers))

    def forward(
        self,
        prev_output_tokens: Tensor,
        encoder: EncoderOutput,
        *,
        full_mask_position: tuple[int, int] | None = None,
        full_mask_rows: Tensor | None = None,
    ) -> Tensor:
        """Teacher forcing: int64 [B, T] -> features [B, T, D]; `project` turns them into logits.

        full_mask_position: (b, e), the queries of Query Parallel Generation, see `causal_mask`.
        full_mask_rows: bool [B], the samples that have queries; None: all.
        """
        length = prev_output_tokens.shape[1]
        self_bias, cross_bias = self._biases(length, encoder.positions, full_mask_position)
        x = self._embed(prev_output_tokens, slice(prev_output_tokens.shape[1]))
        padded = prev_output_tokens.eq(self.padding_idx)
        attn_mask = additive_mask(padded, x.dtype) if bool(padded.any()) else None
        if full_mask_rows is not None:
            # Samples without queries stay causal, [B, 1, T, T].
            closed = causal_mask(length).to(x).masked_fill(full_mask_rows[:, None, None, None], 0)
            attn_mask = closed if attn_mask is None else closed + attn_mask
        shared = {
            "cross_bias": cross_bias,
            "self_attn_mask": attn_mask,
            "cross_attn_mask": additive_mask(encoder.padding, x.dtype),
        }
        again = self.config.checkpoint_activations and self.training
        for layer, bias in zip(self.layers, self_bias, strict=True):
            run = partial(recomputed, layer) if again else layer
            x = run(x, encoder.states, self_bias=bias, **shared)
        return self.layer_norm(x)

    def start(
        self, encoder: EncoderOutput, *, beams: int, capacity: int, full_mask_position: tuple[int, int] | None = None
    ) -> DecodingState:
        """The state before the first step, for `beams` answers to each sample of up to `capacity` positions."""
        self_bias, cross_bias = self._biases(capacity, encoder.positions, full_mask_position)
        of_layers = (layer.encoder_attn.keys_values(encoder.states) for layer in self.layers)
        memory = [(keys.contiguous(), values.contiguous()) for keys, values in of_layers]  # faster to read each step
        attn_mask = additive_mask(encoder.padding, cross_bias.dtype)
        rows = len(encoder.states) * beams
        caches = [KeyValueCache(keys, capacity, rows=rows) for keys, _ in memory]
        state = DecodingState(memory, self_bias, cross_bias, attn_mask, caches)
        return state if self.graphs is None else self.graphs.place(state)

    def extend(self, tokens: Tensor, state: DecodingState) -> Tensor:
        """Advances `state` by n symbols of each answer: int64 [B * beams, n] -> features [B * beams, n, D]."""
        start, state.length = state.length, state.length + tokens.shape[1]
        if self.graphs is not None:
            return self.graphs.extend(tokens, state, start)
        return self.step(tokens, state, slice(start, state.length), state.length)

    def step(self, tokens: Tensor, state: DecodingState, at: slice | Tensor, end: int) -> Tensor:
        """Features of symbols at the positions `at`, a slice or int64 [n]. They see those before `end` and no mask."""
        shared = {"cross_bias": state.cross_bias[:, :, at], "cross_attn_mask": state.attn_mask}
        x = self._embed(tokens, at)
        for layer, memory, bias, cache in zip(self.layers, state.memory, state.self_bias, state.caches, strict=True):
            x = layer(x, memory, self_bias=bias[:, :, at, :end], cache=cache, **shared)
        return self.layer_norm(x)

    def project(self, features: Tensor) -> Tensor:
        """Features [..., D] -> logits over the vocabulary."""
        return linear(features, self.output_projection.weight)

    def output(self, symbols: tuple[range, ...] | None) -> Callable[[Tensor], Tensor]:
        """Features [..., D] -> logits over the symbols of these ranges, in their order; None: over all."""
        if not self.answers_only:
            return partial(linear, weight=self._rows(symbols))
        if symbols not in self._outputs:
            self._outputs[symbols] = Output(self._rows(symbols))
        return self._outputs[symbols]

    def _rows(self, symbols: tuple[range, ...] | None) -> Tensor:
        weight = self.output_projection.weight
        return weight if symbols is None else torch.cat([weight[one.start : one.stop] for one in symbols])

    def _embed(self, tokens: Tensor, at: slice | Tensor) -> Tensor:
        x = self.embed_tokens(tokens)
        if not self.config.disable_entangle:  # the paper's model has positions in the biases only
            x = x + self.embed_positions.weight[at]
        return F.dropout(self.layernorm_embedding(x), self.config.dropout, self.training)

    def _biases(
        self, length: int, memory_positions: Tensor, full_mask_position: tuple[int, int] | None
    ) -> tuple[list[Tensor], Tensor]:
        """Causal self-attention bias of each layer [1, H, T, T], and the cross-attention bias [1, H, T, S]."""
        if length > self.config.max_target_positions:
            limit = self.config.max_target_positions
            raise ValueError(f"{length} target symbols, but --max-target-positions is {limit}")
        split = self.layers[0].self_attn.split
        positions = self.pos_ln(self.embed_positions.weight[:length])[None]  # [1, T, D]
        q = split(self.self_pos_q_linear(positions) * self.position_scale)
        absolute = q @ split(self.self_pos_k_linear(positions)).transpose(-1, -2)
        absolute = absolute + causal_mask(length, full_mask_position).to(absolute)
        buckets = token_buckets(length, self.config.token_bucket_size).to(absolute.device)
        self_bias = [absolute + bias_of(table.weight, buckets) for table in self.token_rel_pos_table_list]
        q = split(self.cross_pos_q_linear(positions) * self.position_scale)
        cross_bias = q @ split(self.cross_pos_k_linear(memory_positions)).transpose(-1, -2)
        return self_bias, cross_bias


def causal_mask(length: int, full_mask_position: tuple[int, int] | None = None) -> Tensor:
    """[T, T]: 0 where position i (row) sees position j, else -inf.

    full_mask_position: (b, e) opens positions b..e, both included, to each other: the QPG mask. e may be beyond the
    last position.
    """
    mask = torch.full((length, length), -torch.inf).triu(1)
    if full_mask_position is not None:
        begin, end = full_mask_position
        mask[begin : end + 1, begin : end + 1] = 0
    return mask
