"""Stochastic depth: whole samples skip a branch in training (`--encoder-drop-path-rate` and the like)."""

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """Drops a sample's branch [B, ...] with this probability in training, and scales up those that stay."""

    def __init__(self, drop_prob: float) -> None:
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x: Tensor) -> Tensor:
        """x itself in evaluation mode."""
        if not (self.training and self.drop_prob):
            return x
        from timm.layers.drop import drop_path  # here: answering needs no timm, which is slow to import

        return drop_path(x, self.drop_prob, training=True)


def drop_path_rates(highest: float, blocks: int) -> list[float]:
    """The rate of each block, rising linearly from 0."""
    return torch.linspace(0, highest, blocks, device="cpu").tolist()
