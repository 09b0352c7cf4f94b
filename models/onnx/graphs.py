"""What becomes a file of ONNX: the network in four parts, each a module of tensors in and tensors out (docs/onnx.md).

The layers are the network's own. Only what depends on sizes is put together here: position biases come from tables
that are made once for all lengths, so that batch, text and answer may have any.
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...utils.parsing import soft_overlaps
from ..refhcm.cpu.linear import Linear
from ..refhcm.network import Network
from ..refhcm.positions import image_buckets, image_positions, token_buckets
from ..vqgan import VQTokenizer
from ..vqgan.layers import AttentionBlock


def plain(network: Network) -> Network:
    """A copy in float32 whose linear layers are torch's own, for evaluation."""
    network = copy.deepcopy(network).float().eval()
    for module in network.modules():
        if isinstance(module, Linear):
            module.__class__ = nn.Linear  # type: ignore[assignment]  # equal to rounding, and without branches for the number of rows
    return network


class PictureGraph(nn.Module):
    """`patch_images`, float32 [P, 3, S, S] -> `patches`, [P, h * w, D]: the backbone's image features."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.encoder = network.encoder

    def forward(self, patch_images: Tensor) -> Tensor:
        """See the class."""
        return self.encoder.encode_image(patch_images).patches


class EncoderGraph(nn.Module):
    """`patches` [B, P, D] and `src_tokens` [B, T] -> what the decoder reads of them.

    `mask`: float32 [B, 1, 1, S], -inf at padding. `positions`: [1, H, S, d], keys of the cross-attention's biases.
    `memory_keys_k`, `memory_values_k`: [B, H, S, d] for decoder layer k.
    """

    image_pairs: Tensor
    distances: Tensor

    def __init__(self, network: Network, grid: tuple[int, int]) -> None:
        """grid: height and width of the patches of every picture."""
        super().__init__()
        self.encoder, self.decoder, self.grid = network.encoder, network.decoder, grid
        config = network.config
        self.split = network.encoder.layers[0].self_attn.split
        rows = image_positions(*grid, config.image_bucket_size)
        self.register_buffer("image_pairs", image_buckets(rows, config.image_bucket_size), persistent=False)
        self.longest = config.max_source_positions
        # Of a text only the distance counts: the bucket of j - i is at longest - 1 + j - i.
        pairs = token_buckets(self.longest, config.token_bucket_size)
        distances = torch.cat([pairs[0].flip(0), pairs[1:, 0]])
        self.register_buffer("distances", distances, persistent=False)

    def forward(self, patches: Tensor, src_tokens: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        encoder, decoder = self.encoder, self.decoder
        length = src_tokens.shape[1]
        text = encoder.embed_tokens(src_tokens) + encoder.type_embedding.weight[0]
        x = torch.cat([patches, encoder.layernorm_embedding(text)], dim=1)
        padding = F.pad(src_tokens.eq(encoder.padding_idx), (patches.shape[1], 0))
        raw, positions = encoder._positions(self.grid, length)
        if encoder.config.entangle_position_embedding:
            x = x + raw
        x = x * ~padding[:, :, None]
        mask = padding.to(x.dtype).masked_fill(padding, -torch.inf)[:, None, None, :]
        q, k = encoder.pos_q_linear(positions) * encoder.position_scale, encoder.pos_k_linear(positions)
        absolute = self.split(q) @ self.split(k).transpose(-1, -2)
        steps = torch.arange(length)
        pairs = self.distances[steps[:, None] - steps + self.longest - 1]
        tables = zip(encoder.image_rel_pos_table_list, encoder.token_rel_pos_table_list, strict=True)
        for layer, (of_image, of_text) in zip(encoder.layers, tables, strict=True):
            image = F.pad(of_image.weight.t()[:, self.image_pairs], (0, length, 0, length))
            words = F.pad(of_text.weight.t()[:, pairs], (patches.shape[1], 0, patches.shape[1], 0))
            x = layer(x, absolute + image + words, mask)
        states = encoder.layer_norm(x)
        memory = [one for layer in decoder.layers for one in layer.encoder_attn.keys_values(states)]
        return mask, self.split(decoder.cross_pos_k_linear(positions)), *memory


class _Past:
    """Keys and values of the positions so far, as `KeyValueCache`, but in new tensors each step."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.both = keys, values

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Adds one position and returns all."""
        self.both = torch.cat([self.both[0], keys], dim=2), torch.cat([self.both[1], values], dim=2)
        return self.both


class StepGraph(nn.Module):
    """One more symbol of K answers to each of B questions: `tokens`, int64 [B, K] -> `logits`, float32 [B, K, V].

    `rows`: int64 [B, K], the answer of the step before that each continues, counted over all its questions.
    `mask`, `positions`, `memory_*`: from the encoder, of these B questions. `past_keys_k`, `past_values_k`: what the
    step before gave as `keys_k` and `values_k`, [B', K', H, t, d], of t positions; at first t is 0.
    """

    self_q: Tensor
    self_k: Tensor
    cross_q: Tensor
    relative: Tensor

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.decoder = decoder = network.decoder
        config, split = network.config, decoder.layers[0].self_attn.split
        positions = decoder.pos_ln(decoder.embed_positions.weight[: config.max_target_positions])[None]
        scale = decoder.position_scale
        # Of all positions: those of an answer are the first of them, whatever its length.
        self.register_buffer("self_q", split(decoder.self_pos_q_linear(positions) * scale), persistent=False)
        self.register_buffer("self_k", split(decoder.self_pos_k_linear(positions)), persistent=False)
        self.register_buffer("cross_q", split(decoder.cross_pos_q_linear(positions) * scale), persistent=False)
        buckets = token_buckets(config.max_target_positions, config.token_bucket_size)[:, 0]  # by distance
        relative = torch.stack([table.weight.t()[:, buckets] for table in decoder.token_rel_pos_table_list])
        self.register_buffer("relative", relative, persistent=False)  # [L, H, T]

    def forward(
        self, tokens: Tensor, rows: Tensor, mask: Tensor, positions: Tensor, memory: list[Tensor], past: list[Tensor]
    ) -> tuple[Tensor, ...]:
        """See the class."""
        decoder, step = self.decoder, past[0].shape[3]
        here, before = torch.full((1,), step), torch.arange(step + 1)  # slices would have no known size
        x = decoder.embed_tokens(tokens.reshape(-1, 1))
        if not decoder.config.disable_entangle:
            x = x + decoder.embed_positions(here)
        x = decoder.layernorm_embedding(x)
        absolute = self.self_q[:, :, here] @ self.self_k[:, :, before].transpose(-1, -2)
        relative = self.relative[:, :, step - before]  # [L, H, step + 1]
        cross_bias = self.cross_q[:, :, here] @ positions.transpose(-1, -2)
        present: list[Tensor] = []
        for k, layer in enumerate(decoder.layers):
            both = (one.flatten(0, 1)[rows.flatten()] for one in past[2 * k : 2 * k + 2])
            cache = _Past(*both)
            x = layer(
                x,
                (memory[2 * k], memory[2 * k + 1]),
                self_bias=absolute + relative[k, None, :, None],
                cross_bias=cross_bias,
                cross_attn_mask=mask,
                cache=cache,
            )
            present += [one.unflatten(0, tokens.shape) for one in cache.both]
        features = decoder.layer_norm(x)[:, 0].unflatten(0, tokens.shape)
        return F.linear(features, decoder.embed_tokens.weight), *present


class _Attention(AttentionBlock):
    """The tokenizer's attention with a dimension for its single head, which the exporter needs."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C, h, w]."""
        normed = self.norm(x)
        q, k, v = (conv(normed).flatten(2).transpose(1, 2)[:, None] for conv in (self.q, self.k, self.v))
        mixed = F.scaled_dot_product_attention(q, k, v)[:, 0]
        return x + self.proj_out(mixed.transpose(1, 2).reshape(x.shape))


class MapGraph(nn.Module):
    """`codes`, int64 [B, 48] -> `label_map`, int64 [B, h, w], and `overlaps`, float32 [B, classes]."""

    def __init__(self, tokenizer: VQTokenizer) -> None:
        super().__init__()
        self.tokenizer = copy.deepcopy(tokenizer).float().eval()
        for module in self.tokenizer.modules():
            if isinstance(module, AttentionBlock):
                module.__class__ = _Attention

    def forward(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        logits = self.tokenizer.decode_logits(codes)
        return logits.argmax(dim=1), soft_overlaps(logits)
