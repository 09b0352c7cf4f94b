"""Several tasks in one instruction, S1 decoding (docs/applications.md, "Several tasks in one instruction")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..models.generated import Generated
from ..models.generation_settings import GenerationSettings
from ..tasks.chain import chain_instruction
from .answers import Answer
from .engine import Engine, Row
from .instruction import Instruction, induce


def chained(
    engine: Engine,
    task: Instruction,
    rows: Sequence[Row],
    *,
    settings: GenerationSettings,
    keypoints: bool,
    parsing: bool,
) -> list[Answer]:
    """Answers about the people whom the rows' texts describe. Where a part cannot be induced, one is not valid."""

    def instruct(row: Row) -> Row:
        text = chain_instruction(row.question.text, keypoints=keypoints, parsing=parsing)
        return replace(row, question=replace(row.question, text=text))

    def again(which: list[int], starts: list[np.ndarray], length: int | None) -> list[Generated]:
        exact = settings if length is None else replace(settings, min_len=length, max_len_b=length)
        return engine.generate(task, [rows[k] for k in which], exact, starts=starts)

    rows = [instruct(row) for row in rows]
    first = engine.generate(task, rows, settings)
    found = induce(task, first, again, keypoints=keypoints, parsing=parsing)
    answers = engine.read(task, rows, [one.generated for one in found])
    return [
        replace(answer, valid=answer.valid and not one.notes, notes=answer.notes + one.notes)
        for answer, one in zip(answers, found, strict=True)
    ]
