"""Where a training starts and how it resumes (docs/training.md, "Checkpoints")."""

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
from .run_data import check_training_data, check_validation_data

logger = logging.getLogger(__name__)

LAST = "checkpoint_last.pt"  # of a save folder, and the default of --restore-file


def starting_weights(cfg: FairseqConfig) -> str | None:
    """The file that only gives initial weights; None for a run that resumes, or starts from nothing."""
    options = cfg.checkpoint
    if options.finetune_from_model and options.restore_file != LAST:
        raise UserError("--finetune-from-model and --restore-file exclude each other")
    own = last(cfg)
    if _weights_alone(cfg) and os.path.exists(own) and os.path.samefile(own, options.restore_file):
        return own  # its own weights; everything else starts anew
    path = options.finetune_from_model or (options.restore_file if _weights_alone(cfg) else None)
    return None if os.path.isfile(own) else path


def last(cfg: FairseqConfig) -> str:
    """The path of a run's own last checkpoint."""
    return os.path.join(cfg.checkpoint.save_dir, LAST)


def _weights_alone(cfg: FairseqConfig) -> bool:
    """Whether --restore-file only gives initial weights to a run that has not begun."""
    options = cfg.checkpoint
    resets = options.reset_optimizer and options.reset_dataloader and options.reset_meters
    return resets and options.restore_file != LAST and os.path.isfile(options.restore_file)


def start_from(path: str, model: torch.nn.Module, *, ema: bool) -> None:
    """Loads the weights, or averaged weights, of a checkpoint; nothing else of it stays in memory."""
    checkpoint = read_checkpoint(path, mmap=True)
    model.load_state_dict(checkpoint.ema_weights() if ema else checkpoint.weights)
    logger.info("starting from the weights of %s", path)


def resume(cfg: FairseqConfig, trainer: Trainer, saver: Saver, *, fresh: bool) -> iterators.EpochBatchIterator:
    """Restores weights, optimiser, schedule, meters and the place in the data; starts anew when there is nothing.

    CheckpointError for a run of another task, on other data, or of another network.
    """
    options, state = cfg.checkpoint, None
    begun = _weights_alone(cfg) and not fresh  # a resumed run: what was reset at its start stays
    path = last(cfg) if begun or options.restore_file == LAST else options.restore_file
    if options.restore_file != LAST and not os.path.isfile(path):
        raise CheckpointError(f"--restore-file {path}: no such file")
    names = ("optimizer", "lr_scheduler", "dataloader", "meters")
    optimizer, schedule, data, meters = (getattr(options, f"reset_{name}") and not begun for name in names)
    if not fresh and os.path.isfile(path):
        if path == last(cfg):
            check_run(trainer.task, path, other_data=data)
        stored = (read_checkpoint(path, mmap=True).rest.get("extra_state") or {}).get("data") or {}
        if not data:
            check_training_data(saver.run["data"], stored, where=path)
        if not meters:
            check_validation_data(saver.run["data"], stored, where=path)
        overrides = ast.literal_eval(options.optimizer_overrides)
        state = trainer.load_checkpoint(path, optimizer, schedule, overrides, reset_meters=meters)
    if state is not None and not (optimizer or meters):
        saver.restore(state)
    place = place_of(batches(cfg), state, path) if state is not None and not data else {"epoch": 1}
    epochs = trainer.get_train_iterator(epoch=place["epoch"], load_dataset=True, disable_iterator_cache=True)
    if len(place) > 1:
        _go_to(epochs, place, path)
    trainer.lr_step(epochs.epoch)
    return epochs


def _go_to(epochs: iterators.EpochBatchIterator, place: dict[str, Any], path: str) -> None:
    try:
        epochs.load_state_dict(place)
    except RuntimeError as error:  # fairseq's, for an epoch that is shorter now
        stopped = f"stopped after {place['iterations_in_epoch']} batches of an epoch, which the data do not have"
        raise CheckpointError(f"{path}: {stopped}: start an epoch anew with --reset-dataloader") from error


def check_run(task: ReferringTask, path: str, *, other_data: bool) -> None:
    """CheckpointError unless the checkpoint is of this task and (without --reset-dataloader) of the same files."""
    checkpoint = read_checkpoint(path, mmap=True)
    flags, name = checkpoint.flags(), task.plain.name
    if flags.get("task", name) != name:
        raise CheckpointError(f"{path}: belongs to --task {flags['task']}, not {name}: give another --save-dir")
    checkpoint.check_vocabulary(task.plain.text.digest)
    given = str(flags.get("data", task.args.data)), task.args.data
    was, asked = (list(map(os.path.basename, task.plain.training_files(data.split(",")))) for data in given)
    if was != asked and not other_data:
        hint = "give another --save-dir, or start an epoch of the new data with --reset-dataloader"
        raise CheckpointError(f"{path}: was trained on {', '.join(was)}, not on {', '.join(asked)}: {hint}")


def place_of(now: dict[str, int], state: dict[str, Any], path: str) -> dict[str, Any]:
    """The place in the data to resume from, with as many ranks as now. now: see `batches`."""
    place, was = state["train_iterator"], state.get("batches", now)
    done = place.get("iterations_in_epoch", 0) * was["ranks"]  # batches of all ranks
    if done and was["batch_size"] != now["batch_size"]:
        raise CheckpointError(f"{path}: stopped within an epoch: resume with its --batch-size, {was['batch_size']}")
    if done % now["ranks"]:
        before = f"{path}: stopped after {done} batches of an epoch on {was['ranks']} ranks"
        raise CheckpointError(f"{before}, which {now['ranks']} ranks cannot reach: resume with {was['ranks']}")
    return place | {"iterations_in_epoch": done // now["ranks"]} if done else place


def batches(cfg: FairseqConfig) -> dict[str, int]:
    """The unit in which a place in an epoch is counted: the ranks, and the rows in a batch of one rank."""
    return {"ranks": cfg.distributed_training.distributed_world_size, "batch_size": cfg.dataset.batch_size}


def check_ranks(cfg: FairseqConfig, updates: int, epoch: int) -> None:
    """UserError unless all ranks resume from the same place."""
    places = sorted(set(gather([(updates, epoch)])))
    if len(places) > 1:
        found = ", ".join(map(str, dict(places)))
        raise UserError(
            f"--save-dir {cfg.checkpoint.save_dir}: ranks resume from updates {found}: all must see the same folder"
        )
