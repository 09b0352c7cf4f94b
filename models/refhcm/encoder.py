"""The encoder: picture and prompt -> hidden states (docs/network.md, "Encoder")."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import PATCH, NetworkConfig
from .cpu.linear import Linear
from .drop_path import drop_path_rates
from .layers import EncoderLayer, SymbolEmbedding
from .positions import (
    additive_mask,
    bias_of,
    image_bias,
    image_positions,
    interpolate_grid,
    sinusoids,
    token_buckets,
    with_relative,
)
from .recompute import recomputed
from .resnet import ResNet

SINUSOIDS = 0.5  # amplitude; the embeddings they are added to have standard deviation 1
LENGTHS = 32  # cached biases are made for text lengths rounded up to a multiple of this


@dataclass(frozen=True)
class ImageFeatures:
    """P pictures after the backbone, kept for several questions. patches: [P, h * w, D]; grid: (h, w)."""

    patches: Tensor
    grid: tuple[int, int]

    def one(self, i: int) -> "ImageFeatures":
        """Picture i alone."""
        return ImageFeatures(self.patches[i : i + 1], self.grid)

    @staticmethod
    def together(image_features: Sequence["ImageFeatures"]) -> "ImageFeatures":
        """Joins pictures of the same size."""
        return ImageFeatures(torch.cat([one.patches for one in image_features]), image_features[0].grid)


@dataclass(frozen=True)
class EncoderOutput:
    """Hidden states and what the decoder's cross-attention needs beside them."""

    states: Tensor  # [B, S, D], patches first, then text
    positions: Tensor  # [1, S, D], the same for every sample
    padding: Tensor | None  # bool [B, S], True at padding; None when nothing is padded


@dataclass
class _CachedBiases:
    """Cached biases of all layers. key: the grid, text length and weights they were made for."""

    key: tuple[Any, ...]
    biases: list[Callable[[], Tensor]] | None = None


class Encoder(nn.Module):
    """One pre-norm Transformer over ResNet patches and text symbols; positions enter as attention biases."""

    def __init__(self, config: NetworkConfig, embed_tokens: SymbolEmbedding) -> None:
        super().__init__()
        self.config = config
        width, heads, layers = config.encoder_embed_dim, config.encoder_attention_heads, config.encoder_layers
        self.padding_idx = embed_tokens.padding_idx
        self.embed_tokens = embed_tokens
        self.layernorm_embedding = nn.LayerNorm(width)
        self.type_embedding = nn.Embedding(2, width)  # row 0: text, row 1: image
        self.embed_images = ResNet(config)
        self.image_proj = Linear(self.embed_images.channels, width)
        self.patch_layernorm_embedding = nn.LayerNorm(width)
        self.embed_positions = nn.Embedding(config.max_source_positions + 2, width)
        self.embed_image_positions = nn.Embedding(config.image_bucket_size**2 + 1, width)
        self.pos_ln = nn.LayerNorm(width)
        self.image_pos_ln = nn.LayerNorm(width)
        self.pos_q_linear = Linear(width, width)
        self.pos_k_linear = Linear(width, width)
        self.position_scale = (width / heads * config.attn_scale_factor) ** -0.5
        rates = drop_path_rates(config.encoder_drop_path_rate, layers)
        self.layers = cast("list[EncoderLayer]", nn.ModuleList(EncoderLayer(config, rate) for rate in rates))
        self.layer_norm = nn.LayerNorm(width)
        token_rows, image_rows = 2 * config.token_bucket_size - 1, (2 * config.image_bucket_size - 1) ** 2 + 3
        tables = (nn.ModuleList(nn.Embedding(rows, heads) for _ in range(layers)) for rows in (token_rows, image_rows))
        self.token_rel_pos_table_list, self.image_rel_pos_table_list = (cast("list[nn.Embedding]", t) for t in tables)
        self._cached = _CachedBiases(())

    def train(self, mode: bool = True) -> "Encoder":
        """Training drops cached biases: some optimisers change weights without a new tensor version."""
        if mode:
            self._cached = _CachedBiases(())
        return super().train(mode)

    @torch.no_grad()
    def start_from_sinusoids(self) -> None:
        """Initialises position embeddings: text by position, patches by row (first half) and column (second)."""
        width, side = self.config.encoder_embed_dim, self.config.image_bucket_size
        texts, patches = self.embed_positions.weight, self.embed_image_positions.weight
        texts.copy_(SINUSOIDS * sinusoids(torch.arange(len(texts)), width, longest=len(texts)))
        line = sinusoids(torch.arange(side), width // 2, longest=side)
        rows, columns = line.repeat_interleave(side, dim=0), line.repeat(side, 1)
        patches[1:].copy_(SINUSOIDS * torch.cat([rows, columns], dim=1))

    def forward(
        self,
        src_tokens: Tensor,
        patch_images: Tensor | None = None,
        patch_masks: Tensor | None = None,
        patch_rows: Tensor | None = None,
        image_features: ImageFeatures | None = None,
    ) -> EncoderOutput:
        """src_tokens: int64 [B, T]; patch_images: [P, 3, h, w] or None; patch_masks: bool [B], False for no picture.

        patch_rows: int64 [B], the picture that each text is about; None: text i is about picture i. The backbone runs
        once for each picture. image_features: from `encode_image`, in place of patch_images.
        ValueError when the text or the grid is larger than the position tables.
        """
        length, grid = src_tokens.shape[1], (0, 0)
        if length > self.config.max_source_positions:
            limit = self.config.max_source_positions
            raise ValueError(f"{length} source symbols, but --max-source-positions is {limit}")
        text = self.embed_tokens(src_tokens) + self.type_embedding.weight[0]
        parts, padding = [self._dropout(self.layernorm_embedding(text))], [src_tokens.eq(self.padding_idx)]
        image_features = self.encode_image(patch_images) if patch_images is not None else image_features
        if image_features is not None:
            grid, patches = image_features.grid, image_features.patches
            parts.insert(0, self._dropout(patches if patch_rows is None else patches[patch_rows]))
            missing = ~patch_masks.bool() if patch_masks is not None else padding[0].new_zeros(len(text))
            padding.insert(0, missing.view(-1, 1).expand(-1, patches.shape[1]))
        return self._transform(torch.cat(parts, dim=1), torch.cat(padding, dim=1), grid, length)

    def encode_image(self, patch_images: Tensor) -> ImageFeatures:
        """Pictures [P, 3, h, w] -> their features, which do not depend on the question."""
        features = self.embed_images(patch_images)  # [P, C, h, w]
        patches = self.image_proj(features.flatten(2).transpose(1, 2)) + self.type_embedding.weight[1]
        return ImageFeatures(self.patch_layernorm_embedding(patches), tuple(features.shape[-2:]))

    def _dropout(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.config.dropout, self.training)

    def _transform(self, x: Tensor, padding: Tensor, grid: tuple[int, int], length: int) -> EncoderOutput:
        raw, positions = self._positions(grid, length)
        if self.config.entangle_position_embedding:
            x = x + raw
        mask = padding if bool(padding.any()) else None
        if mask is not None:
            x = x * ~mask[:, :, None]
        attn_mask = additive_mask(mask, x.dtype)
        again = self.config.checkpoint_activations and self.training
        run = partial(recomputed, _apply) if again else _apply
        for layer, make_bias in zip(self.layers, self._biases(grid, length), strict=True):
            x = run(layer, make_bias, x, attn_mask)
        return EncoderOutput(self.layer_norm(x), positions, mask)

    def _positions(self, grid: tuple[int, int], length: int) -> tuple[Tensor, Tensor]:
        """Position embeddings before and after their norms, each [1, S, D]."""
        table = self.embed_image_positions.weight
        patches = table[image_positions(*grid, self.config.image_bucket_size).to(table.device)]
        side = self.config.orig_patch_image_size // PATCH
        if self.config.interpolate_position and grid[0] * grid[1] > side**2:
            first = table[image_positions(side, side, self.config.image_bucket_size).to(table.device)]
            patches = interpolate_grid(first, *grid)
        text = self.embed_positions.weight[:length]
        normed = torch.cat([self.image_pos_ln(patches), self.pos_ln(text)])
        return torch.cat([patches, text])[None], normed[None]

    def _biases(self, grid: tuple[int, int], length: int) -> Iterable[Callable[[], Tensor]]:
        """A function for each layer that makes its bias [1, H, S, S], for a text of `length` symbols.

        Biases are large, so each is made when its layer runs, and again where layers are recomputed. Without gradients
        they are cached from the second call on, for a rounded-up length: shorter texts use the top left corner.
        """
        if torch.is_grad_enabled():
            return self._makers(grid, length)
        states = grid[0] * grid[1] + length
        longest = min(-(-length // LENGTHS) * LENGTHS, self.config.max_source_positions)
        tables = (p for name, p in self.named_parameters() if "pos" in name)
        key = (grid, longest, _autocast(self.embed_tokens.weight.device), *(_state_of(table) for table in tables))
        makers: Iterable[Callable[[], Tensor]] = self._makers(grid, longest)
        if self._cached.key != key:
            self._cached = _CachedBiases(key)
        else:
            makers = self._cached.biases = self._cached.biases or [partial(_made, make()) for make in makers]
        return (partial(_corner, make, states) for make in makers)

    def _makers(self, grid: tuple[int, int], length: int) -> Iterator[Callable[[], Tensor]]:
        """Absolute bias, shared by all layers, plus a layer's relative biases of image-image and text-text pairs."""
        _, positions = self._positions(grid, length)
        split = self.layers[0].self_attn.split
        q, k = split(self.pos_q_linear(positions) * self.position_scale), split(self.pos_k_linear(positions))
        absolute = q @ k.transpose(-1, -2)
        text = token_buckets(length, self.config.token_bucket_size).to(absolute.device)
        for of_text, of_image in zip(self.token_rel_pos_table_list, self.image_rel_pos_table_list, strict=True):
            image = (of_image.weight, grid, self.config.image_bucket_size)
            yield partial(_bias, absolute, image=image, text=(of_text.weight, text))


def _apply(layer: EncoderLayer, make_bias: Callable[[], Tensor], x: Tensor, attn_mask: Tensor | None) -> Tensor:
    return layer(x, make_bias(), attn_mask)


def _bias(absolute: Tensor, *, image: tuple[Tensor, tuple[int, int], int], text: tuple[Tensor, Tensor]) -> Tensor:
    return with_relative(absolute, image_bias(*image), bias_of(*text))


def _made(bias: Tensor) -> Tensor:
    """Holds one bias; caching the maker itself would keep the absolute bias alive, too."""
    return bias


def _corner(make_bias: Callable[[], Tensor], states: int) -> Tensor:
    return make_bias()[:, :, :states, :states]


def _autocast(device: torch.device) -> torch.dtype | None:
    """Autocast's dtype, None when it is off."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None


def _state_of(weight: Tensor) -> tuple[int, int]:
    """Changes when the weight is loaded, moved or changed in place; see `Encoder.train` for optimisers."""
    return (0 if weight.is_inference() else weight._version), weight.data_ptr()
