"""Linear layers for few rows, as in decoding, where reading the weights takes the time.

`Linear` equals `nn.Linear`, and `linear` equals `F.linear`, to rounding; both may be replaced by them (with
`Linear.pack` and its call in `Network.for_answers` deleted).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....utils.memory import page_out

FEW = range(3, 17)  # rows for which MKL's float32 product spends more time on packing the weights than on reading them
PACKED = (torch.float32, torch.bfloat16)
BLOCK = 32  # rows of the weights multiplied at once


def packs(weight: Tensor) -> bool:
    """Whether oneDNN can store this weight in its own layout."""
    here = weight.device.type == "cpu" and weight.dtype in PACKED and torch.backends.mkldnn.is_available()
    return here and (weight.dtype != torch.bfloat16 or torch.ops.mkldnn._is_mkldnn_bf16_supported())


class Linear(nn.Linear):
    """`nn.Linear` through `linear`; `pack` prepares it for answering only."""

    packed: Tensor | None = None

    def pack(self) -> None:
        """On a CPU, stores the weights in oneDNN's layout only, which it would otherwise make in each call.

        For 5 rows 1.6 times as fast in bfloat16 and 1.15 times in float32; for 1000 rows 1.8 and 0.95 times.
        """
        if packs(self.weight):
            self.packed = torch.ops.mkldnn._reorder_linear_weight(self.weight.detach(), None)
            page_out(self.weight)
            self.register_parameter("weight", None)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        if self.packed is not None:
            return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`: x [..., in], weight [out, in], bias [out] or None -> [..., out].

    A few float32 rows on a CPU are multiplied block by block, which avoids packing the weights: 1.5 times as fast.
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
