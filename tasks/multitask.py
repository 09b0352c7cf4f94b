"""Keypoints, parsing and captions trained together (paper, section 3; docs/data.md, "Multitask mixing")."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ..data.annotation import Annotation
from ..data.mixture import Mixture
from ..data.text import TextEncoder
from ..data.tsv import TsvFile
from ..utils.errors import UserError
from ..utils.symbols import BOX_SYMBOLS
from .base import Task
from .chain import Chain
from .grec import GeneralizedComprehension
from .refcoco import ReferringComprehension
from .rhrc import ReferringCaption
from .rkpt import ReferringKeypoints
from .rpar import ReferringParsing
from .rpar_full_mask import ReferringParsingParallel
from .settings import MultitaskSettings


class ParallelBesideOrdinary(ReferringParsingParallel):
    """Parallel parsing, learned together with ordinary parsing.

    Both have the same prompt. After the box, ordinary parsing alone decides: parallel decoding puts `begin` there
    itself, so the network must not learn to write it.
    """

    def sample(self, annotation: Annotation, *, training: bool) -> dict[str, Any]:
        """Without a target for `begin`."""
        sample = super().sample(annotation, training=training)
        target = sample["target"].clone()
        target[BOX_SYMBOLS] = self.vocabulary.pad()
        return sample | {"target": target}


PARTS = {
    "refpose": ReferringKeypoints,
    "refparsing": ReferringParsing,
    "regcaption": ReferringCaption,
    # The published mixture has the first three. With these, one network learns every kind of answer.
    "refquery": ParallelBesideOrdinary,
    "refregion": ReferringComprehension,
    "refchain": Chain,
    "refgrec": GeneralizedComprehension,
}


class _Part(NamedTuple):
    task: Task
    path: str
    weight: float
    rows: int


class Multitask(Task):
    """For training only; its parts are evaluated under their own names."""

    name = "multitask"
    settings_class = MultitaskSettings

    def __init__(self, text: TextEncoder, settings: MultitaskSettings) -> None:
        super().__init__(text, settings)
        weights = _by_part(settings.part_weights, "--part-weights", float)
        rows = _by_part(settings.part_rows, "--part-rows", int)
        self.weighted = bool(weights)
        self.parts = []
        for name, part in PARTS.items():
            path, columns = (getattr(settings, f"{name}_{field}") for field in ("dataset", "selected_cols"))
            if path:
                task = part(text, replace(settings, selected_cols=columns), with_labels=False)
                self.parts.append(_Part(task, path, weights.get(name, 1.0), rows.get(name, 1)))
        if not self.parts:
            raise UserError(f"multitask needs at least one of {', '.join(f'--{name}-dataset' for name in PARTS)}")

    @staticmethod
    def training_file(files: Sequence[str], epoch: int) -> str:
        """Epoch e uses file (e-1) mod n: none is for validation."""
        return files[(epoch - 1) % len(files)]

    # fairseq's adapter needs no more of a dataset than a Mixture has: length, items and order.
    def open(self, path: str | Path, *, training: bool) -> Mixture:  # type: ignore[override]
        """One or more samples of each part for each row of a REC file; the rows themselves are not used."""
        if not training:
            raise UserError("multitask has no validation: add --disable-validation, and evaluate each task by itself")
        parts = [part.task.open(part.path, training=True) for part in self.parts]
        weights = [part.weight for part in self.parts] if self.weighted else None
        length = len(TsvFile(path, None, names=("id",)))
        return Mixture(parts, length, rows=[part.rows for part in self.parts], weights=weights)


def _by_part(text: str, flag: str, kind: type[float] | type[int]) -> dict[str, Any]:
    """`refregion=5,regcaption=0.5` -> the number of each part. Raises UserError naming what it cannot read."""
    numbers: dict[str, Any] = {}
    for item in filter(None, text.split(",")):
        name, _, number = item.partition("=")
        try:
            numbers[name] = kind(number)
        except ValueError:
            numbers[name] = -1
        if name not in PARTS or not 0 < numbers[name] < math.inf:
            what = "a number" if kind is float else "a whole number"
            raise UserError(f"{flag}: needs PART=NUMBER: {', '.join(PARTS)}, and {what} above 0; got {item!r}")
    return numbers
