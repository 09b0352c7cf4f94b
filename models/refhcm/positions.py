"""Relative position buckets, their biases, and image position interpolation (docs/network.md, "Positions").

The published buffers `token_rp_bucket`, `image_rp_bucket` and `image_position_idx` follow from the config. They are
computed here for the positions at hand and are not in the state dict.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

TOKEN_POSITIONS = 1024  # where the logarithmic buckets end, whatever the bucket size


def token_buckets(length: int, bucket_size: int) -> Tensor:
    """Bucket of each pair of text positions, int64 [length, length] in 0 .. 2 * bucket_size - 2."""
    position = torch.arange(length)
    relative = position[:, None] - position[None, :]  # [T, T]
    middle = bucket_size // 2
    distance = torch.where(relative.abs() < middle, middle - 1, relative.abs())
    logarithm = torch.log(distance / middle) / math.log((TOKEN_POSITIONS - 1) / middle) * (middle - 1)
    far = (torch.ceil(logarithm) + middle).long() * relative.sign()
    return torch.where(distance <= middle, relative, far) + bucket_size - 1


def image_positions(height: int, width: int, bucket_size: int) -> Tensor:
    """Row of `embed_image_positions` of each patch of a grid, int64 [height * width], row-major.

    ValueError when a side of the grid has more than `bucket_size` patches.
    """
    if max(height, width) > bucket_size:
        raise ValueError(
            f"a grid of {height} x {width} patches needs --image-bucket-size {max(height, width)}, not {bucket_size}"
        )
    return (torch.arange(height)[:, None] * bucket_size + torch.arange(width) + 1).flatten()


def image_buckets(positions: Tensor, bucket_size: int) -> Tensor:
    """Bucket of each pair of image positions, int64 [P, P].

    positions: [P], as from `image_positions`; pairs with 0, OFA's "no position" token, have the last three buckets.
    """
    side = 2 * bucket_size - 1
    row, column = (positions - 1) // bucket_size, (positions - 1) % bucket_size
    buckets = (row[:, None] - row + bucket_size - 1) * side + column[:, None] - column + bucket_size - 1
    none = positions == 0
    buckets = torch.where(none[:, None], side * side, buckets)
    buckets = torch.where(none[None, :], side * side + 1, buckets)
    return torch.where(none[:, None] & none[None, :], side * side + 2, buckets)


def sinusoids(positions: Tensor, width: int, *, longest: float) -> Tensor:
    """Sines and cosines of positions [N], wavelengths 2 pi to 2 pi * longest: float32 [N, width]."""
    waves = longest ** torch.linspace(0, 1, width // 2)
    angles = positions[:, None] / waves
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def interpolate_grid(embeddings: Tensor, height: int, width: int) -> Tensor:
    """Image position interpolation: embeddings of a square grid [N, D], resized bilinearly -> [height * width, D]."""
    side = math.isqrt(len(embeddings))
    grid = embeddings.t().reshape(1, -1, side, side)
    return F.interpolate(grid, size=(height, width), mode="bilinear").flatten(2)[0].t()


def additive_mask(padding: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """bool [B, S], True at padding -> [B, 1, 1, S], 0 or -inf (padding), to be added to attention scores."""
    if padding is None:
        return None
    return torch.zeros_like(padding, dtype=dtype).masked_fill(padding, -torch.inf)[:, None, None, :]


class _BiasOf(torch.autograd.Function):
    """`table.t()[:, buckets]`, and may be replaced by it: torch's own backward pass takes eight times as long."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, buckets: Tensor) -> Tensor:
        ctx.save_for_backward(buckets)
        ctx.rows = len(table)
        return table.t()[:, buckets]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (buckets,), dtype = ctx.saved_tensors, grad.dtype
        if grad.device.type != "cpu":  # a GPU would add up thousands of values in half precision
            grad = grad.float()
        sums = grad.new_zeros(len(grad), ctx.rows).index_add_(1, buckets.flatten(), grad.flatten(1))
        return sums.t().to(dtype), None


def bias_of(table: Tensor, buckets: Tensor) -> Tensor:
    """Relative bias of each head: table [R, H], buckets [n, m] -> [H, n, m]."""
    return _BiasOf.apply(table, buckets)


class _WithRelative(torch.autograd.Function):
    """Plain sums of padded biases give the same; here the backward pass copies nothing."""

    @staticmethod
    def forward(ctx: Any, absolute: Tensor, image: Tensor, text: Tensor) -> Tensor:
        ctx.patches = image.shape[-1]
        bias = absolute.clone()
        bias[:, :, ctx.patches :, ctx.patches :] += text
        bias[:, :, : ctx.patches, : ctx.patches] += image
        return bias

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return grad, grad[0, :, : ctx.patches, : ctx.patches], grad[0, :, ctx.patches :, ctx.patches :]


def with_relative(absolute: Tensor, image: Tensor, text: Tensor) -> Tensor:
    """The absolute bias [1, H, P + T, P + T] plus those of image pairs [H, P, P] and text pairs [H, T, T]."""
    return _WithRelative.apply(absolute, image, text)
