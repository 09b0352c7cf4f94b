"""Teaches backbone and encoder to see drawn people before the whole network learns to answer.

The checkpoint is a network for `refhcm train --finetune-from-model` (docs/drawn_people.md).

    refhcm pretrain world --save-dir runs/pretrain
"""

import argparse
import math
import os
from dataclasses import replace
from pathlib import Path

from ...models.refhcm.config import PATCH, SIZES
from ...tasks import TASKS
from ...tasks.settings import TaskSettings
from ...training.pretrain.cells import read_cells
from ...training.pretrain.readers import NEAR
from ...training.pretrain.trainer import ASKED, QUESTIONS, VALID_SHARE, PretrainSettings, PretrainTrainer
from ...utils.devices import pick_device
from ...utils.errors import UserError
from ...utils.files import claim, mark_of
from ...utils.flags import from_namespace, positive, rate, whole
from ...utils.memory import keep_freed_memory


def run(args: argparse.Namespace) -> None:
    """Trains, or resumes, and prints the scores."""
    keep_freed_memory()
    with claim(args.save_dir):
        _train(args)


def _train(args: argparse.Namespace) -> None:
    settings, checkpoint = from_namespace(PretrainSettings, args), args.save_dir / "checkpoint_last.pt"
    size, batch_size = settings.patch_image_size, settings.batch_size
    if size % PATCH or batch_size % QUESTIONS:
        wrong = f"--patch-image-size {size} of {PATCH}, --batch-size {batch_size} of {QUESTIONS}"
        raise UserError(f"expected multiples: {wrong}")
    tasks = from_namespace(TaskSettings, args, default=TaskSettings(max_image_size=size))
    asked = [TASKS[name].from_settings(tasks) for name in ASKED]
    cells = read_cells(args.worlds, args.split, size=size, side=size // PATCH, workers=args.workers)
    needed = max(math.ceil(batch_size / (1 - VALID_SHARE)), math.ceil(1 / VALID_SHARE))
    if len(cells) < needed:
        raise UserError(f"{args.worlds[0]}: expected {needed} or more pictures in {args.split}, got {len(cells)}")
    settings = replace(settings, data=mark_of([world / "facts" / f"{args.split}.jsonl" for world in args.worlds]))
    trainer = PretrainTrainer(settings, cells, asked[0].text, asked, device=pick_device(cpu=args.cpu))
    if args.finetune_from_model and not checkpoint.exists():
        trainer.start_from(args.finetune_from_model)
    trainer.run(checkpoint, save_every=args.save_every)
    print(f"{checkpoint}: on {len(trainer.valid)} held-out pictures, F1 of tags; places: share within {NEAR:.0%}:")
    print("\n".join(f"{name:<20} {score:.3f}" for name, score in trainer.score().items()))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument(
        "worlds", type=Path, nargs="+", metavar="WORLD", help="Learn from this folder that `refhcm world` wrote."
    )
    parser.add_argument("--split", default="train", help="Use this split of the world (default: train).")
    parser.add_argument(
        "--save-dir",
        type=Path,
        required=True,
        help="Write checkpoint_last.pt into this folder, and resume if it is there.",
    )
    parser.add_argument(
        "--finetune-from-model", type=Path, metavar="FILE", help="Start from these weights (default: at random)."
    )
    parser.add_argument(
        "--arch",
        choices=sorted(SIZES),
        default="refhcm_small",
        help="Take a network of this size (default: refhcm_small).",
    )
    for name in ("bpe_dir", "num_bins", "code_dict_size"):
        default = getattr(TaskSettings, name)
        parser.add_argument(
            "--" + name.replace("_", "-"),
            type=type(default),
            default=default,
            help=f"Set this as in `refhcm train` (default: {default}).",
        )
    parser.add_argument(
        "--patch-image-size",
        type=positive,
        default=128,
        help="Set the side of the canvas, px, a multiple of 16 (default: 128).",
    )
    parser.add_argument(
        "--backbone-updates",
        type=whole,
        default=1800,
        help="Take this many steps of AdamW for the backbone alone (default: 1800).",
    )
    parser.add_argument(
        "--updates",
        type=whole,
        default=2000,
        help="Take this many further steps for backbone and encoder (default: 2000).",
    )
    parser.add_argument(
        "--batch-size",
        type=positive,
        default=64,
        help=f"Take this many pictures together, later questions, {QUESTIONS} a picture (default: 64).",
    )
    parser.add_argument("--lr", type=rate, default=2e-3, help="Set the highest learning rate (default: 0.002).")
    parser.add_argument("--seed", type=whole, default=1, help="Seed weights and draws (default: 1).")
    parser.add_argument(
        "--save-every", type=positive, default=300, help="Write a checkpoint after this many updates (default: 300)."
    )
    parser.add_argument(
        "--workers",
        type=positive,
        default=os.cpu_count() or 1,
        help="Read the world in this many processes (default: one a core).",
    )
    parser.add_argument("--cpu", action="store_true", help="Do not use a GPU.")
