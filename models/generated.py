"""What the network wrote, and how probable the alternatives were at each step (docs/confidence.md).

An answer may hold tensors or, without torch, arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Generated:
    """What the network wrote: ids with eos, int64 [T], the answer's score, and each symbol's log-probability.

    Probabilities are over the symbols that could be chosen. distributions: those of `Task.kept_symbols` at each step,
    whichever was chosen; None unless they were asked for.
    """

    ids: Tensor | np.ndarray
    score: float = 0.0
    log_probs: Tensor | np.ndarray | None = None  # float32 [T]
    distributions: Tensor | np.ndarray | None = None  # float32 [T, C], logarithms; -inf for what could not be chosen

    @classmethod
    def of(cls, hypothesis: Mapping[str, Any]) -> Generated:
        """A hypothesis of `SequenceGenerator`, on the CPU."""
        kept = hypothesis.get("distributions")
        tokens, steps = hypothesis["tokens"].cpu(), hypothesis["positional_scores"].cpu()
        return cls(tokens, float(hypothesis["score"]), steps, None if kept is None else kept.cpu())


class History:
    """The log-probabilities of some symbols at each step of a search, before a step's own restrictions."""

    def __init__(self, kept: Tensor, lookup: Tensor | None) -> None:
        """kept: ids [C]. lookup: the column of each id among the scores, one too large if there is none; None: ids."""
        self._columns = kept if lookup is None else lookup[kept]
        self._steps: list[Tensor] = []  # each [A * K, C]

    def add(self, scores: Tensor) -> None:
        """The next step's log-probabilities, [A * K, n]."""
        last = scores.shape[-1] - 1
        kept = scores[:, self._columns.clamp(max=last)]
        self._steps.append(kept.masked_fill_(self._columns > last, -np.inf))

    def give(self, hypotheses: Sequence[dict[str, Any]]) -> None:
        """Gives each hypothesis its `distributions`, float32 [T, C]: what its beam saw at each step."""
        if not hypotheses:
            return
        import torch
        from torch.nn.utils.rnn import pad_sequence

        origins = pad_sequence([one["origins"] for one in hypotheses])  # [T, N]
        found = torch.stack(
            [step[rows] for step, rows in zip(self._steps[: len(origins)], origins, strict=True)], dim=1
        )
        for one, distributions in zip(hypotheses, found, strict=True):
            one["distributions"] = distributions[: len(one["tokens"])]
