"""Products with weight matrices on a CPU.

`Linear` equals `nn.Linear`, and `linear` equals `F.linear`, to rounding; both may be replaced by them (with
`Linear.pack`, `Output` and their calls deleted).
"""

import platform
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ....utils.memory import page_out

PACKED = (torch.float32, torch.bfloat16)
FEW = 32  # rows; for fewer, oneDNN's product spends its time on reordering the weights


def packs(weight: Tensor) -> bool:
    """Whether oneDNN can store this weight in its own layout."""
    here = weight.device.type == "cpu" and weight.dtype in PACKED and torch.backends.mkldnn.is_available()
    return here and (weight.dtype != torch.bfloat16 or torch.ops.mkldnn._is_mkldnn_bf16_supported())


@cache
def mkl_is_slow() -> bool:
    """Whether torch's float32 products take twice as long as oneDNN's: MKL is made for Intel's CPUs."""
    info = Path("/proc/cpuinfo")
    named = info.read_text(encoding="utf-8", errors="replace") if info.is_file() else platform.processor()
    return torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available() and "AuthenticAMD" in named


class Linear(nn.Linear):
    """`nn.Linear` through `linear`; `pack` prepares it for answering only."""

    packed: Tensor | None = None

    def pack(self) -> None:
        """On a CPU, stores the weights in oneDNN's layout only, which it would otherwise make in each call.

        For 5 rows 1.6 times as fast in bfloat16, for 1000 rows 1.8 times.
        """
        if packs(self.weight):
            self.packed = torch.ops.mkldnn._reorder_linear_weight(self.weight.detach(), None)
            page_out(self.weight)
            self.register_parameter("weight", None)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        if self.packed is not None:
            return _product(x, self.packed, self.bias)
        return linear(x, self.weight, self.bias)


class Output:
    """Features -> logits over the rows of a weight [n, in] that changes no more, packed where that is possible."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, None) if packs(weight) else weight
        self.packed = packs(weight)

    def __call__(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., n]."""
        return _product(x, self.weight, None) if self.packed else F.linear(x, self.weight)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`: x [..., in], weight [out, in], bias [out] or None -> [..., out].

    Many float32 rows on a CPU of AMD's are multiplied by oneDNN, also backwards: twice as fast.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32 or not mkl_is_slow() or torch.compiler.is_compiling():
        return F.linear(x, weight, bias)
    if x.numel() < FEW * x.shape[-1] or torch.is_autocast_enabled("cpu"):
        return F.linear(x, weight, bias)
    return _Linear.apply(x, weight, bias)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """oneDNN's product, which has no gradient of its own."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        rows, needed = grad.flatten(0, -2), ctx.needs_input_grad
        of_x = _product(grad, weight.t(), None) if needed[0] else None
        of_weight = _product(rows.t(), x.flatten(0, -2).t(), None) if needed[1] else None
        return of_x, of_weight, rows.sum(0) if needed[2] else None
