"""Search for the boxes of several people (docs/generation.md, "Settings")."""

import math
from typing import Any

import torch
from torch import Tensor

from ..utils.symbols import BOX_SYMBOLS
from .generation import SequenceGenerator

ENDS_FROM = 0.375  # probability of eos from which on no further box is written


class BoxesGenerator(SequenceGenerator):
    """Writes whole boxes, and ends before a box where eos is probable enough.

    A coordinate's probability is spread over neighbouring bins. Compared with one bin at a time, eos would win too
    often; here it is compared with all of them together.
    """

    def _restrict(self, scores: Tensor, *args: Any, step: int, last: bool, **kwargs: Any) -> Tensor:
        ends = scores[..., self.eos] >= math.log(ENDS_FROM)  # [A, K]
        scores = super()._restrict(scores, *args, step=step, last=last, **kwargs)
        if last:
            return scores
        may_end = step % BOX_SYMBOLS == 0
        ends = ends & (scores[..., self.eos] > -torch.inf) & may_end
        is_eos = torch.arange(scores.shape[-1], device=scores.device) == self.eos
        return scores.masked_fill(torch.where(is_eos, ~ends[..., None], ends[..., None]), -torch.inf)
