"""Beam search on arrays, for answering without torch: `SequenceGenerator` (models/generation.py) step by step.

Both follow docs/generation.md, and a test holds them to the same symbols, scores and distributions.
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ..generation_settings import GenerationSettings

PAD, EOS, UNK = 1, 2, 3
BOS = 0


class Stepper(Protocol):
    """Writes one more symbol of each answer."""

    def step(self, tokens: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """tokens: int64 [A, K]; rows: int64 [A, K], the answer of the step before that each continues.

        Returns logits, float32 [A, K, V].
        """

    def keep(self, samples: np.ndarray) -> None:
        """Drops all but these samples, int64 [n], before the next step."""


@dataclass(frozen=True)
class Hypothesis:
    """An answer with eos: int64 [T], its score, and each symbol's log-probability, float32 [T]."""

    tokens: np.ndarray
    score: float
    log_probs: np.ndarray
    origins: np.ndarray = field(repr=False)  # int64 [T]: row of `_History` at each step
    distributions: np.ndarray | None = None  # float32 [T, C]


@dataclass
class _Beams:
    """The K unfinished answers of each of A samples."""

    samples: np.ndarray  # int64 [A]
    tokens: np.ndarray  # int64 [A, K, n], from bos on
    totals: np.ndarray  # float32 [A, K, n], cumulative log-probabilities
    origins: np.ndarray  # int64 [A, K, n - 1]

    def of(self, rows: np.ndarray) -> "_Beams":
        return _Beams(self.samples[rows], self.tokens[rows], self.totals[rows], self.origins[rows])


def search(
    stepper: Stepper,
    settings: GenerationSettings,
    count: int,
    *,
    symbols: int,
    max_len: int,
    kept: np.ndarray | None = None,
    prefix: np.ndarray | None = None,
) -> list[Hypothesis | None]:
    """The best answer to each of `count` samples; None where there is none.

    symbols: size of the vocabulary; max_len: symbols before eos; kept: ids [C] whose log-probabilities at each step the
    answer keeps; prefix: int64 [B, P], right-padded, the forced starts without bos.
    """
    allowed = _allowed(settings, symbols)
    column_of = np.full(symbols, len(allowed))
    column_of[allowed] = np.arange(len(allowed))
    tokens = np.full((count, 1, 1), BOS)
    beams = _Beams(np.arange(count), tokens, np.zeros(tokens.shape, np.float32), tokens[..., :0])
    rows, history = np.arange(count)[:, None], []
    ended: list[list[Hypothesis]] = [[] for _ in range(count)]
    for step in range(max_len + 1):
        logits = stepper.step(beams.tokens[:, :, -1], rows)
        scores = log_probabilities(logits if len(allowed) == symbols else logits[..., allowed], settings.temperature)
        if kept is not None:
            history.append(_columns(scores.reshape(-1, len(allowed)), column_of[kept]))
        forced = None if prefix is None or step >= prefix.shape[1] else prefix[beams.samples, step]
        scores = _restricted(scores, settings, forced, column_of=column_of, step=step, last=step == max_len)
        scores = _without_repeats(scores, beams.tokens, column_of, size=settings.no_repeat_ngram_size)
        best, origin, column = _best(scores, beams.totals[:, :, -1], count=2 * settings.beam)
        symbol = allowed[column]
        _collect(beams, (best, origin, symbol), settings, ended)
        left = np.array([len(ended[i]) < settings.beam for i in beams.samples])
        if step == max_len or not left.any():
            break
        beams, rows = _advanced(beams, (best, origin, symbol), settings.beam)
        if not left.all():
            keep = np.flatnonzero(left)
            beams, rows = beams.of(keep), rows[keep]
            stepper.keep(keep)
    answers = [max(hypotheses, key=lambda one: one.score) if hypotheses else None for hypotheses in ended]
    return answers if kept is None else [one and _with_distributions(one, history) for one in answers]


def log_probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Logits [..., V] -> logarithms of their softmax, float32; NaN becomes -inf."""
    logits = logits.astype(np.float32)
    if temperature != 1:
        logits /= np.float32(temperature)
    logits -= logits.max(-1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
    logits[np.isnan(logits)] = -np.inf
    return logits


def _allowed(settings: GenerationSettings, symbols: int) -> np.ndarray:
    ranges = settings.allowed_range(symbols) or (range(symbols),)
    return np.concatenate([np.arange(one.start, one.stop) for one in ranges])


def _columns(scores: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Some columns of [N, n]; -inf for one too many."""
    last = scores.shape[1] - 1
    return np.where(columns > last, np.float32(-np.inf), scores[:, np.minimum(columns, last)])


def _restricted(
    scores: np.ndarray,
    settings: GenerationSettings,
    forced: np.ndarray | None,
    *,
    column_of: np.ndarray,
    step: int,
    last: bool,
) -> np.ndarray:
    """Log-probabilities [A, K, n], -inf where a symbol must not be chosen. forced: [A], pad where a prefix is over."""
    scores = scores.copy()
    scores[..., PAD] = -np.inf
    scores[..., UNK] -= settings.unkpen
    if last:
        scores[..., np.arange(scores.shape[-1]) != EOS] = -np.inf
    elif step < settings.min_len:
        free = np.ones(len(scores), bool) if forced is None else forced == PAD
        scores[free, :, EOS] = -np.inf
    if forced is not None and not last:
        others = np.arange(scores.shape[-1]) != column_of[forced][:, None]  # [A, n]
        others &= (forced != PAD)[:, None]
        scores = np.where(others[:, None], np.float32(-np.inf), scores)
    return scores


def _without_repeats(scores: np.ndarray, tokens: np.ndarray, column_of: np.ndarray, *, size: int) -> np.ndarray:
    """Forbids symbols that would repeat an n-gram of `size`; bos counts as a symbol of the history."""
    length = tokens.shape[-1]
    if size < 1 or length < size:
        return scores
    windows = np.lib.stride_tricks.sliding_window_view(tokens, size, axis=-1)  # [A, K, W, size]
    repeated = (windows[..., :-1] == tokens[:, :, None, length - size + 1 :]).all(-1)
    row, beam, window = np.nonzero(repeated)
    column = column_of[windows[row, beam, window, -1]]
    known = column < scores.shape[-1]
    scores = scores.copy()
    scores[row[known], beam[known], column[known]] = -np.inf
    return scores


def _best(scores: np.ndarray, totals: np.ndarray, *, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The `count` best continuations of each sample: total, beam and column, each [A, count]; -inf fills up."""
    samples, _, columns = scores.shape
    own = min(count, columns)  # a beam contributes at most `count`
    column = np.argpartition(-scores, own - 1, axis=-1)[..., :own]
    flat = (np.take_along_axis(scores, column, -1) + totals[..., None]).reshape(samples, -1)
    index = np.argsort(-flat, axis=-1, kind="stable")[:, :count]
    best, origin = np.take_along_axis(flat, index, -1), index // own
    column = np.take_along_axis(column.reshape(samples, -1), index, -1)
    missing = ((0, 0), (0, count - best.shape[1]))
    return np.pad(best, missing, constant_values=-np.inf), np.pad(origin, missing), np.pad(column, missing)


_Candidates = tuple[np.ndarray, np.ndarray, np.ndarray]  # total, beam and symbol, each [A, 2 * beam]


def _collect(
    beams: _Beams, candidates: _Candidates, settings: GenerationSettings, ended: list[list[Hypothesis]]
) -> None:
    """Appends to `ended` the answers that end among the first `beam` candidates."""
    best, origin, symbol = candidates
    penalty = 0.0 if settings.unnormalized else settings.lenpen
    ends = (symbol == EOS) & (best > -np.inf)
    for row, rank in np.argwhere(ends[:, : settings.beam]).tolist():
        hypotheses, beam = ended[beams.samples[row]], origin[row, rank]
        if len(hypotheses) == settings.beam:
            continue
        tokens = np.append(beams.tokens[row, beam, 1:], EOS)
        totals = np.append(beams.totals[row, beam], best[row, rank])
        origins = np.append(beams.origins[row, beam], row * beams.tokens.shape[1] + beam)
        score = best[row, rank] / np.float32(len(tokens) ** penalty)
        hypotheses.append(Hypothesis(tokens, float(score), np.diff(totals), origins))


def _advanced(beams: _Beams, candidates: _Candidates, beam: int) -> tuple[_Beams, np.ndarray]:
    """The first `beam` candidates that do not end, and the row that each continues."""
    best, origin, symbol = candidates
    ends = (symbol == EOS) & (best > -np.inf)
    active = np.argsort(ends, axis=1, kind="stable")[:, :beam]
    best, origin, symbol = (
        np.take_along_axis(one, active, 1) for one in (np.where(ends, np.float32(-np.inf), best), origin, symbol)
    )
    sample = np.arange(len(best))[:, None]
    rows = sample * beams.tokens.shape[1] + origin

    def longer(before: np.ndarray, one: np.ndarray) -> np.ndarray:
        return np.concatenate([before[sample, origin], one[..., None]], axis=-1)

    tokens, totals = longer(beams.tokens, symbol), longer(beams.totals, best)
    return _Beams(beams.samples, tokens, totals, longer(beams.origins, rows)), rows


def _with_distributions(one: Hypothesis, history: list[np.ndarray]) -> Hypothesis:
    found = np.stack([step[row] for step, row in zip(history[: len(one.origins)], one.origins, strict=True)])
    return Hypothesis(one.tokens, one.score, one.log_probs, one.origins, found)
