"""Cleaning captions for scoring, and RHrc's metrics by name (docs/evaluation.md, docs/vocabulary.md).

BLEU, ROUGE-L and METEOR are pycocoevalcap's, which comes with the `train` extra. SPICE is not offered: its scorer
downloads a parser on first use.
"""

import importlib
import logging
import shutil
import string
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Literal

from .cider import CachedFrequencies, cider_d
from .errors import UserError

REFERENCE_SEPARATOR = "&&"

logger = logging.getLogger(__name__)

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def clean(caption: str) -> str:
    """The caption without ASCII punctuation and stripped, as it is scored and written to result files."""
    return caption.translate(_NO_PUNCTUATION).strip()


def split_references(captions: str) -> list[str]:
    """The cleaned references of a caption column, `one&&another`."""
    return _cleaned(captions.split(REFERENCE_SEPARATOR))


def without_blanks(captions: str) -> str:
    """A caption column, unchanged but for captions without a word, which are left out."""
    return REFERENCE_SEPARATOR.join(filter(clean, captions.split(REFERENCE_SEPARATOR)))


def _cleaned(references: Iterable[str]) -> list[str]:
    """Without blank ones: no caption could match them, and they would lower the mean of CIDEr-D."""
    return list(filter(None, map(clean, references)))


def caption_scores(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    document_frequency: Literal["corpus"] | CachedFrequencies = "corpus",
    with_bleu: bool = False,
    with_meteor: bool = False,
) -> dict[str, float]:
    """The set's scores times 100, as papers print them: `cider`, `bleu1`..`bleu4`, `rouge_l` and `meteor`.

    Captions are cleaned here, and blank references left out; ValueError for a caption without another one.
    with_meteor: ROUGE-L, and METEOR if Java is present; a warning says if not.
    """
    hypotheses = [clean(hypothesis) for hypothesis in hypotheses]
    references = [_cleaned(group) for group in references]
    scores = {"cider": cider_d(hypotheses, references, document_frequency=document_frequency).mean}
    if with_bleu:
        scores |= bleu(hypotheses, references)
    if with_meteor:
        scores["rouge_l"] = rouge_l(hypotheses, references)
        if shutil.which("java"):
            scores["meteor"] = meteor(hypotheses, references)
        else:
            logger.warning("METEOR is skipped: it needs Java, and no `java` was found")
    return {name: 100 * score for name, score in scores.items()}


def bleu(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Corpus BLEU with the closest reference length: `bleu1`..`bleu4` in 0..1."""
    scorer = _scorer_module("bleu.bleu").Bleu(4)
    scores, _ = scorer.compute_score(*_by_row(hypotheses, references), verbose=0)
    return {f"bleu{n}": float(score) for n, score in enumerate(scores, start=1)}


def rouge_l(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Mean ROUGE-L in 0..1."""
    return float(_scorer_module("rouge.rouge").Rouge().compute_score(*_by_row(hypotheses, references))[0])


def meteor(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """METEOR 1.5 of the set in 0..1, by a Java program. Raises UserError if that cannot run."""
    if not shutil.which("java"):
        raise UserError("METEOR needs Java, and no `java` was found")
    scorer = _scorer_module("meteor.meteor").Meteor()
    try:
        return float(scorer.compute_score(*_by_row(hypotheses, references))[0])
    except (OSError, ValueError) as error:  # the pipe broke, or an empty line came back
        raise UserError("METEOR's Java program (pycocoevalcap's meteor-1.5.jar) stopped without an answer") from error
    finally:
        if scorer.lock.locked():  # after an error; the scorer's destructor would wait for it forever
            scorer.lock.release()
        scorer.meteor_p.kill()
        scorer.meteor_p.communicate()  # closes the pipes


def _by_row(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    """(references, hypotheses) as pycocoevalcap takes them; with single spaces, because it splits at every space."""
    groups = [[" ".join(text.split()) for text in group] for group in references]
    rows = [[" ".join(text.split())] for text in hypotheses]
    return dict(enumerate(groups)), dict(enumerate(rows))


def _scorer_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(f"pycocoevalcap.{name}")
    except ModuleNotFoundError as error:
        raise UserError(
            f"{name.split('.')[0].upper()} needs pycocoevalcap (no module {error.name}). Run: pip install pycocoevalcap"
        ) from error
