"""The image backbone: ResNet v1.5 up to stage 3, output stride 16 (docs/network.md, "Backbone")."""

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from ...utils.errors import CheckpointError
from .cpu.folded import FoldedBlock, FoldedConv
from .drop_path import DropPath, drop_path_rates
from .recompute import recomputed_blocks

BLOCKS = {
    "resnet18": (2, 2, 2),
    "resnet34": (3, 4, 6),
    "resnet50": (3, 4, 6),
    "resnet101": (3, 4, 23),
    "resnet152": (3, 8, 36),
}
TOGETHER = 3  # blocks recomputed at once: fewer keep more inputs, more need more memory while they are recomputed


class Bottleneck(nn.Module):
    """1 x 1 to fewer channels, 3 x 3 with the stride, 1 x 1 to four times as many; stochastic depth."""

    def __init__(
        self,
        channels: int,
        planes: int,
        *,
        norm: Callable[[int], nn.Module],
        stride: int = 1,
        downsample: nn.Sequential | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, planes, 1, bias=False), norm(planes)
        self.conv2, self.bn2 = nn.Conv2d(planes, planes, 3, stride, padding=1, bias=False), norm(planes)
        self.conv3, self.bn3 = nn.Conv2d(planes, 4 * planes, 1, bias=False), norm(4 * planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, 4 * planes, h / stride, w / stride]."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.drop_path(self.bn3(self.conv3(out)))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))

    def folded(self) -> FoldedBlock:
        """The same block for answering."""
        return FoldedBlock(
            FoldedConv(self.conv1, self.bn1, relu=True),
            FoldedConv(self.conv2, self.bn2, relu=True),
            FoldedConv(self.conv3, self.bn3, relu=True),
            None if self.downsample is None else FoldedConv(*self.downsample, relu=False),
        )


class ResNet(nn.Module):
    """[B, 3, h, w] -> [B, 16 * width, h / 16, w / 16]."""

    conv1: nn.Conv2d | FoldedConv
    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential

    def __init__(
        self,
        kind: str,
        *,
        width: int = 64,
        drop_path_rate: float = 0.0,
        frozen: bool = False,
        sync: bool = False,
        recompute: bool = False,
    ) -> None:
        """frozen, sync: the kind of batch norm; recompute: in training, keep only every few blocks' input."""
        super().__init__()
        if kind not in BLOCKS:
            raise CheckpointError(f"resnet_type {kind!r} is not one of {', '.join(BLOCKS)}")
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d
        if frozen:
            from torchvision.ops import FrozenBatchNorm2d  # here: torchvision is slow to import

            norm = FrozenBatchNorm2d
        elif sync:
            norm = partial(nn.SyncBatchNorm, momentum=0.1, eps=1e-3)
        self.channels, self.folded, self.recompute = 16 * width, False, recompute
        self.conv1 = nn.Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = norm(width)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        channels = width
        for stage, blocks in enumerate(BLOCKS[kind]):
            planes = width * 2**stage
            layer = self._stage(channels, planes, blocks, norm=norm, stride=min(stage + 1, 2), drop_path=drop_path_rate)
            self.add_module(f"layer{stage + 1}", layer)
            channels = 4 * planes

    @staticmethod
    def _stage(
        channels: int, planes: int, blocks: int, *, norm: Callable[[int], nn.Module], stride: int, drop_path: float
    ) -> nn.Sequential:
        rates = drop_path_rates(drop_path, blocks)  # the first block never drops
        downsample = nn.Sequential(nn.Conv2d(channels, 4 * planes, 1, stride, bias=False), norm(4 * planes))
        layers = [Bottleneck(channels, planes, norm=norm, stride=stride, downsample=downsample)]
        layers += [Bottleneck(4 * planes, planes, norm=norm, drop_path=rate) for rate in rates[1:]]
        return nn.Sequential(*layers)

    @torch.no_grad()
    def fold(self) -> None:
        """For answering only: folds each batch norm into the convolution before it. It cannot be undone."""
        self.eval()
        self.conv1 = FoldedConv(cast(nn.Conv2d, self.conv1), self.bn1, relu=True)
        del self.bn1
        for stage in (self.layer1, self.layer2, self.layer3):
            for i, block in enumerate(stage):
                stage[i] = cast(Bottleneck, block).folded()
        self.folded = True

    def forward(self, x: Tensor) -> Tensor:
        """Features of the third stage.

        Channels last is faster (1.6 times in half precision on a CPU). Training in float32 keeps torch's default
        layout, and so the order of sums behind the published numbers.
        """
        if self.folded or x.dtype != torch.float32 or torch.is_autocast_enabled(x.device.type):
            x = x.contiguous(memory_format=torch.channels_last)
        x = self.conv1(x)
        x = self.maxpool(x if self.folded else torch.relu(self.bn1(x)))
        for stage in (self.layer1, self.layer2, self.layer3):
            if self.recompute and self.training:
                for start in range(0, len(stage), TOGETHER):
                    x = recomputed_blocks(stage[start : start + TOGETHER], x)
            else:
                x = stage(x)
        return x
