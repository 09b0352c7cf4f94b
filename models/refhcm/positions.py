"""Relative position buckets, their biases, and image position interpolation (docs/network.md, "Positions").

The published buffers `token_rp_bucket`, `image_rp_bucket` and `image_position_idx` follow from the config. They are
computed here for the positions at hand and are not in the state dict.
"""

import math
from functools import lru_cache
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


def _sums(grad: Tensor, buckets: Tensor, rows: int) -> Tensor:
    """Gradient of a table [R, H], of its biases' [H, n, m]: torch's own backward pass takes eight times as long."""
    dtype = grad.dtype
    if grad.device.type != "cpu":  # a GPU would add up thousands of values in half precision
        grad = grad.float()
    sums = grad.new_zeros(len(grad), rows).index_add_(1, buckets.flatten(), grad.flatten(1))
    return sums.t().to(dtype)


class _BiasOf(torch.autograd.Function):
    """`table.t()[:, buckets]`, and may be replaced by it."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, buckets: Tensor) -> Tensor:
        ctx.save_for_backward(buckets)
        ctx.rows = len(table)
        return table.t()[:, buckets]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (buckets,) = ctx.saved_tensors
        return _sums(grad, buckets, ctx.rows), None


def bias_of(table: Tensor, buckets: Tensor) -> Tensor:
    """Relative bias of each head: table [R, H], buckets [n, m] -> [H, n, m]."""
    return _BiasOf.apply(table, buckets)


class _ImageBias(torch.autograd.Function):
    """Two patches' bias depends on their distance only, so that rows of a small table are copied, not single values."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, grid: tuple[int, int], bucket_size: int) -> Tensor:
        ctx.rows, ctx.grid, ctx.bucket_size = len(table), grid, bucket_size
        (height, width), side = grid, 2 * bucket_size - 1
        if height * width == 0:
            return table.new_empty(table.shape[1], 0, 0)
        near = [slice(bucket_size - length, bucket_size - 1 + length) for length in grid]
        distances = table[: side**2].t().reshape(-1, side, side)[:, near[0], near[1]]  # [H, 2 h - 1, 2 w - 1]
        # Both turned around: from -(k - i) to k - i, the row of the key minus that of the query.
        columns = distances.flip(1, 2).unfold(2, width, 1).flip(2)  # [H, 2 h - 1, w, w], of each query's column
        columns = columns.transpose(1, 2).contiguous()
        rows = [columns[:, :, height - 1 - i : 2 * height - 1 - i].flatten(2) for i in range(height)]
        return torch.stack(rows, dim=1).flatten(1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _sums(grad, _grid_buckets(ctx.grid, ctx.bucket_size, grad.device), ctx.rows), None, None


@lru_cache(maxsize=4)
def _grid_buckets(grid: tuple[int, int], bucket_size: int, device: torch.device) -> Tensor:
    return image_buckets(image_positions(*grid, bucket_size), bucket_size).to(device)


def image_bias(table: Tensor, grid: tuple[int, int], bucket_size: int) -> Tensor:
    """`bias_of(table, image_buckets(...))` for all pairs of patches of a grid (h, w): [R, H] -> [H, h * w, h * w]."""
    return _ImageBias.apply(table, grid, bucket_size)


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
