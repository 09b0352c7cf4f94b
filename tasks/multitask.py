"""Keypoints, parsing and captions trained together (paper, section 3; spec/data.md, "Multitask mixing")."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..data.mixture import Mixture
from ..data.text import TextEncoder
from ..data.tsv import TsvFile
from ..utils.errors import UserError
from .base import Task
from .rhrc import ReferringCaption
from .rkpt import ReferringKeypoints
from .rpar import ReferringParsing
from .settings import MultitaskSettings

PARTS = (("refpose", ReferringKeypoints), ("refparsing", ReferringParsing), ("regcaption", ReferringCaption))


class Multitask(Task):
    """Training only: its answers are those of its parts, which are evaluated under their own names."""

    name = "multitask"
    settings_class = MultitaskSettings

    def __init__(self, text: TextEncoder, settings: MultitaskSettings) -> None:
        super().__init__(text, settings)
        self.parts = []
        for name, part in PARTS:
            path, columns = (getattr(settings, f"{name}_{field}") for field in ("dataset", "selected_cols"))
            if path:
                self.parts.append((part(text, replace(settings, selected_cols=columns)), path))
        if not self.parts:
            raise UserError("multitask needs --refpose-dataset, --refparsing-dataset or --regcaption-dataset")

    @staticmethod
    def training_file(files: Sequence[str], epoch: int) -> str:
        """Epoch e uses file (e-1) mod n; there is no validation."""
        return files[(epoch - 1) % len(files)]

    def open(self, path: str | Path, *, training: bool) -> Mixture:
        """One sample of each part for each row of a REC file, whose rows themselves are not used."""
        if not training:
            raise UserError("multitask has no validation of its own: add --disable-validation, and evaluate each task")
        parts = [task.open(own_path, training=True) for task, own_path in self.parts]
        return Mixture(parts, len(TsvFile(path, None, names=("id",))))
