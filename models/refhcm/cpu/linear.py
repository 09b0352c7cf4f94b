"""A linear layer that is bound by reading its weights when few rows go through it, as in decoding."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....utils.memory import page_out

FEW = range(3, 17)  # rows for which a float32 product on a CPU spends more on packing the weights than on reading them
PACKED = (torch.float32, torch.bfloat16)
BLOCK = 32  # rows of the weights that are multiplied at once


def packs(weight: Tensor) -> bool:
    """Whether oneDNN can keep this weight in an order of its own."""
    here = weight.device.type == "cpu" and weight.dtype in PACKED and torch.backends.mkldnn.is_available()
    return here and (weight.dtype != torch.bfloat16 or torch.ops.mkldnn._is_mkldnn_bf16_supported())


class Linear(nn.Linear):
    """torch's layer; see `linear`, and `pack` for one that only answers."""

    packed: Tensor | None = None

    def pack(self) -> None:
        """On a CPU: keeps the weights in oneDNN's own order only, which it would make anew in each call.

        For 5 rows 1.6 times as fast in bfloat16 and 1.15 times in float32; for 1000 rows 1.8 and 0.95 times.
        """
        if packs(self.weight):
            self.packed = torch.ops.mkldnn._reorder_linear_weight(self.weight.detach(), None)
            page_out(self.weight)
            self.weight = None

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        if self.packed is not None:
            return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`: x [..., in], weight [out, in], bias [out] or None -> [..., out].

    Few float32 rows on a CPU are multiplied with blocks of the weights, which torch does not pack: 1.5 times as fast.
    """
    rows = x.numel() // x.shape[-1]
    if x.dtype != torch.float32 or x.device.type != "cpu" or rows not in FEW or torch.is_grad_enabled():
        return F.linear(x, weight, bias)
    flat, whole = x.reshape(rows, -1), len(weight) // BLOCK * BLOCK
    blocks = weight[:whole].view(-1, BLOCK, weight.shape[1]).transpose(1, 2)  # [N, in, BLOCK]
    out = flat.new_empty(rows, len(weight))
    out[:, :whole].view(rows, -1, BLOCK).copy_(torch.bmm(flat.expand(len(blocks), -1, -1), blocks).transpose(0, 1))
    if whole < len(weight):
        out[:, whole:] = F.linear(flat, weight[whole:])
    out = out if bias is None else out.add_(bias)
    return out.view(*x.shape[:-1], len(weight))
