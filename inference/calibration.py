"""Calibration: from raw confidences to probabilities, by curves fitted on a table with labels (docs/confidence.md).

The curves of a checkpoint `model.pt` lie beside it in `model.calibration.json`, for each task and field, and for single
keypoints and classes where there were enough of them.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..utils.calibration import Curve, auroc, ece, fit
from ..utils.errors import DataError, UserError, reason_of
from ..utils.files import atomic_write, check_small, end_digest
from .answers import JUDGED_FIELDS, Answer, Confidence, JudgedField

LEAST = 50  # points of a field
LEAST_OF_EACH = 5  # of them right, and wrong
LEAST_OF_NAME = 100  # points of one keypoint or class that has a curve of its own
LARGEST_FILE = 2**22  # bytes
VERSION = 1

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judged:
    """One point of an answer: its raw confidence, and whether it is right. picture: any number of its picture."""

    field: JudgedField
    name: str
    raw: float
    right: bool
    picture: int = 0


@dataclass(frozen=True)
class Fitted:
    """A curve, what it was fitted on, and how good it is on the half of the pictures that it has not seen.

    A figure is None where that half, or the other, has only right or only wrong ones.
    """

    curve: Curve
    count: int
    right: int
    ece: tuple[float | None, float | None] = (None, None)  # before, after
    auroc: tuple[float | None, float | None] = (None, None)


@dataclass(frozen=True)
class Calibration:
    """The curves of each task, by "box", "keypoints", "keypoints/nose", "parts/hat", ..., and of grec "found"."""

    tasks: Mapping[str, Mapping[str, Fitted]]

    def apply(self, task: str, answer: Answer) -> Answer:
        """The answer with the probabilities in place of raw confidences, where the task has a curve for them."""
        return replace(answer, confidence=self.adjusted(task, answer.confidence))

    def adjusted(self, task: str, confidence: Confidence) -> Confidence:
        """The same for confidences alone."""
        return confidence.adjusted(partial(self.probability, task))

    def probability(self, task: str, field: JudgedField, name: str, raw: float) -> float:
        """The probability that belongs to one raw confidence; the same where the task has no curve for the field."""
        curves = self.tasks.get(task, {})
        fitted = curves.get(f"{field}/{name}") or curves.get(field)
        return raw if fitted is None else float(fitted.curve(raw))


def fit_fields(judged: Sequence[Judged], *, where: str) -> dict[str, Fitted]:
    """The curves of one task. Raises UserError, naming `where`, if there are too few right or wrong points."""
    fitted: dict[str, Fitted] = {}
    for field in dict.fromkeys(one.field for one in judged):
        points = [one for one in judged if one.field == field]
        right = sum(one.right for one in points)
        if len(points) < LEAST or min(right, len(points) - right) < LEAST_OF_EACH:
            yes, no = ("that fit somebody", "that fit nobody") if field == "found" else ("right", "wrong")
            raise UserError(
                f"{where}: {field}: needs {LEAST} answers, at least {LEAST_OF_EACH} {yes} and {LEAST_OF_EACH} {no}, "
                f"got {right} {yes} and {len(points) - right} {no}; give a larger table"
            )
        fitted[field] = _fitted(points)
        for name in sorted({one.name for one in points} - {""}) if field in ("keypoints", "parts") else ():
            own = [one for one in points if one.name == name]
            right = sum(one.right for one in own)
            if len(own) >= LEAST_OF_NAME and min(right, len(own) - right) >= LEAST_OF_EACH:
                fitted[f"{field}/{name}"] = _fitted(own)
    if not fitted:
        raise UserError(f"{where}: no answer could be read, so there is nothing to calibrate")
    return fitted


def _fitted(points: Sequence[Judged]) -> Fitted:
    raw, right, half = (np.array([getattr(one, name) for one in points]) for name in ("raw", "right", "picture"))
    seen = half % 2 == 0
    curve = fit(raw, right)
    result = Fitted(curve, len(points), int(right.sum()))
    if len(set(right[seen])) < 2 or len(set(right[~seen])) < 2:
        return result
    before, known = raw[~seen], right[~seen]
    after = fit(raw[seen], right[seen])(before)
    return replace(
        result, ece=(ece(before, known), ece(after, known)), auroc=(auroc(before, known), auroc(after, known))
    )


def calibration_path(checkpoint: Path) -> Path:
    """`model.calibration.json` for `model.pt`: a folder may hold several checkpoints."""
    return checkpoint.with_suffix(".calibration.json")


def calibration_of(checkpoint: Path) -> Calibration | None:
    """The calibration beside a checkpoint; None without one, or, with a warning, if it belongs to other weights.

    Raises DataError for a file that cannot be read.
    """
    path = calibration_path(checkpoint)
    if not path.exists():
        return None
    calibration, weights = read_calibration(path)
    if weights != end_digest(checkpoint):
        logger.warning(
            "%s: belongs to other weights than %s, so it is not used; run refhcm calibrate", path, checkpoint
        )
        return None
    return calibration


def read_calibration(path: Path) -> tuple[Calibration, str]:
    """A calibration, and the digest of the weights it belongs to. Raises DataError for a file that is none."""
    try:
        check_small(path, largest=LARGEST_FILE)
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != VERSION or not isinstance(content["weights"], str):
            raise ValueError(f"version is {content['version']!r}, expected {VERSION}")
        tasks = {
            str(task): {_checked(field): _read_fitted(row) for field, row in fields.items()}
            for task, fields in content["tasks"].items()
        }
    except (OSError, UserError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        problem = f"{type(error).__name__}: {reason_of(error)}"
        raise DataError(
            f"{path}: is no calibration ({problem}); delete it, or write it again: refhcm calibrate"
        ) from error
    return Calibration(tasks), content["weights"]


def _checked(field: str) -> str:
    if field.partition("/")[0] not in JUDGED_FIELDS:
        raise ValueError(f"field {field[:40]!r} is none of {', '.join(JUDGED_FIELDS)}")
    return field


def _read_fitted(row: Mapping[str, Any]) -> Fitted:
    curve = Curve(*(tuple(float(number) for number in row["curve"][name]) for name in ("raw", "probability")))
    before_after = {name: (row[name][0], row[name][1]) for name in ("ece", "auroc")}
    return Fitted(curve, int(row["count"]), int(row["right"]), **before_after)


def write_calibration(calibration: Calibration, checkpoint: Path) -> None:
    """Writes a calibration beside its checkpoint, atomically. Raises UserError if it cannot be written."""
    tasks = {
        task: {field: asdict(fitted) for field, fitted in fields.items()} for task, fields in calibration.tasks.items()
    }
    path = calibration_path(checkpoint)
    content = {"version": VERSION, "weights": end_digest(checkpoint), "tasks": tasks}
    try:
        with atomic_write(path) as part:
            part.write_text(json.dumps(content, indent=1), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error
