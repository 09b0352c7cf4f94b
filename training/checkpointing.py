"""Checkpoint files under fairseq's names, written atomically (docs/training.md, "Checkpoints")."""

import logging
import math
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairseq.dataclass.configs import CheckpointConfig
from fairseq.trainer import Trainer

from ..utils.errors import UserError
from ..utils.files import atomic_write

logger = logging.getLogger(__name__)


class Saver:
    """Writes and prunes the checkpoints of a run.

    best: the best value of the chosen metric so far. owed: whether the last checkpoint still has to be validated.
    """

    def __init__(self, options: CheckpointConfig, trainer: Trainer, *, run: Mapping[str, Any]) -> None:
        """run: what checkpoints tell of their run: `batches` (`resuming.batches`) and `data` (`run_data.run_data`)."""
        if options.write_checkpoints_asynchronously or options.keep_interval_updates_pattern != -1:
            raise UserError("--write-checkpoints-asynchronously and --keep-interval-updates-pattern are not supported")
        if options.checkpoint_suffix:
            raise UserError(
                "--checkpoint-suffix is not supported: the run could not find its own files when it resumes"
            )
        self.options, self.trainer, self.run = options, trainer, dict(run)
        self.folder = Path(options.save_dir)
        self.best: float | None = None
        self.without_improvement = 0  # validations since the best one
        self.owed = False

    def restore(self, state: dict[str, Any]) -> None:
        """Takes over a checkpoint's extra state."""
        self.best, self.without_improvement = state.get("best"), state.get("without_improvement", 0)
        if self.best is not None and not math.isfinite(self.best):  # from an earlier version
            self.best = None
        self.owed = state.get("owed", False)

    def note(self, value: float) -> bool:
        """Records the chosen metric of a validation; returns whether it is the best so far: never NaN or infinity."""
        if not math.isfinite(value):
            logger.warning("validation: %s is %s, which is never the best", self.options.best_checkpoint_metric, value)
        improved = math.isfinite(value) and (self.best is None or self.better(value, self.best))
        self.best = value if improved else self.best
        self.without_improvement = 0 if improved else self.without_improvement + 1
        return improved

    def better(self, value: float, other: float) -> bool:
        """Whether a metric's value is at least as good as another."""
        return value >= other if self.options.maximize_best_checkpoint_metric else value <= other

    def make_up(self, value: float, *_: float) -> None:
        """Records the chosen metric of the last checkpoint, whose own validation failed."""
        if self.note(value) and self.trainer.should_save_checkpoint_on_current_rank:
            _link(self.folder / "checkpoint_last.pt", self.folder / "checkpoint_best.pt")
        self.owed = False

    def save(self, epochs: Any, value: float | None, *, improved: bool = False, owed: bool = False) -> None:
        """Writes the files that are due. value: the chosen metric of a validation just run; improved: see `note`."""
        if self.options.no_save:
            return
        self.trainer.consolidate_optimizer()
        names = self._names(epochs, value, improved=improved)
        if names and self.trainer.should_save_checkpoint_on_current_rank:
            self.folder.mkdir(parents=True, exist_ok=True)
            first, *others = (self.folder / name for name in names)
            state = {"train_iterator": epochs.state_dict(), "val_loss": value, "best": self.best}
            state |= {"without_improvement": self.without_improvement, "owed": owed} | self.run
            self.trainer.save_checkpoint(str(first), state)
            for other in others:
                _link(first, other)
            logger.info("saved %s (update %d)", ", ".join(names), self.trainer.get_num_updates())
            self._prune()

    def _names(self, epochs: Any, value: float | None, *, improved: bool) -> list[str]:
        options, epoch, updates = self.options, epochs.epoch, self.trainer.get_num_updates()
        ended, suffix = epochs.end_of_epoch(), self.trainer.checkpoint_suffix
        due = options.save_interval_updates > 0 and updates % options.save_interval_updates == 0
        names = {
            f"checkpoint{epoch}{suffix}.pt": ended
            and not options.no_epoch_checkpoints
            and epoch % options.save_interval == 0,
            f"checkpoint_{epoch}_{updates}{suffix}.pt": not ended and due,
            f"checkpoint_best{suffix}.pt": improved,
            f"checkpoint_last{suffix}.pt": not options.no_last_checkpoints,
        }
        if value is not None and math.isfinite(value) and options.keep_best_checkpoints > 0:
            names[f"checkpoint.best_{options.best_checkpoint_metric}_{value:.4f}_{updates}{suffix}.pt"] = True
        return [name for name, wanted in names.items() if wanted]

    def _prune(self) -> None:
        options = self.options
        if options.keep_interval_updates > 0:
            self._keep(r"checkpoint_\d+_(\d+)\.pt", options.keep_interval_updates, largest=True)
        if options.keep_last_epochs > 0:
            self._keep(r"checkpoint(\d+)\.pt", options.keep_last_epochs, largest=True)
        if options.keep_best_checkpoints > 0:
            pattern = rf"checkpoint\.best_{re.escape(options.best_checkpoint_metric)}_(-?[\d.]+)_\d+\.pt"
            self._keep(pattern, options.keep_best_checkpoints, largest=options.maximize_best_checkpoint_metric)

    def _keep(self, pattern: str, count: int, *, largest: bool) -> None:
        found = [
            (float(match[1]), path) for path in self.folder.iterdir() if (match := re.fullmatch(pattern, path.name))
        ]
        for _, path in sorted(found, reverse=largest)[count:]:
            path.unlink()


def _link(source: Path, target: Path) -> None:
    """Makes `target` the same file as `source` (a copy where hard links do not exist), atomically."""
    with atomic_write(target) as part:
        try:
            os.link(source, part)
        except OSError:  # a file system without hard links
            shutil.copyfile(source, part)
