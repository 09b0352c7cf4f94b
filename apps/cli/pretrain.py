"""Teaches backbone and encoder to see drawn people before the whole network learns to answer.

The checkpoint is a network for `refhcm train --finetune-from-model` (docs/drawn_people.md).
"""

import argparse
import logging
import os
from pathlib import Path

import numpy as np

from ...models.refhcm.config import SIZES
from ...tasks import TASKS
from ...tasks.settings import TaskSettings
from ...training.pretrain.cells import read_cells
from ...training.pretrain.trainer import ASKED, PATCH, QUESTIONS, VALID_SHARE, PretrainSettings, PretrainTrainer, train
from ...utils.devices import pick_device
from ...utils.errors import UserError
from ...utils.flags import from_namespace, positive, rate, whole
from ...utils.memory import keep_freed_memory

logger = logging.getLogger(__name__)


def run(args: argparse.Namespace) -> None:
    """Train, or go on, and print the scores."""
    keep_freed_memory()
    settings, checkpoint = from_namespace(PretrainSettings, args), args.save_dir / "checkpoint_last.pt"
    size = settings.patch_image_size
    if size % PATCH or settings.batch_size % QUESTIONS:
        wrong = f"--patch-image-size {size} of {PATCH}, --batch-size {settings.batch_size} of {QUESTIONS}"
        raise UserError(f"expected multiples: {wrong}")
    asking = from_namespace(TaskSettings, args, default=TaskSettings(max_image_size=size))
    tasks = [TASKS[name].from_settings(asking) for name in ASKED]
    cells = read_cells(args.worlds, args.split, size=size, side=size // PATCH, workers=args.workers)
    needed = int(np.ceil(settings.batch_size / (1 - VALID_SHARE)))
    if len(cells) < max(needed, 1 / VALID_SHARE):
        raise UserError(f"{args.worlds[0]}: {len(cells)} pictures to {args.split}, {needed} or more are needed")
    trainer = PretrainTrainer(settings, cells, tasks[0].text, tasks, device=pick_device(cpu=args.cpu))
    if checkpoint.exists():
        trainer.resume(checkpoint)
        logger.info("%s: goes on at update %d", checkpoint, trainer.step)
    elif args.finetune_from_model:
        trainer.start_from(args.finetune_from_model)
    if not train(trainer, checkpoint, save_every=args.save_every):  # not 0: a script must not go on to the next step
        raise KeyboardInterrupt(f"{checkpoint}: stopped at update {trainer.step}; the same command goes on")
    print(f"{checkpoint}: on {len(trainer.valid)} pictures not learned from, F1 of tags; places: share within 3 %:")
    print("\n".join(f"{name:<20} {score:.3f}" for name, score in trainer.score().items()))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("worlds", type=Path, nargs="+", metavar="WORLD", help="folder that `refhcm world` wrote")
    parser.add_argument("--split", default="train", help="of the world")
    parser.add_argument(
        "--save-dir", type=Path, required=True, help="folder of checkpoint_last.pt; resumes from one there"
    )
    parser.add_argument("--finetune-from-model", type=Path, metavar="FILE", help="weights to start from")
    parser.add_argument("--arch", choices=sorted(SIZES), default="refhcm_small", help="size of the network")
    for name in ("bpe_dir", "num_bins", "code_dict_size"):
        default = getattr(TaskSettings, name)
        parser.add_argument("--" + name.replace("_", "-"), type=type(default), default=default, help="as in train.py")
    parser.add_argument(
        "--patch-image-size", type=positive, default=128, help="side of the canvas, px, a multiple of 16"
    )
    parser.add_argument("--backbone-updates", type=whole, default=1800, help="steps of AdamW of the backbone alone")
    parser.add_argument("--updates", type=whole, default=2000, help="steps of backbone and encoder, after those")
    parser.add_argument("--batch-size", type=positive, default=64, help=f"pictures; then questions, {QUESTIONS} each")
    parser.add_argument("--lr", type=rate, default=2e-3, help="highest learning rate")
    parser.add_argument("--seed", type=whole, default=1, help="of weights and draws")
    parser.add_argument("--save-every", type=positive, default=300, help="updates between checkpoints")
    parser.add_argument("--workers", type=positive, default=os.cpu_count() or 1, help="processes that read the world")
    parser.add_argument("--cpu", action="store_true", help="leave a GPU alone")
