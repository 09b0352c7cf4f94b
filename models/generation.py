"""Beam search with fairseq's semantics and none of its repeated work (docs/generation.md).

The encoder runs once. Cross-attention keys and values are computed once for each sample and shared by its beams,
position biases once for batch 1, and scores only for the symbols that the constraint allows.
"""

from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..utils.errors import UserError
from ..utils.flags import id_pair
from ..utils.symbols import SPECIAL_SYMBOLS
from .refhcm.decoder import Decoder
from .refhcm.encoder import EncoderOutput
from .refhcm.network import Network


@dataclass(frozen=True)
class GenerationSettings:
    """Flags of generation, named as fairseq's. constraint_range: "a,b" allows ids a..b-1 and the special symbols."""

    beam: int = 5
    min_len: int = 1
    max_len_a: float = 0
    max_len_b: int = 200
    no_repeat_ngram_size: int = 0
    lenpen: float = 1.0
    unnormalized: bool = False
    unkpen: float = 0.0
    temperature: float = 1.0
    constraint_range: str | None = None

    def __post_init__(self) -> None:
        if self.beam < 1:
            raise UserError(f"--beam must be at least 1, got {self.beam}")
        if not self.temperature > 0:
            raise UserError(f"--temperature must be above 0, got {self.temperature}")
        self.allowed_range()

    @classmethod
    def from_args(cls, given: dict[str, Any]) -> "GenerationSettings":
        """From `--eval-args` or flags. UserError names an unknown setting."""
        unknown = set(given) - {f.name for f in fields(cls)}
        if unknown:
            raise UserError(f"unknown generation settings {sorted(unknown)}; known: {[f.name for f in fields(cls)]}")
        return cls(**given)

    def allowed_range(self) -> tuple[int, int] | None:
        """(a, b) of the constraint; None when every symbol is allowed."""
        return None if self.constraint_range is None else id_pair(self.constraint_range, "--constraint-range")

    def max_len(self, source_length: int, max_positions: int) -> int:
        """The largest number of symbols before eos. UserError when --min-len is more than that."""
        longest = min(int(self.max_len_a * source_length + self.max_len_b), max_positions - 1)
        if self.min_len > longest:
            raise UserError(f"--min-len {self.min_len} is more than the {longest} symbols that --max-len-a/b allow")
        return longest


@dataclass
class _Beams:
    """The K unfinished answers of each of A samples."""

    samples: Tensor  # int64 [A], rows of the batch
    tokens: Tensor  # int64 [A, K, n], from bos on
    totals: Tensor  # float32 [A, K, n], cumulative log-probabilities, 0 at bos

    def hypothesis(self, row: int, beam: int, total: Tensor, *, eos: int, length_penalty: float) -> dict[str, Any]:
        """This beam's answer after eos, as fairseq's dict."""
        tokens = torch.cat([self.tokens[row, beam, 1:], self.tokens.new_tensor([eos])])
        totals = torch.cat([self.totals[row, beam], total[None]])
        empty = totals.new_empty(0)
        return {
            "tokens": tokens,
            "score": total / len(tokens) ** length_penalty,
            "positional_scores": totals.diff(),
            "attention": empty,
            "alignment": empty,
        }


class SequenceGenerator:
    """fairseq's interface: `generate(models, sample, prefix_tokens)` -> the hypotheses of each sample, best first."""

    bos, pad, eos, unk = 0, 1, 2, 3

    def __init__(self, settings: GenerationSettings) -> None:
        self.settings = settings

    @torch.inference_mode()
    def generate(
        self, models: list[Network], sample: dict[str, Any], prefix_tokens: Tensor | None = None
    ) -> list[list[dict[str, Any]]]:
        """models: one network in evaluation mode; sample: a batch (docs/data.md).

        prefix_tokens: int64 [B, P], right-padded, the forced start of each answer without bos.
        """
        (network,) = models
        source = sample["net_input"]
        encoder = network.encode(source)
        length = self.settings.max_len(source["src_tokens"].shape[1], network.config.max_target_positions)
        return self.search(network.decoder, encoder, length, prefix_tokens=prefix_tokens)

    @torch.inference_mode()
    def search(
        self, decoder: Decoder, encoder: EncoderOutput, max_len: int, *, prefix_tokens: Tensor | None = None
    ) -> list[list[dict[str, Any]]]:
        """Beam search from the encoder's output; see `generate`. max_len: symbols before eos."""
        beam, device, count = self.settings.beam, encoder.states.device, len(encoder.states)
        allowed, lookup = self._symbols(decoder)
        weight = None if allowed is None else decoder.output_projection.weight[allowed]
        state = decoder.start(encoder, beams=beam, capacity=max_len + 1)
        tokens = torch.full((count, beam, 1), self.bos, device=device)
        beams = _Beams(torch.arange(count, device=device), tokens, torch.zeros_like(tokens, dtype=torch.float32))
        ended: list[list[dict[str, Any]]] = [[] for _ in range(count)]
        for step in range(max_len + 1):
            features = decoder.extend(beams.tokens[:, :, -1].reshape(-1, 1), state)[:, -1]
            scores = self._log_probs(decoder.project(features, weight)).view(*beams.tokens.shape[:2], -1)
            scores = self._restrict(scores, beams, lookup, step=step, last=step == max_len, prefix=prefix_tokens)
            scores = scores[:, :1] if step == 0 else scores  # all beams are still the same
            best, origin, column = _best(scores, beams.totals[:, :, -1], 2 * beam)
            symbol = column if allowed is None else allowed[column]
            self._collect(beams, best, origin, symbol, ended)
            left = torch.tensor([len(ended[i]) < beam for i in beams.samples.tolist()], device=device)
            if step == max_len or not bool(left.any()):
                break
            beams, rows = self._advance(beams, best, origin, symbol)
            if not bool(left.all()):
                keep = left.nonzero()[:, 0]
                beams = _Beams(beams.samples[keep], beams.tokens[keep], beams.totals[keep])
                state, rows = state.keep(keep), rows[keep]
                state.reorder(rows.flatten())
            elif beam > 1:
                state.reorder(rows.flatten())
        return [sorted(hypotheses, key=lambda h: -float(h["score"])) for hypotheses in ended]

    def _symbols(self, decoder: Decoder) -> tuple[Tensor | None, Tensor | None]:
        """The allowed ids [n], and the column 0..n-1 of each id [V] (n: not allowed). None, None: all are allowed."""
        limits = self.settings.allowed_range()
        if limits is None:
            return None, None
        weight = decoder.output_projection.weight
        ids = torch.arange(len(weight), device=weight.device)
        allowed = ids[(ids < SPECIAL_SYMBOLS) | ((ids >= limits[0]) & (ids < limits[1]))]
        lookup = torch.full_like(ids, len(allowed))
        lookup[allowed] = torch.arange(len(allowed), device=weight.device)
        return allowed, lookup

    def _log_probs(self, logits: Tensor) -> Tensor:
        if self.settings.temperature != 1:
            logits = logits / self.settings.temperature
        scores = torch.log_softmax(logits, dim=-1, dtype=torch.float32)
        return scores.masked_fill_(scores.isnan(), -torch.inf)

    def _restrict(
        self, scores: Tensor, beams: _Beams, lookup: Tensor | None, *, step: int, last: bool, prefix: Tensor | None
    ) -> Tensor:
        """Log-probabilities [A, K, V], set to -inf where a symbol must not be chosen at this step."""
        scores[..., self.pad] = -torch.inf
        scores[..., self.unk] -= self.settings.unkpen
        # [A], pad where the prefix of a sample has ended
        forced = prefix[beams.samples, step] if prefix is not None and step < prefix.shape[1] else None
        if last:
            scores[..., : self.eos] = -torch.inf
            scores[..., self.eos + 1 :] = -torch.inf
        elif step < self.settings.min_len:
            free = torch.ones_like(beams.samples, dtype=torch.bool) if forced is None else forced == self.pad
            scores[free, :, self.eos] = -torch.inf
        if forced is not None and not last:
            column = (forced if lookup is None else lookup[forced])[:, None, None]
            others = torch.arange(scores.shape[-1], device=scores.device) != column
            scores = scores.masked_fill(others & (forced != self.pad)[:, None, None], -torch.inf)
        return self._block_repeats(scores, beams.tokens, lookup)

    def _block_repeats(self, scores: Tensor, tokens: Tensor, lookup: Tensor | None) -> Tensor:
        """Forbids symbols that would repeat an n-gram; bos counts as a symbol of the history."""
        size, length = self.settings.no_repeat_ngram_size, tokens.shape[-1]
        if size < 1 or length < size:
            return scores
        windows = tokens.unfold(-1, size, 1)  # [A, K, W, size]
        repeated = (windows[..., :-1] == tokens[:, :, None, length - size + 1 :]).all(-1)  # [A, K, W]
        follower = windows[..., -1] if lookup is None else lookup[windows[..., -1]]
        extra = scores.shape[-1]  # one more column takes the followers that are not banned
        banned = scores.new_zeros(*scores.shape[:-1], extra + 1, dtype=torch.bool)
        banned.scatter_(-1, follower.masked_fill(~repeated, extra), True)
        return scores.masked_fill(banned[..., :extra], -torch.inf)

    def _collect(
        self, beams: _Beams, best: Tensor, origin: Tensor, symbol: Tensor, ended: list[list[dict[str, Any]]]
    ) -> None:
        """Appends to `ended` the answers that end among the first `beam` candidates."""
        beam = self.settings.beam
        ends = (symbol == self.eos) & (best > -torch.inf)
        penalty = 0.0 if self.settings.unnormalized else self.settings.lenpen
        for row, rank in ends[:, :beam].nonzero().tolist():
            hypotheses = ended[int(beams.samples[row])]
            if len(hypotheses) < beam:
                source = int(origin[row, rank])
                total = best[row, rank]
                hypotheses.append(beams.hypothesis(row, source, total, eos=self.eos, length_penalty=penalty))

    def _advance(self, beams: _Beams, best: Tensor, origin: Tensor, symbol: Tensor) -> tuple[_Beams, Tensor]:
        """The first `beam` candidates that do not end, and the cache row that each continues."""
        beam, candidates = self.settings.beam, best.shape[1]
        ends = (symbol == self.eos) & (best > -torch.inf)
        order = torch.arange(candidates, device=best.device) + ends * candidates
        active = order.topk(beam, dim=1, largest=False, sorted=True).indices  # [A, beam]
        best = best.masked_fill(ends, -torch.inf).gather(1, active)
        origin, symbol = origin.gather(1, active), symbol.gather(1, active)
        sample = torch.arange(len(best), device=best.device)[:, None]
        tokens = torch.cat([beams.tokens[sample, origin], symbol[..., None]], dim=-1)
        totals = torch.cat([beams.totals[sample, origin], best[..., None]], dim=-1)
        return _Beams(beams.samples, tokens, totals), sample * beam + origin


def _best(scores: Tensor, totals: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `count` best continuations of each sample: total, beam and column, each [A, count]; -inf fills up.

    scores: [A, k, V], log-probabilities of the next symbol of the first k beams; totals: [A, K], of all beams so far.
    """
    own, column = scores.topk(min(count, scores.shape[-1]), dim=-1)  # a beam contributes at most `count`
    own = own + totals[:, : own.shape[1], None]
    best, index = own.flatten(1).topk(min(count, own[0].numel()))
    origin, column = index // own.shape[-1], column.flatten(1).gather(1, index)
    missing = (0, count - best.shape[1])
    return F.pad(best, missing, value=-torch.inf), F.pad(origin, missing), F.pad(column, missing)
