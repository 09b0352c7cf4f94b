"""Rows to answers to metrics, on one rank or many, for validation and for `evaluate.py`."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from ..data.annotation import Labels, Prediction
from ..data.dataset import BadRowCounter, ReferringDataset
from ..models.generated import Generated
from ..models.generation_settings import GenerationSettings
from ..models.refhcm.network import Network
from ..utils.devices import gather, move
from ..utils.files import atomic_write
from .base import Batch, Task

logger = logging.getLogger(__name__)

Observe = Callable[[int, Generated, Prediction, Labels], None]  # row of the table, and its answer


@dataclass(frozen=True)
class ScoredRow:
    """The answer to a row of the TSV: its entry in the result file, and its part of the metrics."""

    row: int
    record: dict[str, Any]
    statistics: dict[str, Any]


def answer(
    task: Task, network: Network, batch: Batch, settings: GenerationSettings, *, observe: Observe | None = None
) -> list[ScoredRow]:
    """Answers and scores each row of a batch. The network is in evaluation mode, the batch on the same device.

    observe: is shown each answer, with its distributions.
    """
    generated = task.generate(network, batch, settings, distributions=observe is not None)
    predictions = task.parse_batch(generated, batch["net_input"]["src_tokens"].device)
    answers = []
    for i, prediction in enumerate(predictions):
        labels = {name: values[i] for name, values in batch.items() if isinstance(values, np.ndarray | list)}
        record, statistics = task.record(prediction, labels), task.statistics(prediction, labels)
        answers.append(ScoredRow(int(batch["rows"][i]), record, statistics))
        if observe is not None:
            observe(int(batch["rows"][i]), generated[i], prediction, labels)
    return answers


def summarize(task: Task, answers: Sequence[ScoredRow]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Metrics and records of all ranks' answers: each row once, in file order, the same on every rank."""
    by_row = {item.row: item for item in gather(list(answers))}
    ordered = [by_row[row] for row in sorted(by_row)]
    metrics = task.summarize([item.statistics for item in ordered])
    return metrics | {"count": len(ordered)}, [item.record for item in ordered]


def evaluate(
    task: Task,
    network: Network,
    dataset: ReferringDataset,
    *,
    settings: GenerationSettings,
    batch_size: int,
    num_workers: int = 0,
    rank: int = 0,
    world: int = 1,
    rows: int | None = None,
    observe: Observe | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Metrics and result records of a whole file; each rank answers its share of the rows.

    rows: only so many, the first; observe: is shown each answer of this rank. DataError for more bad rows than the
    settings allow; where only all ranks' together are, the first says so, and the others end with status 2.
    """
    weight = network.decoder.output_projection.weight
    share = Subset(dataset, range(len(dataset))[:rows][rank::world])
    loader = DataLoader(share, batch_size, num_workers=num_workers, collate_fn=task.collate, pin_memory=weight.is_cuda)
    task.prepare_scores()
    counter = BadRowCounter(task.settings.skip_bad_rows)
    answers: list[ScoredRow] = []
    for batch in tqdm(loader, desc="evaluate", unit="batch", disable=rank != 0):
        counter.check(batch)
        if batch:
            batch["net_input"] = move(batch["net_input"], weight.device, weight.dtype)
            answers += answer(task, network, batch, settings, observe=observe)
    counter.report_clipped()
    if (excess := counter.excess(gather(counter.bad))) is not None:
        raise excess if rank == 0 else SystemExit(2)
    return summarize(task, answers)


def write_json(content: Any, path: str | Path) -> None:
    """Writes a result file atomically."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as part:
        part.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def example(task: Task, batch: Batch, answers: Sequence[ScoredRow]) -> str:
    """The batch's first answer beside its label, as text for `--eval-print-samples`."""
    target = task.text.transcribe(batch["target"][0])
    return f"label: {target} | answer: {json.dumps(answers[0].record, ensure_ascii=False)}"
