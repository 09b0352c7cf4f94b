"""The tasks as fairseq knows them: an adapter registers each under its name.

`fairseq-train --user-dir` imports this file, so it names what else fairseq has to know: network, criterion, optimiser.
"""

import argparse
import json
import logging
from typing import Any

import numpy as np
import torch
from fairseq.data import FairseqDataset
from fairseq.tasks import FairseqTask, register_task
from torch.serialization import add_safe_globals

from ..criterions import adjust_label_smoothed_cross_entropy as adjust_label_smoothed_cross_entropy
from ..data.dataset import BadRowCounter, ReferringDataset
from ..data.vocabulary import Vocabulary
from ..models.generation_settings import GenerationSettings
from ..models.refhcm import fairseq_model as fairseq_model
from ..utils import fairseq_optimizer as fairseq_optimizer
from ..utils.checkpoints import ALLOWED_GLOBALS
from ..utils.errors import DataError, UserError
from ..utils.flags import add_flags, from_namespace
from . import TRAINABLE
from .base import Task
from .evaluation import ScoredRow, answer, example, summarize

logger = logging.getLogger(__name__)
add_safe_globals([*ALLOWED_GLOBALS])  # fairseq's own loop reads its checkpoints by torch.load, which refuses others


class Rows(FairseqDataset):
    """A ReferringDataset or Mixture as fairseq sees it: every row counts as one token."""

    def __init__(self, dataset: ReferringDataset, task: Task, *, path: str, seed: int, shuffle_after: float) -> None:
        """path: of the file that `dataset` reads."""
        self.dataset, self.task, self.path, self.seed, self.shuffle_after = dataset, task, path, seed, shuffle_after
        self.epoch = 1

    def __getitem__(self, index: int) -> Any:
        return self.dataset[int(index)]

    def __len__(self) -> int:
        return len(self.dataset)

    def collater(self, samples: list[Any]) -> dict[str, Any]:
        """Samples -> a batch."""
        return self.task.collate(samples)

    def batch_by_size(self, indices: np.ndarray, *, max_sentences: int, **_: Any) -> list[np.ndarray]:
        """Batches of rows in their order. fairseq's own method would drop the last rows of an epoch."""
        return [indices[start : start + max_sentences] for start in range(0, len(indices), max_sentences)]

    def num_tokens(self, index: int) -> int:
        """1: batches are counted in rows."""
        return 1

    def size(self, index: int) -> int:
        """See `num_tokens`."""
        return 1

    def ordered_indices(self) -> np.ndarray:
        """A new permutation for each epoch, the same on every rank."""
        return self.dataset.order(self.epoch, seed=self.seed, shuffle_after=self.shuffle_after)

    def set_epoch(self, epoch: int) -> None:
        """Called by fairseq before `ordered_indices`."""
        self.epoch = epoch

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        """Each epoch has its own batches."""
        return False


class ReferringTask(FairseqTask):
    """A plain task as fairseq sees it: datasets, steps, and scores of the validation set."""

    plain_class: type[Task]

    def __init__(self, args: argparse.Namespace) -> None:
        # fairseq would keep an epoch's workers for a next one, which never uses them
        super().__init__(argparse.Namespace(persistent_workers=False, reuse_dataloader=False))
        self.args = args
        self.settings = from_namespace(self.plain_class.settings_class, args)
        self.plain = self.plain_class.from_settings(self.settings)
        self.files = args.data.split(",")
        self.counter = BadRowCounter(self.settings.skip_bad_rows)
        self.answers: list[ScoredRow] = []
        self.generation = self._generation()

    @classmethod
    def add_args(cls, parser: argparse.ArgumentParser) -> None:
        """Flags of the task."""
        parser.add_argument("data", help="TSV files, separated by commas: training files, then the validation file")
        add_flags(parser, cls.plain_class.settings_class)

    @classmethod
    def setup_task(cls, args: argparse.Namespace, **_: Any) -> "ReferringTask":
        """fairseq's constructor."""
        return cls(args)

    @property
    def scores_answers(self) -> bool:
        """Whether validation answers rows: `--eval-acc` or `--eval-cider`."""
        return self.settings.eval_acc or self.settings.eval_cider

    def _generation(self) -> GenerationSettings:
        try:
            given = json.loads(self.settings.eval_args)
        except ValueError as error:
            raise UserError(f"--eval-args: needs JSON, got {self.settings.eval_args!r} ({error})") from None
        return GenerationSettings.from_args(given) if given else self.plain.generation_settings()

    @property
    def source_dictionary(self) -> Vocabulary:
        """The vocabulary, which has the methods of fairseq's Dictionary."""
        return self.plain.vocabulary

    @property
    def target_dictionary(self) -> Vocabulary:
        """The same object."""
        return self.plain.vocabulary

    def max_positions(self) -> None:
        """None: rows are not filtered by length. A row that is too long is an error."""

    def training_file(self, epoch: int) -> str:
        """See `Task.training_file`."""
        return self.plain.training_file(self.files, epoch)

    def load_dataset(self, split: str, combine: bool = False, epoch: int = 1, **_: Any) -> None:
        """Opens the file of a split, unless it is open."""
        training = split == "train"
        path = self.training_file(epoch) if training else self.files[-1]
        if split in self.datasets and self.datasets[split].path == path:
            return
        if not training and self.scores_answers:
            self.plain.prepare_scores()
        curriculum = getattr(self.args, "curriculum", 0)
        rows = self.plain.open(path, training=training)
        shuffle_after = curriculum if training else float("inf")
        self.datasets[split] = Rows(rows, self.plain, path=path, seed=self.args.seed, shuffle_after=shuffle_after)

    def check(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Counts a batch's bad and clipped rows and removes their messages; without a good row nothing is left."""
        self.counter.check(batch)
        return batch

    def stand_in(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A batch to compute where a rank has no rows: `batch`, or a good row if it has none.

        DataError if an open table begins with more bad rows than may be skipped, or has no good one.
        """
        if "target" not in batch:
            batch, *_ = [self._good_row(rows) for rows in self.datasets.values()]
        counted = ("bad_rows", "clipped_rows", "remarks")
        return {name: value for name, value in batch.items() if name not in counted} | {"stands_in": True}

    def _good_row(self, rows: Rows) -> dict[str, Any]:
        first = []
        for i in range(min(len(rows), self.counter.limit + 1)):
            single = rows.collater([rows[i]])
            if "target" in single:
                return single
            first += single["bad_rows"]
        if len(rows) > self.counter.limit:
            raise DataError(f"{first[-1]}: bad row {len(first)}, --skip-bad-rows allows {self.counter.limit}")
        raise DataError(f"{rows.path}: no row can be used; the first: {first[0]}")

    def train_step(
        self, sample: Any, model: Any, criterion: Any, optimizer: Any, update_num: int, ignore_grad: bool = False
    ) -> Any:
        """fairseq's step, also under `--autocast-bf16`. The criterion gets the number of the update.

        A stand-in for an empty batch is computed, because other ranks wait for it, but counts for nothing.
        """
        self.check(sample)  # for fairseq's own loop; ours has done so
        criterion.update_num = update_num
        model.train()
        model.set_num_updates(update_num)
        bf16 = getattr(self.args, "autocast_bf16", False)
        with torch.autocast(sample["target"].device.type, torch.bfloat16, enabled=bf16):
            loss, sample_size, logged = _counted(criterion(model, sample), sample)
        optimizer.backward(loss * 0 if ignore_grad else loss)
        return loss, sample_size, logged

    def valid_step(self, sample: dict[str, Any], model: Any, criterion: Any) -> Any:
        """The loss. With `--eval-acc` or `--eval-cider` each row is answered, for `end_validation` to score."""
        self.check(sample)
        result = _counted(super().valid_step(sample, model, criterion), sample)
        if self.scores_answers and not sample.get("stands_in"):
            answers = answer(self.plain, model, sample, self.generation)
            self.answers += answers
            if self.settings.eval_print_samples:
                logger.info("%s", example(self.plain, sample, answers))
        return result

    def end_validation(self) -> dict[str, Any]:
        """Metrics of the rows that all ranks answered since the last call."""
        answers, self.answers = self.answers, []
        if not self.scores_answers:
            return {}
        metrics, _ = summarize(self.plain, answers)
        if metrics["count"] == 0:
            raise DataError("validation: no row can be used (--skip-bad-rows): there is nothing to score")
        return {name: value for name, value in metrics.items() if isinstance(value, int | float)}


def _counted(result: tuple[Any, Any, dict[str, Any]], sample: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """Loss, sample size and logs of a step; zeros if the sample is a stand-in."""
    if not sample.get("stands_in"):
        return result
    loss, size, logged = result
    return 0 * loss, 0 * size, {name: 0 * value for name, value in logged.items()}


def register(plain_class: type[Task]) -> type[ReferringTask]:
    """Registers a plain task with fairseq under its name."""
    adapter = type(f"Fairseq{plain_class.__name__}", (ReferringTask,), {"plain_class": plain_class})
    return register_task(plain_class.name)(adapter)


for _task in TRAINABLE.values():
    register(_task)
