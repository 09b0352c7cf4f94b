"""What a training starts from, and where it goes on (docs/training.md, "Checkpoints")."""

import ast
import logging
import os
from typing import Any

import torch
from fairseq.data import iterators
from fairseq.dataclass.configs import FairseqConfig
from fairseq.trainer import Trainer

from ..tasks.fairseq_tasks import ReferringTask
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
    own = last(cfg)
    if _weights_alone(cfg) and os.path.exists(own) and os.path.samefile(own, options.restore_file):
        return own  # its own weights, and all else from the beginning
    path = options.finetune_from_model or (options.restore_file if _weights_alone(cfg) else None)
    return None if os.path.isfile(own) else path


def last(cfg: FairseqConfig) -> str:
    """Where a run finds its own last checkpoint."""
    return os.path.join(cfg.checkpoint.save_dir, LAST)


def _weights_alone(cfg: FairseqConfig) -> bool:
    """Whether --restore-file gives weights and nothing else, to a run that has not begun."""
    options = cfg.checkpoint
    resets = options.reset_optimizer and options.reset_dataloader and options.reset_meters
    return resets and options.restore_file != LAST and os.path.isfile(options.restore_file)


def start_from(path: str, model: torch.nn.Module, *, ema: bool) -> None:
    """Takes the weights, or averaged weights, of a checkpoint, of which nothing stays in memory."""
    checkpoint = read_checkpoint(path, mmap=True)
    model.load_state_dict(checkpoint.ema_weights() if ema else checkpoint.weights)
    logger.info("starting from the weights of %s", path)


def resume(cfg: FairseqConfig, trainer: Trainer, saver: Saver, *, fresh: bool) -> iterators.EpochBatchIterator:
    """Restores weights, optimiser, schedule, meters and the place in the data; from the start when there is nothing."""
    options, state = cfg.checkpoint, None
    begun = _weights_alone(cfg) and not fresh  # it goes on from its own last checkpoint: nothing is reset once more
    path = last(cfg) if begun or options.restore_file == LAST else options.restore_file
    if options.restore_file != LAST and not os.path.isfile(path):
        raise CheckpointError(f"--restore-file {path}: no such file")
    names = ("optimizer", "lr_scheduler", "dataloader", "meters")
    optimizer, schedule, data, meters = (getattr(options, f"reset_{name}") and not begun for name in names)
    if not fresh and os.path.isfile(path):
        if path == last(cfg):
            check_run(trainer.task, path, other_data=data)
        overrides = ast.literal_eval(options.optimizer_overrides)
        state = trainer.load_checkpoint(path, optimizer, schedule, overrides, reset_meters=meters)
    if state is not None and not (optimizer or meters):
        saver.restore(state)
    place = place_of(batches(cfg), state, path) if state is not None and not data else {"epoch": 1}
    epochs = trainer.get_train_iterator(epoch=place["epoch"], load_dataset=True, disable_iterator_cache=True)
    if len(place) > 1:
        epochs.load_state_dict(place)
    trainer.lr_step(epochs.epoch)
    return epochs


def check_run(task: ReferringTask, path: str, *, other_data: bool) -> None:
    """CheckpointError unless the checkpoint is of this task and, if --reset-dataloader is not given, of its files."""
    flags, name = read_checkpoint(path, mmap=True).flags(), task.plain.name
    if flags.get("task", name) != name:
        raise CheckpointError(f"{path}: is of --task {flags['task']}, not {name}: name another --save-dir")
    given = str(flags.get("data", task.args.data)), task.args.data
    was, asked = (list(map(os.path.basename, task.plain.training_files(data.split(",")))) for data in given)
    if was != asked and not other_data:
        hint = "name another --save-dir, or begin an epoch of other data by --reset-dataloader"
        raise CheckpointError(f"{path}: was trained on {', '.join(was)}, not on {', '.join(asked)}: {hint}")


def place_of(now: dict[str, int], state: dict[str, Any], path: str) -> dict[str, Any]:
    """Where in the data a run goes on that may have other ranks than before. now: of `batches`."""
    place, was = state["train_iterator"], state.get("batches", now)
    done = place.get("iterations_in_epoch", 0) * was["ranks"]  # batches of all ranks
    if done and was["batch_size"] != now["batch_size"]:
        raise CheckpointError(f"{path}: stopped within an epoch: go on with its --batch-size, {was['batch_size']}")
    if done % now["ranks"]:
        before = f"{path}: stopped after {done} batches of an epoch, of {was['ranks']} ranks"
        raise CheckpointError(f"{before}: {now['ranks']} do not lead there, so go on with as many as before")
    return place | {"iterations_in_epoch": done // now["ranks"]} if done else place


def batches(cfg: FairseqConfig) -> dict[str, int]:
    """By what a place in an epoch is counted: how many ranks there are, and rows in a batch of one."""
    return {"ranks": cfg.distributed_training.distributed_world_size, "batch_size": cfg.dataset.batch_size}


def check_ranks(cfg: FairseqConfig, updates: int, epoch: int) -> None:
    """UserError unless all ranks go on from the same place."""
    places = sorted(set(gather([(updates, epoch)])))
    if len(places) > 1:
        found = ", ".join(map(str, dict(places)))
        raise UserError(
            f"--save-dir {cfg.checkpoint.save_dir}: ranks go on from updates {found}: all must see one folder"
        )
