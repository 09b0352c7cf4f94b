"""Stochastic depth. Only training needs timm for it: with timm come 170 MB of modules and two seconds of imports."""

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """timm's: a sample's branch [B, ...] is left out with this probability, and the others grow to make up for it."""

    def __init__(self, drop_prob: float) -> None:
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x: Tensor) -> Tensor:
        """x in evaluation mode."""
        if not (self.training and self.drop_prob):
            return x
        from timm.layers import drop_path

        return drop_path(x, self.drop_prob, training=True)


def drop_path_rates(highest: float, blocks: int) -> list[float]:
    """Of each block: in equal steps from 0."""
    return torch.linspace(0, highest, blocks, device="cpu").tolist()
