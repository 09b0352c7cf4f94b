"""CIDEr-D of captions (Vedantam et al. 2015; docs/evaluation.md, docs/deviations.md 23).

Our own, and not pycocoevalcap's `Cider`: that one takes document frequencies from the evaluated references only,
and one way through is wanted for both sources. Its numbers and the published cached ones are both met.
"""

import math
import pickle
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from .errors import UserError

MAX_ORDER = 4
SIGMA = 6.0  # of the penalty on a difference in length, in words

NGram = tuple[str, ...]


@dataclass(frozen=True)
class CachedFrequencies:
    """In how many of a corpus' pictures an n-gram is in at least one reference."""

    counts: Mapping[NGram, float]
    num_pictures: float


class CiderD(NamedTuple):
    """mean: of the set; scores: float64 [N], one per caption. 0..10: papers print the mean times 100."""

    mean: float
    scores: np.ndarray


def cider_d(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    document_frequency: Literal["corpus"] | CachedFrequencies = "corpus",
    batch_sizes: Sequence[int] | None = None,
) -> CiderD:
    """CIDEr-D of each caption against its references; both cleaned (`captions.clean`), tokens split at white space.

    document_frequency: `corpus` counts in the given references, over the whole set. batch_sizes: count within each
    run of so many rows instead (no difference to cached frequencies): the published numbers come out so,
    which depend on the batch size.
    """
    sizes = [len(hypotheses)] if batch_sizes is None else batch_sizes
    if not len(hypotheses) == len(references) == sum(sizes) > 0 or not all(references):
        raise ValueError(
            f"each caption needs a reference: got {len(hypotheses)} captions, {len(references)} lists of references, "
            f"{sum(not r for r in references)} of them empty, batches of {list(sizes)}"
        )
    scores, start = [], 0
    for size in sizes:
        batch = references[start : start + size]
        frequencies = corpus_frequencies(batch) if document_frequency == "corpus" else document_frequency
        scores += [_score(h, r, frequencies) for h, r in zip(hypotheses[start : start + size], batch, strict=True)]
        start += size
    return CiderD(float(np.mean(scores)), np.array(scores, np.float64))


def corpus_frequencies(references: Sequence[Sequence[str]]) -> CachedFrequencies:
    """Document frequencies of the evaluated set itself: each picture counts once, whatever its references repeat."""
    counts = Counter()
    for picture in references:
        counts.update({ngram for reference in picture for ngram in _ngrams(reference.split())})
    return CachedFrequencies(counts, len(references))


def _ngrams(words: list[str]) -> Iterator[NGram]:
    for order in range(1, MAX_ORDER + 1):
        yield from zip(*(words[k:] for k in range(order)), strict=False)


@dataclass(frozen=True)
class _Vector:
    """tf-idf of a caption: one {n-gram: weight} and its length for each order; and the number of words."""

    weights: list[dict[NGram, float]]
    norms: list[float]
    num_words: int


def _vector(caption: str, frequencies: CachedFrequencies) -> _Vector:
    words = caption.split()
    weights = [{} for _ in range(MAX_ORDER)]
    for ngram, count in Counter(_ngrams(words)).items():
        # an n-gram that no reference holds counts as if one did
        idf = math.log(frequencies.num_pictures) - math.log(max(1.0, frequencies.counts.get(ngram, 0)))
        weights[len(ngram) - 1][ngram] = count * idf
    return _Vector(weights, [math.hypot(*order.values()) for order in weights], len(words))


def _score(hypothesis: str, references: Sequence[str], frequencies: CachedFrequencies) -> float:
    vector = _vector(hypothesis, frequencies)
    return 10.0 * float(np.mean([_similarity(vector, _vector(r, frequencies)) for r in references]))


def _similarity(hypothesis: _Vector, reference: _Vector) -> float:
    """Mean over the orders of the cosine, clipped by the reference's weights, times the penalty on length; 0..1."""
    penalty = math.exp(-((hypothesis.num_words - reference.num_words) ** 2) / (2 * SIGMA**2))
    norms = [ours * theirs for ours, theirs in zip(hypothesis.norms, reference.norms, strict=True)]
    total = 0.0
    for ours, theirs, norm in zip(hypothesis.weights, reference.weights, norms, strict=True):
        if norm > 0:
            dot = sum(min(weight, theirs.get(ngram, 0.0)) * theirs.get(ngram, 0.0) for ngram, weight in ours.items())
            total += dot / norm
    return penalty * total / MAX_ORDER


# Python 2, which wrote the well-known files, calls builtins __builtin__.
_ALLOWED_IN_PICKLE = {
    ("collections", "defaultdict"): defaultdict,
    **{(module, kind.__name__): kind for module in ("builtins", "__builtin__") for kind in (float, int)},
}

# What `open` and the unpickler raise on a missing, damaged or foreign file (found by feeding it such files).
_UNREADABLE = (
    OSError,
    EOFError,
    pickle.UnpicklingError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    MemoryError,
    OverflowError,
)


class _FrequencyUnpickler(pickle.Unpickler):
    """Reads what a frequency file needs and runs nothing else: a pickle may name any function of any module."""

    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in _ALLOWED_IN_PICKLE:
            raise UserError(f"it asks for {module}.{name}, which a table of n-gram counts does not need: refused")
        return _ALLOWED_IN_PICKLE[module, name]


def load_frequencies(path: str | Path) -> CachedFrequencies:
    """The file of `--eval-cider-cached-tokens`: a pickled {"document_frequency": {n-gram tuple: count}, "ref_len"}.

    ref_len is the number of pictures. Raises UserError for any other content, without running it.
    """
    expected = "expected a pickled dict with document_frequency {n-gram tuple: count} and ref_len"
    try:
        with open(path, "rb") as file:
            content = _FrequencyUnpickler(file, encoding="utf-8").load()
    except UserError as error:
        raise UserError(f"{path}: {error}; {expected}") from error
    except _UNREADABLE as error:
        raise UserError(f"{path}: can not be read ({type(error).__name__}: {error}); {expected}") from error
    if not isinstance(content, dict) or not {"document_frequency", "ref_len"} <= content.keys():
        raise UserError(f"{path}: {expected}, got {str(content)[:80]}")
    counts, num_pictures = content["document_frequency"], content["ref_len"]
    if not isinstance(counts, dict) or not all(
        isinstance(ngram, tuple) and isinstance(count, int | float) for ngram, count in counts.items()
    ):
        raise UserError(f"{path}: document_frequency is not a dict of {{n-gram tuple: count}}; {expected}")
    if not isinstance(num_pictures, int | float) or not 1 <= num_pictures < math.inf:
        raise UserError(f"{path}: ref_len must be the number of pictures, got {num_pictures!r}")
    return CachedFrequencies(counts, num_pictures)
