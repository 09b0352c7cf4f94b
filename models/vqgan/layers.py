"""Encoder and decoder of the VQGAN; parameter names are those of the checkpoint (docs/tokenizer.md)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import VQConfig


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(num_groups=32, num_channels=channels, eps=1e-6)


def _conv3(channels_in: int, channels_out: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1)


class ResnetBlock(nn.Module):
    """Two normalised 3x3 convolutions, with a residual."""

    def __init__(self, channels_in: int, channels_out: int, *, dropout: float) -> None:
        super().__init__()
        self.norm1 = _norm(channels_in)
        self.conv1 = _conv3(channels_in, channels_out)
        self.norm2 = _norm(channels_out)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = _conv3(channels_out, channels_out)
        same = channels_in == channels_out
        self.nin_shortcut = nn.Identity() if same else nn.Conv2d(channels_in, channels_out, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C', h, w]."""
        branch = self.conv1(F.silu(self.norm1(x)))
        branch = self.conv2(self.dropout(F.silu(self.norm2(branch))))
        return self.nin_shortcut(x) + branch


class AttentionBlock(nn.Module):
    """Single-head self-attention over the h * w positions, with a residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, kernel_size=1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C, h, w]."""
        normed = self.norm(x)
        q, k, v = (conv(normed).flatten(2).transpose(1, 2) for conv in (self.q, self.k, self.v))  # [B, h*w, C]
        mixed = F.scaled_dot_product_attention(q, k, v)
        return x + self.proj_out(mixed.transpose(1, 2).reshape(x.shape))


class Downsample(nn.Module):
    """Halves the sides: a 3x3 convolution of stride 2, padded on the right and at the bottom only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel_size=3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C, h/2, w/2]."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Doubles the sides by nearest neighbour, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = _conv3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C, 2h, 2w]."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class _Level(nn.Module):
    """One resolution: blocks, each followed by attention if the level attends, then a resize if set."""

    def __init__(self, config: VQConfig, index: int, channels_in: int, *, num_blocks: int) -> None:
        super().__init__()
        width, attends = config.widths[index], config.attends(index)
        channels = [channels_in] + [width] * (num_blocks - 1)
        self.block = nn.ModuleList(ResnetBlock(c, width, dropout=config.dropout) for c in channels)
        self.attn = nn.ModuleList(AttentionBlock(width) if attends else nn.Identity() for _ in channels)
        self.downsample: nn.Module = nn.Identity()
        self.upsample: nn.Module = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C', h', w'] with h' = h, h/2 or 2h."""
        for block, attn in zip(self.block, self.attn, strict=True):
            x = attn(block(x))
        return self.upsample(self.downsample(x))


class _Middle(nn.Module):
    def __init__(self, channels: int, *, dropout: float) -> None:
        super().__init__()
        self.block_1 = ResnetBlock(channels, channels, dropout=dropout)
        self.attn_1 = AttentionBlock(channels)
        self.block_2 = ResnetBlock(channels, channels, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


class Encoder(nn.Module):
    """One-hot maps [B, in_channels, H, W] -> latents [B, z_channels, H / 2^(L-1), W / 2^(L-1)], L levels."""

    def __init__(self, config: VQConfig) -> None:
        super().__init__()
        self.conv_in = _conv3(config.in_channels, config.ch)
        self.down = nn.ModuleList()
        channels = config.ch
        for index, width in enumerate(config.widths):
            level = _Level(config, index, channels, num_blocks=config.num_res_blocks)
            if index < len(config.widths) - 1:
                level.downsample = Downsample(width)
            self.down.append(level)
            channels = width
        self.mid = _Middle(channels, dropout=config.dropout)
        self.norm_out = _norm(channels)
        self.conv_out = _conv3(channels, config.z_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] -> [B, z_channels, h, w]."""
        x = self.conv_in(x)
        for level in self.down:
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class Decoder(nn.Module):
    """Latents [B, z_channels, h, w] -> class logits [B, out_ch, h * 2^(L-1), w * 2^(L-1)], L levels."""

    def __init__(self, config: VQConfig) -> None:
        super().__init__()
        channels = config.widths[-1]
        self.conv_in = _conv3(config.z_channels, channels)
        self.mid = _Middle(channels, dropout=config.dropout)
        levels = []
        for index, width in reversed(list(enumerate(config.widths))):
            level = _Level(config, index, channels, num_blocks=config.num_res_blocks + 1)
            if index > 0:
                level.upsample = Upsample(width)
            levels.append(level)
            channels = width
        self.up = nn.ModuleList(reversed(levels))  # up.0 is the finest level, and runs last
        self.norm_out = _norm(channels)
        self.conv_out = _conv3(channels, config.out_ch)

    def forward(self, z: Tensor) -> Tensor:
        """[B, z_channels, h, w] -> [B, out_ch, H, W]."""
        x = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(x)))


def nearest_codes(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Row of the codebook [K, D] nearest to each vector [N, D] by squared distance, int64 [N]."""
    vectors, codebook = vectors.float(), codebook.float()  # half precision cannot tell close codes apart
    distances = codebook.pow(2).sum(1) - 2 * vectors @ codebook.T  # without |vector|^2, which is the same for all codes
    return torch.argmin(distances, dim=1)
