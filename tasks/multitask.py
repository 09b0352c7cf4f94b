"""Keypoints, parsing and captions trained together (paper, section 3; spec/data.md, "Multitask mixing")."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..data.mixture import Mixture
from ..data.text import TextEncoder
from ..data.tsv import TsvFile
from ..utils.errors import UserError
from .base import BOX_SYMBOLS, Annotation, Task
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
    # The published mixture has the first three. These two let one network learn every answer.
    "refquery": ParallelBesideOrdinary,
    "refregion": ReferringComprehension,
}


class Multitask(Task):
    """Training only: its answers are those of its parts, which are evaluated under their own names."""

    name = "multitask"
    settings_class = MultitaskSettings

    def __init__(self, text: TextEncoder, settings: MultitaskSettings) -> None:
        super().__init__(text, settings)
        weights = parse_weights(settings.part_weights)
        self.parts = []
        for name, part in PARTS.items():
            path, columns = (getattr(settings, f"{name}_{field}") for field in ("dataset", "selected_cols"))
            if path:
                task = part(text, replace(settings, selected_cols=columns), with_labels=False)
                self.parts.append((task, path, weights.get(name, 1.0)))
        if not self.parts:
            raise UserError(f"multitask needs {', '.join(f'--{name}-dataset' for name in PARTS)}, or some of them")

    @staticmethod
    def training_file(files: Sequence[str], epoch: int) -> str:
        """Epoch e uses file (e-1) mod n; there is no validation."""
        return files[(epoch - 1) % len(files)]

    def open(self, path: str | Path, *, training: bool) -> Mixture:
        """One sample of each part for each row of a REC file, whose rows themselves are not used."""
        if not training:
            raise UserError("multitask has no validation of its own: add --disable-validation, and evaluate each task")
        parts = [task.open(own_path, training=True) for task, own_path, _ in self.parts]
        weights = [weight for _, _, weight in self.parts] if self.settings.part_weights else None
        return Mixture(parts, len(TsvFile(path, None, names=("id",))), weights=weights)


def parse_weights(text: str) -> dict[str, float]:
    """`refregion=5,regcaption=0.5` -> weight by part. Raises UserError naming what it can not read."""
    weights = {}
    for item in filter(None, text.split(",")):
        name, _, number = item.partition("=")
        try:
            weights[name] = float(number)
        except ValueError:
            weights[name] = -1.0
        if name not in PARTS or not 0 < weights[name] < math.inf:
            known = ", ".join(PARTS)
            raise UserError(f"--part-weights: needs PART=NUMBER above 0 with a part of {known}, got {item!r}")
    return weights
