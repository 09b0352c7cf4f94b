"""The answers of a beam search, kept on the network's device: no step waits for the CPU (docs/generation.md)."""

from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor


class _Choice(NamedTuple):
    """What each unfinished answer chose at a step; row r belongs to beam r % K of the samples then in the search."""

    parents: Tensor  # int64 [A * K], the row of the step before that it continues
    symbols: Tensor  # int64 [A * K]
    totals: Tensor  # float32 [A * K], cumulative log-probabilities


class Beams:
    """The K unfinished answers of each of A samples, and up to K finished ones of each of all samples."""

    def __init__(self, count: int, beam: int, device: torch.device, *, bos: int, eos: int) -> None:
        """count: samples of the batch."""
        self.beam, self.eos = beam, eos
        self.samples = torch.arange(count, device=device)  # int64 [A], rows of the batch
        self.tokens = torch.full((count, beam, 1), bos, device=device)  # int64 [A, K, n], from bos on
        self.totals = torch.zeros(count, beam, device=device)
        self._choices: list[_Choice] = []
        # One more column takes what is not kept.
        empty = torch.zeros(count, beam + 1, dtype=torch.int64, device=device)
        self._steps, self._rows, self._scores = empty, empty.clone(), empty.to(torch.float32)
        self._counts = empty[:, 0].clone()

    def finish(self, best: Tensor, origin: Tensor, ends: Tensor) -> None:
        """Keeps the candidates that end, in their order, until a sample has K answers.

        best, origin, ends: float32, int64 and bool [A, K]: totals, the beams they continue, and whether they end.
        """
        place = self._counts[self.samples, None] + ends.cumsum(1) - 1
        place = place.masked_fill(~ends, self.beam).clamp(max=self.beam)
        at = self.samples[:, None], place
        self._steps[at] = len(self._choices)
        self._rows[at] = torch.arange(len(best), device=best.device)[:, None] * self.beam + origin
        self._scores[at] = best
        self._counts[self.samples] = (self._counts[self.samples] + ends.sum(1)).clamp(max=self.beam)

    def unfinished(self) -> Tensor:
        """bool [A]: the samples with fewer than K answers."""
        return self._counts[self.samples] < self.beam

    def advance(self, best: Tensor, origin: Tensor, symbol: Tensor) -> Tensor:
        """The beams become these candidates, each [A, K]. Returns the row that each continues, int64 [A * K]."""
        sample = torch.arange(len(best), device=best.device)[:, None]
        self.tokens = torch.cat([self.tokens[sample, origin], symbol[..., None]], dim=-1)
        self.totals = best
        parents = (sample * self.beam + origin).flatten()
        self._choices.append(_Choice(parents, symbol.flatten(), best.flatten()))
        return parents

    def keep(self, rows: Tensor) -> Tensor:
        """Only these of the A samples go on. Returns their rows of the step before, int64 [A' * K]."""
        self.samples, self.tokens, self.totals = self.samples[rows], self.tokens[rows], self.totals[rows]
        kept = _Choice(*(values.view(-1, self.beam)[rows].flatten() for values in self._choices[-1]))
        self._choices[-1] = kept
        return kept.parents

    def answers(self, length_penalty: float) -> list[list[dict[str, Any]]]:
        """fairseq's hypotheses of each sample, best first, on the CPU; `origins`: the row of each of its symbols."""
        counts = self._counts.cpu()
        finished = torch.arange(self.beam) < counts[:, None]  # [count, K]
        steps, rows, scores = (found.cpu()[:, :-1][finished] for found in (self._steps, self._rows, self._scores))
        tokens, totals, origins = self._ways(steps, rows)
        empty, found = torch.empty(0), []
        for k, (step, total) in enumerate(zip(steps.tolist(), scores, strict=True)):
            of_symbols = torch.cat([totals.new_zeros(1), totals[k, :step], total[None]])
            hypothesis = {
                "tokens": torch.cat([tokens[k, :step], tokens.new_tensor([self.eos])]),
                "score": total / (step + 1) ** length_penalty,
                "positional_scores": of_symbols.diff(),
                "origins": origins[k, : step + 1],
                "attention": empty,
                "alignment": empty,
            }
            found.append(hypothesis)
        rest = iter(found)
        return [sorted(islice(rest, count), key=lambda h: -float(h["score"])) for count in counts.tolist()]

    def _ways(self, steps: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The way back of answers that ended at `steps` in `rows`: symbols, totals and rows of each step, [N, T]."""
        length = int(steps.max()) + 1 if len(steps) else 0
        tokens, origins = (torch.zeros(len(steps), length, dtype=torch.int64) for _ in range(2))
        totals, here = torch.zeros(len(steps), length), torch.zeros_like(rows)
        choices = [_Choice(*(values.cpu() for values in choice)) for choice in self._choices[: max(length - 1, 0)]]
        for step in reversed(range(length)):
            here = torch.where(steps == step, rows, here)
            origins[:, step] = here
            if step:
                parents, symbols, sums = choices[step - 1]
                here = here.clamp(max=len(parents) - 1)  # answers that ended before this step point anywhere
                tokens[:, step - 1], totals[:, step - 1] = symbols[here], sums[here]
                here = parents[here]
        return tokens, totals, origins
