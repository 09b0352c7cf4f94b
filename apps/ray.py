"""Answers in Ray Data's pipelines (docs/many.md).

    workers = ray.data.ActorPoolStrategy(size=2)
    dataset.map_batches(Ask, fn_constructor_kwargs={"checkpoint": "refhcm.pt"}, compute=workers, batch_size=64)

Ray itself is not imported here: `Ask` takes and gives dicts of columns, so other engines can call it as well.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..inference.loading import load
from ..utils.errors import UserError
from .cli.ask.answering import answer_batch, batches, check_model
from .cli.ask.questions import PARTS, Job, check_parts
from .cli.ask.records import fields_of


class Ask:
    """A class for `map_batches`: each actor loads the model once.

    Batches are dicts of columns. `image`: encoded bytes, path, or array uint8 [H, W, 3] in RGB; `text`: whom you mean.
    Columns `answer` (JSON, fields of `Answer.to_dict`; with `people` for everyone) and `error` are added: one of the
    two is empty in each row, so no row is lost.
    """

    def __init__(
        self,
        checkpoint: str | Path | None = None,
        *,
        everyone: bool = False,
        wanted: Sequence[str] = (),
        image: str = "image",
        text: str = "text",
        **options: Any,
    ) -> None:
        """everyone: give all who fit, as `Predictor.find`. wanted: of `keypoints`, `parsing`, `parallel`, `caption`.

        image, text: the columns' names. options: as for `refhcm.load`. UserError for what the model cannot do.
        """
        if unknown := [name for name in wanted if name not in PARTS]:
            raise UserError(f"wanted: expected some of {', '.join(PARTS)}, got {unknown[0]!r}")
        check_parts(wanted, everyone="everyone" * everyone)
        self.model = load(checkpoint, **options)
        check_model(self.model, wanted, everyone=everyone)
        self._columns = image, text
        self._question = "find" if everyone else "refer"
        self._wanted = dict.fromkeys(wanted, True)

    def __call__(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The batch with the columns `answer` and `error`, both str. UserError if a column is missing."""
        if missing := [name for name in self._columns if name not in batch]:
            raise UserError(f"the batch has no column {missing[0]!r}; it has {', '.join(batch)}")
        pictures, texts = (batch[name] for name in self._columns)
        jobs = [Job("", {self._question: _text(text)} | self._wanted) for text in texts]
        rows: list[dict[str, Any]] = []
        for images in batches(pictures, self.model.batch_size):
            found = answer_batch(self.model, jobs[len(rows) : len(rows) + len(images)], images)
            del images  # before the next are opened
            rows += [fields_of(one, self.model.notes) for one in found]
        errors = [str(row.get("error", "")) for row in rows]
        answers = ["" if error else json.dumps(row) for row, error in zip(rows, errors, strict=True)]
        return {**batch, "answer": np.array(answers, object), "error": np.array(errors, object)}


def _text(text: Any) -> str:
    """Empty where it is missing: None, or NaN, which differs from itself."""
    return "" if text is None or text != text else str(text)
