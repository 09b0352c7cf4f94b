"""The training loop on fairseq's trainer: epochs, validation, saving, resuming (docs/training.md)."""

import argparse
import logging
import math
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from fairseq import tasks as fairseq_tasks
from fairseq import utils as fairseq_utils
from fairseq.data import iterators
from fairseq.dataclass.configs import FairseqConfig
from fairseq.logging import metrics, progress_bar
from fairseq.trainer import Trainer
from omegaconf import open_dict

from ..tasks.fairseq_tasks import ReferringTask
from ..utils.errors import UserError
from .checkpointing import Saver
from .reading import reading
from .resuming import batches, check_ranks, resume, start_from, starting_weights
from .run_data import run_data
from .trainer import ReferringTrainer

logger = logging.getLogger(__name__)


def train(cfg: FairseqConfig, args: argparse.Namespace) -> None:
    """A whole run, resumed from what its save folder holds."""
    if cfg.dataset.batch_size is None:
        raise UserError("--batch-size: give the rows of a batch")
    metrics.reset()
    np.random.seed(cfg.common.seed)
    fairseq_utils.set_torch_seed(cfg.common.seed)
    task: ReferringTask = fairseq_tasks.setup_task(cfg.task)
    model = task.build_model(cfg.model)
    criterion = task.build_criterion(cfg.criterion)
    logger.info("%s: %s parameters", cfg.model.arch, f"{sum(p.numel() for p in model.parameters()):,}")
    subsets = [] if cfg.dataset.disable_validation else cfg.dataset.valid_subset.split(",")
    for subset in subsets:
        task.load_dataset(subset)
    total_updates = fill_schedule(cfg, task, args.warmup_ratio)
    start = starting_weights(cfg)
    if start is not None:
        start_from(start, model, ema=args.use_ema_weights_to_init_param)
    trainer = ReferringTrainer(cfg, task, model, criterion)
    data = run_data(task, validated=bool(subsets))
    saver = Saver(cfg.checkpoint, trainer, run={"batches": batches(cfg), "data": data})
    epochs = resume(cfg, trainer, saver, fresh=start is not None)
    check_ranks(cfg, trainer.get_num_updates(), epochs.epoch)
    if cfg.ema.store_ema and args.use_latest_weights_to_init_ema:
        trainer.ema.restore(trainer.get_model().state_dict(), build_fp32_params=trainer.cfg.ema.ema_fp32)
    Run(cfg, task, trainer, saver, subsets, total_updates).epochs(epochs)


def fill_schedule(cfg: FairseqConfig, task: ReferringTask, warmup_ratio: float) -> int | None:
    """Updates of the whole run; with `--warmup-ratio` it also sets the schedule's length and warm-up from them.

    total = sum over epochs of ceil(batches of a rank / update_freq); warm-up = int(total * ratio).
    """
    if cfg.optimization.max_epoch == 0:
        if warmup_ratio >= 0:
            raise UserError("--warmup-ratio needs --max-epoch: the schedule ends with the training")
        return cfg.optimization.max_update or None
    total, lengths = 0, {}
    for epoch in range(1, cfg.optimization.max_epoch + 1):
        path = task.training_file(epoch)
        if path not in lengths:
            task.load_dataset("train", epoch=epoch)
            lengths[path] = len(task.datasets["train"])
        batches = math.ceil(lengths[path] / cfg.dataset.batch_size)
        share = math.ceil(batches / cfg.distributed_training.distributed_world_size)
        total += math.ceil(share / update_freq(cfg, epoch))
    if warmup_ratio >= 0:
        with open_dict(cfg):
            cfg.lr_scheduler.total_num_update = total
            cfg.lr_scheduler.warmup_updates = int(total * warmup_ratio)
        logger.info("schedule: %d updates, %d of them warm-up", total, int(total * warmup_ratio))
    return min(total, cfg.optimization.max_update or total)


def update_freq(cfg: FairseqConfig, epoch: int) -> int:
    """How many batches make one update in this epoch."""
    given = cfg.optimization.update_freq
    return given[min(epoch, len(given)) - 1]


def _with_stall(batches: Iterable[Any]) -> Iterator[tuple[Any, float]]:
    """Each batch with the seconds that training waited for it, shown in the log as `stall`."""
    begin = time.perf_counter()
    for batch in batches:
        yield batch, time.perf_counter() - begin
        begin = time.perf_counter()


class Run:
    """Epochs, validations and checkpoints of a run."""

    def __init__(
        self,
        cfg: FairseqConfig,
        task: ReferringTask,
        trainer: Trainer,
        saver: Saver,
        subsets: list[str],
        total_updates: int | None,
    ) -> None:
        self.cfg, self.task, self.trainer, self.saver, self.subsets = cfg, task, trainer, saver, subsets
        self.total_updates = total_updates
        self.first_update, self.began = trainer.get_num_updates(), time.monotonic()

    def epochs(self, epochs: iterators.EpochBatchIterator) -> None:
        """Trains until an epoch, update, time, learning-rate or patience limit."""
        if self.saver.owed and self.subsets:
            self.saver.make_up(*[self._validate(subset, epochs.epoch) for subset in self.subsets])
        last = self.cfg.optimization.max_epoch or math.inf
        while epochs.next_epoch_idx <= last and self.trainer.get_lr() > self.cfg.optimization.stop_min_lr:
            if self._updates_done() or self._epoch(epochs):
                break
            epochs = self.trainer.get_train_iterator(
                epochs.next_epoch_idx, load_dataset=True, disable_iterator_cache=True
            )
        logger.info("done: %d updates", self.trainer.get_num_updates())

    @metrics.aggregate("train")
    def _epoch(self, epochs: iterators.EpochBatchIterator) -> bool:
        """One epoch; whether to stop after it."""
        itr = epochs.next_epoch_itr(
            fix_batches_to_gpus=self.cfg.distributed_training.fix_batches_to_gpus,
            shuffle=epochs.next_epoch_idx > self.cfg.dataset.curriculum,
        )
        grouped = iterators.GroupedIterator(itr, update_freq(self.cfg, epochs.epoch))
        progress = self._progress(grouped, epochs.epoch)
        self.trainer.begin_epoch(epochs.epoch)
        with reading(epochs, itr):
            stop, valid_loss = self._updates(epochs, grouped, progress)
        stats = self._with_time(metrics.get_smoothed_values("train"))
        progress.print(stats, tag="train", step=self.trainer.get_num_updates())
        metrics.reset_meters("train")
        self.task.counter.report_clipped()
        self.trainer.lr_step(epochs.epoch, valid_loss)
        return stop

    def _updates(
        self, epochs: iterators.EpochBatchIterator, grouped: iterators.GroupedIterator, progress: Any
    ) -> tuple[bool, float | None]:
        """The updates of an epoch; whether to stop, and the value of the last validation."""
        stop, valid_loss = False, None
        for samples, stall in _with_stall(progress):
            with metrics.aggregate("train_inner"):
                metrics.log_scalar("stall", stall, round=3)
                logged = self.trainer.train_step([self.task.check(sample) for sample in samples])
            if logged is not None and self.trainer.get_num_updates() % self.cfg.common.log_interval == 0:
                stats = self._with_time(metrics.get_smoothed_values("train_inner"))
                progress.log(stats, tag="train_inner", step=self.trainer.get_num_updates())
                metrics.reset_meters("train_inner")
            if logged is None and grouped.has_next():  # fp16 overflowed: no weight has changed
                continue
            stop, valid_loss = self._validate_and_save(epochs, end_of_epoch=not grouped.has_next())
            if stop:
                break
        return stop, valid_loss

    def _updates_done(self) -> bool:
        return self.trainer.get_num_updates() >= (self.cfg.optimization.max_update or math.inf)

    def _with_time(self, stats: dict[str, Any]) -> dict[str, Any]:
        """The stats with the time left."""
        done = self.trainer.get_num_updates() - self.first_update
        if self.total_updates and done:
            left = (self.total_updates - self.trainer.get_num_updates()) * (time.monotonic() - self.began) / done
            stats["eta"] = (
                time.strftime("%H:%M:%S", time.gmtime(max(left, 0))) if left < 86400 else f"{left / 86400:.1f}d"
            )
        return stats

    def _validate_and_save(
        self, epochs: iterators.EpochBatchIterator, *, end_of_epoch: bool
    ) -> tuple[bool, float | None]:
        cfg, updates = self.cfg, self.trainer.get_num_updates()
        hours = self.trainer.cumulative_training_time() / 3600
        stop = self._updates_done() or 0 < cfg.optimization.stop_time_hours < hours
        late_enough = updates >= cfg.dataset.validate_after_updates

        def due(interval: int) -> bool:
            return interval > 0 and updates > 0 and updates % interval == 0

        save = stop or (end_of_epoch and epochs.epoch % cfg.checkpoint.save_interval == 0)
        save = save or (due(cfg.checkpoint.save_interval_updates) and late_enough)
        validate = stop or due(cfg.dataset.validate_interval_updates)
        validate = validate or (end_of_epoch and epochs.epoch % cfg.dataset.validate_interval == 0)
        value, improved = None, False
        if validate and self.subsets and late_enough:
            try:
                value, *_ = [self._validate(subset, epochs.epoch) for subset in self.subsets]
            except Exception:  # keep what was trained; the resumed run validates it
                self.saver.save(epochs, None, owed=True)
                raise
            improved = self.saver.note(value)
            stop = stop or 0 < cfg.checkpoint.patience <= self.saver.without_improvement
        if save or stop or improved:
            self.saver.save(epochs, value, improved=improved)
        return stop, value

    def _validate(self, subset: str, epoch: int) -> float:
        """Logs loss and metrics of a subset; returns the metric that chooses the best checkpoint."""
        if self.cfg.dataset.fixed_validation_seed is not None:
            fairseq_utils.set_torch_seed(self.cfg.dataset.fixed_validation_seed)
        self.trainer.begin_valid_epoch(epoch)
        rows = self.trainer.get_valid_iterator(subset, disable_iterator_cache=True)
        itr = rows.next_epoch_itr(shuffle=False, set_dataset_epoch=False)
        if self.cfg.dataset.max_valid_steps is not None:
            itr.take(self.cfg.dataset.max_valid_steps)
        progress = self._progress(itr, epoch, prefix=f"valid on '{subset}' subset")
        with metrics.aggregate(new_root=True) as total, reading(rows, itr):
            for sample in progress:
                self.trainer.valid_step(self.task.check(sample))
        stats = total.get_smoothed_values() | self.task.end_validation()
        stats["num_updates"] = self.trainer.get_num_updates()
        name = self.cfg.checkpoint.best_checkpoint_metric
        if name not in stats:
            known = ", ".join(sorted(stats))
            raise UserError(
                f"--best-checkpoint-metric {name}: validation gives {known} (other metrics need --eval-acc)"
            )
        progress.print(stats, tag=subset, step=self.trainer.get_num_updates())
        return float(stats[name]) if stats.get("sample_size", 1) else math.nan  # NaN: no row could be used

    def _progress(self, itr: Any, epoch: int, prefix: str | None = None) -> Any:
        common, first = self.cfg.common, self.trainer.is_data_parallel_master
        return progress_bar.progress_bar(
            itr,
            log_format=common.log_format,
            log_file=common.log_file,
            log_interval=common.log_interval,
            epoch=epoch,
            prefix=prefix,
            tensorboard_logdir=common.tensorboard_logdir if first else None,
            default_log_format="simple" if common.no_progress_bar else "tqdm",
        )
