"""The image backbone: ResNet v1.5 up to stage 3, output stride 16 (docs/network.md, "Backbone")."""

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from ...utils.errors import CheckpointError, shown
from .config import NetworkConfig
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
        self, channels: int, planes: int, *, norm: Callable[[int], nn.Module], stride: int = 1, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, planes, 1, bias=False), norm(planes)
        self.conv2, self.bn2 = nn.Conv2d(planes, planes, 3, stride, padding=1, bias=False), norm(planes)
        self.conv3, self.bn3 = nn.Conv2d(planes, 4 * planes, 1, bias=False), norm(4 * planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Sequential | None = None
        if channels != 4 * planes:  # the first block of a stage
            convolution = nn.Conv2d(channels, 4 * planes, 1, stride, bias=False)
            self.downsample = nn.Sequential(convolution, norm(4 * planes))
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

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        kind, width = config.resnet_type, config.resnet_width
        if kind not in BLOCKS:
            raise CheckpointError(f"resnet_type {shown(kind)} is not one of {', '.join(BLOCKS)}")
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d
        if config.freeze_resnet:
            with torch.device("cpu"):  # the import computes with tensors, and a caller may build on `meta`
                from torchvision.ops import FrozenBatchNorm2d  # here: torchvision is slow to import
            norm = FrozenBatchNorm2d
        elif config.sync_bn:
            norm = partial(nn.SyncBatchNorm, momentum=0.1, eps=1e-3)
        self.channels, self.folded = 16 * width, False
        self.recompute = config.checkpoint_activations  # in training, keep only every few blocks' input
        self.conv1 = nn.Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = norm(width)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        channels = width
        for stage, blocks in enumerate(BLOCKS[kind]):
            planes = width * 2**stage
            # the first block never drops a path
            rates = drop_path_rates(config.resnet_drop_path_rate, blocks)[1:]
            layers = [Bottleneck(channels, planes, norm=norm, stride=min(stage + 1, 2))]
            layers += [Bottleneck(4 * planes, planes, norm=norm, drop_path=rate) for rate in rates]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
            channels = 4 * planes

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
