"""Beam search with fairseq's semantics and none of its repeated work (docs/generation.md).

The encoder runs once. Cross-attention keys and values are computed once for each sample and shared by its beams,
position biases once for batch 1, and scores only for the symbols that the constraint allows.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .beams import Beams
from .generated import History
from .generation_settings import GenerationSettings
from .refhcm.decoder import Decoder
from .refhcm.encoder import EncoderOutput
from .refhcm.network import Network

STEPS_UNSEEN = 8  # on a GPU, which waits when the search looks whether all answers have ended


class SequenceGenerator:
    """fairseq's interface: `generate(models, sample, prefix_tokens)` -> the hypotheses of each sample, best first."""

    bos, pad, eos, unk = 0, 1, 2, 3

    def __init__(self, settings: GenerationSettings, *, kept: Tensor | None = None) -> None:
        """kept: ids [C]; the best hypothesis gets `distributions`, float32 [T, C], their log-probabilities."""
        self.settings, self.kept = settings, kept

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
        symbols = self.settings.allowed_range(len(decoder.output_projection.weight))
        allowed, lookup = (None, None) if symbols is None else _columns(symbols, decoder.output_projection.weight)
        output = decoder.output(symbols)
        state = decoder.start(encoder, beams=beam, capacity=max_len + 1)
        beams = Beams(count, beam, device, bos=self.bos, eos=self.eos)
        every = looks_every(device)
        history = None if self.kept is None else History(self.kept.to(device), lookup)
        for step in range(max_len + 1):
            features = decoder.extend(beams.tokens[:, :, -1].reshape(-1, 1), state)[:, -1]
            scores = self._log_probs(output(features))
            if history is not None:
                history.add(scores)
            scores = scores.view(*beams.tokens.shape[:2], -1)
            scores = self._restrict(scores, beams, lookup, step=step, last=step == max_len, prefix=prefix_tokens)
            scores = scores[:, :1] if step == 0 else scores  # all beams are still the same
            best, origin, column = _best(scores, beams.totals, 2 * beam)
            symbol = column if allowed is None else allowed[column]
            ends = (symbol == self.eos) & (best > -torch.inf)
            beams.finish(best[:, :beam], origin[:, :beam], ends[:, :beam])
            if step == max_len:
                break
            rows = beams.advance(*_going_on(best, origin, symbol, ends=ends))
            if (step + 1) % every == 0 and not bool((left := beams.unfinished()).all()):
                keep = left.nonzero()[:, 0]
                if not len(keep):
                    break
                if state.shrinks:
                    state, rows = state.keep(keep), beams.keep(keep)
            if beam > 1 or len(rows) < len(state.caches[0].keys):
                state.reorder(rows)
        answers = beams.answers(0.0 if self.settings.unnormalized else self.settings.lenpen)
        if history is not None:
            history.give([found[0] for found in answers if found])
        return answers

    def _log_probs(self, logits: Tensor) -> Tensor:
        if self.settings.temperature != 1:
            logits = logits / self.settings.temperature
        scores = torch.log_softmax(logits, dim=-1, dtype=torch.float32)
        return scores.masked_fill_(scores.isnan(), -torch.inf)

    def _restrict(
        self, scores: Tensor, beams: Beams, lookup: Tensor | None, *, step: int, last: bool, prefix: Tensor | None
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
            scores[..., self.eos].masked_fill_(free[:, None], -torch.inf)
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


def _columns(symbols: Sequence[range], weight: Tensor) -> tuple[Tensor, Tensor]:
    """Of the output matrix [V, D]: these ids [n], and the column 0..n-1 of each id [V] (n: not among them)."""
    allowed = torch.cat([torch.arange(one.start, one.stop, device=weight.device) for one in symbols])
    lookup = torch.full((len(weight),), len(allowed), device=weight.device)
    lookup[allowed] = torch.arange(len(allowed), device=weight.device)
    return allowed, lookup


def looks_every(device: torch.device) -> int:
    """After how many steps the search looks whether all answers have ended."""
    return 1 if device.type == "cpu" else STEPS_UNSEEN


def _going_on(best: Tensor, origin: Tensor, symbol: Tensor, *, ends: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The first K of 2 K candidates that do not end: total, beam and symbol, each [A, K]."""
    candidates = best.shape[1]
    order = torch.arange(candidates, device=best.device) + ends * candidates
    active = order.topk(candidates // 2, dim=1, largest=False, sorted=True).indices
    return best.masked_fill(ends, -torch.inf).gather(1, active), origin.gather(1, active), symbol.gather(1, active)


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
