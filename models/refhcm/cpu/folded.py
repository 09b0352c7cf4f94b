"""The backbone for answering: batch norm, addition and ReLU inside the convolution.

Equals `relu(norm(conv(x)) + other)` in evaluation mode, to rounding. It may be deleted together with `ResNet.fold`: the
backbone then runs unfolded, and answers take longer.
"""

import copy
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ....utils.memory import page_out
from .linear import packs


class FoldedConv(nn.Module):
    """relu(norm(conv(x)) + other), each of the last two steps optional. On a CPU oneDNN does it in one pass."""

    def __init__(self, conv: nn.Conv2d, norm: nn.Module, *, relu: bool) -> None:
        super().__init__()
        # In float32: half precision would round three times.
        exact = copy.deepcopy(conv).float().eval(), cast(nn.BatchNorm2d, copy.deepcopy(norm).float().eval())
        fused = fuse_conv_bn_eval(*exact).to(conv.weight.dtype)
        page_out(conv.weight)
        self.relu, self.stride, self.padding = relu, cast("tuple[int, int]", conv.stride), conv.padding
        self.bias = cast(Tensor, fused.bias).detach()
        weight = fused.weight.detach().contiguous(memory_format=torch.channels_last)
        self.packed = packs(weight)
        wider = conv.kernel_size == (1, 1) and conv.out_channels > conv.in_channels
        self.widens = self.packed and wider and weight.dtype == torch.bfloat16
        if self.widens:
            weight = torch.ops.mkldnn._reorder_linear_weight(weight.flatten(1), None)
        elif self.packed:
            weight = torch.ops.mkldnn._reorder_convolution_weight(weight, self.padding, self.stride, (1, 1), 1)
        self.weight = weight

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """x: [B, C, h, w] -> [B, C', h', w'], channels last. `other`, of the result's shape, is overwritten."""
        if self.widens:
            return self._widened(x, other)
        if not self.packed:
            out = F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
            out = out if other is None else out.add_(other)
            return out.relu_() if self.relu else out
        conv = (x, self.weight, self.bias, self.padding, self.stride, (1, 1), 1)
        if other is None:
            return torch.ops.mkldnn._convolution_pointwise(*conv, "relu" if self.relu else "none", [], "")
        relu = "relu" if self.relu else None
        return torch.ops.mkldnn._convolution_pointwise_.binary(other, *conv, "add", 1.0, relu, [], None)

    def _widened(self, x: Tensor, other: Tensor | None) -> Tensor:
        """1 x 1 to more channels as a matrix product: up to ten times as fast in bfloat16 on a CPU without AMX."""
        rows = x[..., :: self.stride[0], :: self.stride[1]].permute(0, 2, 3, 1)
        if other is None:
            out = torch.ops.mkldnn._linear_pointwise(rows, self.weight, self.bias, "none", [], "")
        else:
            others = other.permute(0, 2, 3, 1)
            out = torch.ops.mkldnn._linear_pointwise.binary(rows, others, self.weight, self.bias, "add")
        return (out.relu_() if self.relu else out).permute(0, 3, 1, 2)


class FoldedBlock(nn.Module):
    """A `Bottleneck` of folded convolutions."""

    def __init__(self, conv1: FoldedConv, conv2: FoldedConv, conv3: FoldedConv, downsample: FoldedConv | None) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3, self.downsample = conv1, conv2, conv3, downsample

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C', h', w']. x is overwritten unless the shape changes."""
        out = self.conv2(self.conv1(x))
        return self.conv3(out, x if self.downsample is None else self.downsample(x))
