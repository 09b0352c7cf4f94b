"""Several tasks in one instruction, as a part of multitask training (paper, S1; docs/applications.md)."""

import zlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..data.annotation import Annotation
from ..data.canvas import Placed
from ..data.columns import NO_EXPRESSION, parse_keypoints
from ..data.text import TextEncoder
from ..utils.errors import DataError
from .base import Task
from .rkpt import ReferringKeypoints
from .rpar import ReferringParsing
from .settings import TaskSettings

CHAIN = 'which region does the text "{}" describe?'
CHAIN_PARSING = " Provide the parsing map"
CHAIN_KEYPOINTS = " and the keypoints. "


class Chain(Task):
    """Keypoints, parsing map, or both in one instruction. For training only.

    The published networks answer such instructions untrained; a small network has to learn it.
    """

    name = "chain"
    columns = (*ReferringParsing.columns, "keypoints")
    default_cols = ReferringParsing.default_cols + ",6"

    def __init__(self, text: TextEncoder, settings: TaskSettings, *, with_labels: bool = True) -> None:
        super().__init__(text, settings, with_labels=with_labels)
        self.keypoints = ReferringKeypoints(text, settings)
        self.parsing = ReferringParsing(text, settings, with_labels=with_labels)

    def annotation(self, row: Mapping[str, str], where: str) -> Annotation:
        """As for parsing, with keypoints. Raises DataError for a row without an expression."""
        if row["expression"] == NO_EXPRESSION:
            raise DataError(f"{where}: column expression: an instruction needs an expression, got {NO_EXPRESSION}")
        keypoints = parse_keypoints(row["keypoints"], where)
        return replace(self.parsing.annotation(row, where), keypoints=keypoints)

    @staticmethod
    def _asked(annotation: Annotation) -> dict[str, bool]:
        """The tasks of a row, drawn by its id: both for half of the rows, else one of them."""
        drawn = zlib.crc32(annotation.id.encode()) % 4
        return {"keypoints": drawn != 1, "parsing": drawn != 2}

    def source(self, annotation: Annotation, placed: Placed) -> np.ndarray:
        """The instruction of S1 decoding, without bos and eos."""
        instruction = chain_instruction(annotation.expression, **self._asked(annotation))
        return self.text.encode_instruction(instruction)[1:-1]

    def target(self, annotation: Annotation, placed: Placed, *, training: bool) -> np.ndarray:
        """Box and keypoints, then box (again) and codes: the order of S1 decoding."""
        asked = self._asked(annotation)
        tasks = [self.keypoints] * asked["keypoints"] + [self.parsing] * asked["parsing"]
        return np.concatenate([task.target(annotation, placed, training=training) for task in tasks])


def chain_instruction(text: str, *, keypoints: bool, parsing: bool) -> str:
    """One instruction that asks several tasks."""
    return CHAIN.format(text) + CHAIN_PARSING * parsing + CHAIN_KEYPOINTS * keypoints
