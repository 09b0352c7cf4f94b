"""What a training starts from, and where it goes on (spec/training.md, "Checkpoints")."""

import ast
import logging
import os
from typing import Any

import torch
from fairseq.data import iterators
from fairseq.dataclass.configs import FairseqConfig
from fairseq.trainer import Trainer

from ..utils.checkpoints import read_checkpoint
from ..utils.devices import gather
from ..utils.errors import CheckpointError, UserError
from .checkpointing import Saver

logger = logging.getLogger(__name__)

LAST = "checkpoint_last.pt"  # of a save folder, and the default of --restore-file


def starting_weights(cfg: FairseqConfig) -> str | None:
    """The file that gives the weights and nothing else; None for a run that goes on, or starts from nothing."""
    options = cfg.checkpoint
    if options.finetune_from_model and options.restore_file != LAST:
        raise UserError("--finetune-from-model and --restore-file exclude each other")
    path = options.finetune_from_model or (options.restore_file if _weights_alone(cfg) else None)
    return None if os.path.isfile(os.path.join(options.save_dir, LAST)) else path


def _weights_alone(cfg: FairseqConfig) -> bool:
    """Whether --restore-file gives weights and nothing else, to a run that has not begun."""
    options = cfg.checkpoint
    resets = options.reset_optimizer and options.reset_dataloader and options.reset_meters
    return resets and options.restore_file != LAST


def start_from(path: str, model: torch.nn.Module, *, ema: bool) -> None:
    """Takes the weights, or averaged weights, of a checkpoint, of which nothing stays in memory."""
    checkpoint = read_checkpoint(path, mmap=True)
    model.load_state_dict(checkpoint.ema_weights() if ema else checkpoint.weights)
    logger.info("starting from the weights of %s", path)


def resume(cfg: FairseqConfig, trainer: Trainer, saver: Saver, *, fresh: bool) -> iterators.EpochBatchIterator:
    """Restores weights, optimiser, schedule, meters and the place in the data; from the start when there is nothing."""
    options, state = cfg.checkpoint, None
    begun = _weights_alone(cfg) and not fresh  # it goes on from its own last checkpoint: nothing is reset once more
    path = os.path.join(options.save_dir, LAST) if begun or options.restore_file == LAST else options.restore_file
    if options.restore_file != LAST and not os.path.isfile(path):
        raise CheckpointError(f"--restore-file {path}: no such file")
    optimizer, data, meters = (
        reset and not begun for reset in (options.reset_optimizer, options.reset_dataloader, options.reset_meters)
    )
    if not fresh and os.path.isfile(path):
        check_run(cfg, path, other_data=data)
        overrides = ast.literal_eval(options.optimizer_overrides)
        state = trainer.load_checkpoint(path, optimizer, options.reset_lr_scheduler, overrides, reset_meters=meters)
    if state is not None and not (optimizer or meters):
        saver.restore(state)
    place = place_of(cfg, state, path) if state is not None and not data else {"epoch": 1}
    epochs = trainer.get_train_iterator(epoch=place["epoch"], load_dataset=True, disable_iterator_cache=True)
    if len(place) > 1:
        epochs.load_state_dict(place)
    trainer.lr_step(epochs.epoch)
    return epochs


def check_run(cfg: FairseqConfig, path: str, *, other_data: bool) -> None:
    """CheckpointError unless the checkpoint is of this task and, without --reset-dataloader, of these files."""
    flags = read_checkpoint(path, mmap=True).flags()
    if flags.get("task", cfg.task._name) != cfg.task._name:
        raise CheckpointError(f"{path}: is of --task {flags['task']}, not {cfg.task._name}: name another --save-dir")
    was, asked = (
        [os.path.basename(file) for file in str(data).split(",")] for data in (flags.get("data"), cfg.task.data)
    )
    if "data" in flags and was != asked and not other_data:
        hint = "name another --save-dir, or go on with other data by --reset-dataloader"
        raise CheckpointError(f"{path}: was trained on {', '.join(was)}, not on {', '.join(asked)}: {hint}")


def place_of(cfg: FairseqConfig, state: dict[str, Any], path: str) -> dict[str, Any]:
    """Where in the data a run goes on, in this run's batches: it may have other ones, and other ranks, than before."""
    place, now = state["train_iterator"], rows_at_once(cfg)
    rows = place.get("iterations_in_epoch", 0) * state.get("rows_at_once", now)
    if rows % now:
        before = f"{path}: stopped after {rows} rows of an epoch, {state['rows_at_once']} at once on all ranks"
        raise CheckpointError(f"{before}: {now} at once do not lead there, so choose other ranks or --batch-size")
    return place | {"iterations_in_epoch": rows // now} if rows else place


def rows_at_once(cfg: FairseqConfig) -> int:
    """Rows that all ranks together take at once."""
    return cfg.dataset.batch_size * cfg.distributed_training.distributed_world_size


def check_ranks(cfg: FairseqConfig, updates: int, epoch: int) -> None:
    """UserError unless all ranks go on from the same place."""
    places = sorted(set(gather([(updates, epoch)])))
    if len(places) > 1:
        found = ", ".join(map(str, dict(places)))
        raise UserError(
            f"--save-dir {cfg.checkpoint.save_dir}: ranks go on from updates {found}: all must see one folder"
        )
