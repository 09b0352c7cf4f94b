"""CIDEr-D of captions (Vedantam et al. 2015; docs/evaluation.md, docs/deviations.md 23).

pycocoevalcap's `Cider` gives the same numbers, but cannot read document frequencies from a file, and comes with the
`train` extra only.
"""

import math
import pickle
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from .errors import UserError

MAX_ORDER = 4
SIGMA = 6.0  # of the penalty on a difference in length, in words

NGram = tuple[str, ...]


@dataclass(frozen=True)
class CachedFrequencies:
    """For each n-gram, the number of pictures that have it in at least one reference."""

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
) -> CiderD:
    """CIDEr-D of each caption against its references; both cleaned (`captions.clean`), tokens split at white space.

    document_frequency: `corpus` counts in the references of all rows given.
    """
    if not len(hypotheses) == len(references) > 0 or not all(references):
        raise ValueError(
            f"each caption needs a reference: got {len(hypotheses)} captions, {len(references)} lists of references, "
            f"{sum(not r for r in references)} of them empty"
        )
    frequencies = corpus_frequencies(references) if document_frequency == "corpus" else document_frequency
    unseen = math.log(frequencies.num_pictures)  # an n-gram that no reference has counts as if one had it
    weights = {ngram: unseen - math.log(max(1.0, count)) for ngram, count in frequencies.counts.items()}
    scores = [_score(h, r, weights, unseen) for h, r in zip(hypotheses, references, strict=True)]
    return CiderD(float(np.mean(scores)), np.array(scores, np.float64))


def corpus_frequencies(references: Sequence[Sequence[str]]) -> CachedFrequencies:
    """Document frequencies of the references themselves."""
    counts: Counter[NGram] = Counter()
    for picture in references:
        counts.update({ngram for reference in picture for ngram in _ngrams(reference)})
    return CachedFrequencies(counts, len(references))


def _ngrams(caption: str) -> Iterator[NGram]:
    words = caption.split()
    for order in range(1, MAX_ORDER + 1):
        yield from zip(*(words[k:] for k in range(order)), strict=False)


def _tf_idf(caption: str, idf: Mapping[NGram, float], unseen: float) -> list[dict[NGram, float]]:
    """The weight of each n-gram of a caption, by order."""
    weights: list[dict[NGram, float]] = [{} for _ in range(MAX_ORDER)]
    for ngram, count in Counter(_ngrams(caption)).items():
        weights[len(ngram) - 1][ngram] = count * idf.get(ngram, unseen)
    return weights


def _score(hypothesis: str, references: Sequence[str], idf: Mapping[NGram, float], unseen: float) -> float:
    weights = _tf_idf(hypothesis, idf, unseen)
    similarities = []
    for reference in references:
        penalty = math.exp(-((len(hypothesis.split()) - len(reference.split())) ** 2) / (2 * SIGMA**2))
        cosines = map(_cosine, weights, _tf_idf(reference, idf, unseen))
        similarities.append(penalty * sum(cosines) / MAX_ORDER)
    return 10.0 * float(np.mean(similarities))


def _cosine(hypothesis: dict[NGram, float], reference: dict[NGram, float]) -> float:
    """Cosine of two vectors, the first clipped by the second; 0..1."""
    norm = math.hypot(*hypothesis.values()) * math.hypot(*reference.values())
    dot = sum(
        min(weight, reference[ngram]) * reference[ngram] for ngram, weight in hypothesis.items() if ngram in reference
    )
    return dot / norm if norm > 0 else 0.0


# Python 2, which wrote the well-known files, calls builtins __builtin__.
_ALLOWED_IN_PICKLE = {
    ("collections", "defaultdict"): defaultdict,
    **{(module, kind.__name__): kind for module in ("builtins", "__builtin__") for kind in (float, int)},
}


class _FrequencyUnpickler(pickle.Unpickler):
    """Refuses everything that a frequency file does not need: a pickle may call any function of any module."""

    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in _ALLOWED_IN_PICKLE:
            raise pickle.UnpicklingError(f"{module}.{name} is refused: a table of n-gram counts does not need it")
        return _ALLOWED_IN_PICKLE[module, name]


def load_frequencies(path: str | Path) -> CachedFrequencies:
    """The file of `--eval-cider-cached-tokens`: a pickled {"document_frequency": {n-gram tuple: count}, "ref_len"}.

    ref_len is the number of pictures. Raises UserError for any other content, without running it.
    """
    expected = (
        "expected a pickled dict with document_frequency {n-gram tuple: count} and ref_len, the number of pictures"
    )
    try:
        with open(path, "rb") as file:
            content: Any = _FrequencyUnpickler(file, encoding="utf-8").load()
        counts, num_pictures = content["document_frequency"], content["ref_len"]
    except Exception as error:  # a damaged file may raise any exception, says pickle's documentation
        raise UserError(f"{path}: {expected} ({type(error).__name__}: {error})") from error
    if not isinstance(counts, dict) or not all(
        isinstance(ngram, tuple) and isinstance(count, int | float) for ngram, count in counts.items()
    ):
        raise UserError(f"{path}: {expected}, got another document_frequency")
    if not isinstance(num_pictures, int | float) or not 1 <= num_pictures < math.inf:
        raise UserError(f"{path}: {expected}, got ref_len {num_pictures!r}")
    return CachedFrequencies(counts, num_pictures)
