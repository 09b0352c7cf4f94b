"""Keypoints, parsing and captions trained together (paper, section 3; docs/data.md, "Multitask mixing")."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ..data.mixture import Mixture
from ..data.text import TextEncoder
from ..data.tsv import TsvFile
from ..utils.errors import UserError
from .base import BOX_SYMBOLS, Annotation, Task
from .chain import Chain
from .refcoco import ReferringComprehension
from .rhrc import ReferringCaption
from .rkpt import ReferringKeypoints
from .rpar import ReferringParsing
from .rpar_full_mask import ReferringParsingParallel
from .settings import MultitaskSettings


class ParallelBesideOrdinary(ReferringParsingParallel):
    """Parallel parsing where ordinary parsing is learned, too.

    Both have one prompt. What comes after the box is decided by ordinary parsing alone: `begin`, which parallel
    decoding always puts there itself, must not be learned as an answer.
    """

    def sample(self, annotation: Annotation, *, training: bool) -> dict[str, Any]:
        """Without a target at the place of `begin`."""
        sample = super().sample(annotation, training=training)
        target = sample["target"].clone()
        target[BOX_SYMBOLS] = self.vocabulary.pad()
        return sample | {"target": target}


PARTS = {
    "refpose": ReferringKeypoints,
    "refparsing": ReferringParsing,
    "regcaption": ReferringCaption,
    # The published mixture has the first three. These let one network learn every answer.
    "refquery": ParallelBesideOrdinary,
    "refregion": ReferringComprehension,
    "refchain": Chain,
}


class _Part(NamedTuple):
    task: Task
    path: str
    weight: float
    rows: int


class Multitask(Task):
    """Training only: its answers are those of its parts, which are evaluated under their own names."""

    name = "multitask"
    settings_class = MultitaskSettings

    def __init__(self, text: TextEncoder, settings: MultitaskSettings) -> None:
        super().__init__(text, settings)
        weights = _by_part(settings.part_weights, "--part-weights", float)
        rows = _by_part(settings.part_rows, "--part-rows", int)
        self.parts = []
        for name, part in PARTS.items():
            path, columns = (getattr(settings, f"{name}_{field}") for field in ("dataset", "selected_cols"))
            if path:
                task = part(text, replace(settings, selected_cols=columns), with_labels=False)
                self.parts.append(_Part(task, path, weights.get(name, 1.0), rows.get(name, 1)))
        if not self.parts:
            raise UserError(f"multitask needs {', '.join(f'--{name}-dataset' for name in PARTS)}, or some of them")

    @staticmethod
    def training_file(files: Sequence[str], epoch: int) -> str:
        """Epoch e uses file (e-1) mod n; there is no validation."""
        return files[(epoch - 1) % len(files)]

    def open(self, path: str | Path, *, training: bool) -> Mixture:
        """A sample of each part, or more, for each row of a REC file, whose rows themselves are not used."""
        if not training:
            raise UserError("multitask has no validation of its own: add --disable-validation, and evaluate each task")
        parts = [part.task.open(part.path, training=True) for part in self.parts]
        weights = [part.weight for part in self.parts] if self.settings.part_weights else None
        length = len(TsvFile(path, None, names=("id",)))
        return Mixture(parts, length, rows=[part.rows for part in self.parts], weights=weights)


def _by_part(text: str, flag: str, kind: type[float] | type[int]) -> dict[str, Any]:
    """`refregion=5,regcaption=0.5` -> number by part. Raises UserError naming what it can not read."""
    numbers = {}
    for item in filter(None, text.split(",")):
        name, _, number = item.partition("=")
        try:
            numbers[name] = kind(number)
        except ValueError:
            numbers[name] = -1
        if name not in PARTS or not 0 < numbers[name] < math.inf:
            known, what = ", ".join(PARTS), "a number" if kind is float else "a whole number"
            raise UserError(f"{flag}: needs PART=NUMBER, {what} above 0, with a part of {known}; got {item!r}")
    return numbers
