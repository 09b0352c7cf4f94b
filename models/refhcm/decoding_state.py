"""What decoding carries from step to step (docs/generation.md)."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


class KeyValueCache:
    """Keys and values of the positions decoded so far, in buffers allocated once: [rows, H, capacity, d]."""

    def __init__(self, like: Tensor, capacity: int, *, rows: int) -> None:
        """like: keys [B, H, S, d] with this cache's heads, width and dtype."""
        shape = (rows, like.shape[1], capacity, like.shape[3])
        self.keys, self.values = like.new_empty(shape), like.new_empty(shape)
        self.length = 0

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Adds [rows, H, n, d] and returns all so far, [rows, H, length, d]."""
        start, self.length = self.length, self.length + keys.shape[2]
        self.keys[:, :, start : self.length] = keys
        self.values[:, :, start : self.length] = values
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def select(self, rows: Tensor) -> None:
        """Row i becomes the former row `rows[i]`; there may be fewer rows than before."""
        for buffer in (self.keys, self.values):
            buffer[: len(rows), :, : self.length] = buffer[:, :, : self.length].index_select(0, rows)
        self.keys, self.values = self.keys[: len(rows)], self.values[: len(rows)]


@dataclass
class DecodingState:
    """Everything that decoding carries from step to step; lists have one entry per layer."""

    memory: list[tuple[Tensor, Tensor]]  # keys and values of the encoder's states, each [B, H, S, d]
    self_bias: list[Tensor]  # [1, H, T, T]
    cross_bias: Tensor  # [1, H, T, S]
    attn_mask: Tensor | None  # of the encoder's states, additive [B, 1, 1, S]
    caches: list[KeyValueCache]  # keys and values of the positions so far, [B * beams, H, T, d]
    length: int = 0
    shrinks: bool = True  # whether `keep` can be called

    def reorder(self, rows: Tensor) -> None:
        """Beam i continues the former beam `rows[i]`."""
        if rows.device.type == "cpu" and torch.equal(rows, torch.arange(len(self.caches[0].keys))):
            return  # all stay where they are; a GPU would have to wait for this to be known
        for cache in self.caches:
            cache.select(rows)

    def keep(self, samples: Tensor) -> "DecodingState":
        """The state of these samples only; call `reorder` next, which does the same to the caches."""
        memory = [(keys[samples], values[samples]) for keys, values in self.memory]
        return replace(self, memory=memory, attn_mask=None if self.attn_mask is None else self.attn_mask[samples])
