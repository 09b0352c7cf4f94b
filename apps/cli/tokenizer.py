"""The tokenizer of parsing maps, a VQGAN (docs/tokenizer.md).

encode writes the codes column of an RPar table, score says how good answers made of codes can be at best, train makes
a tokenizer from a table's masks, and adapt trains its decoder on a network's answers.

    refhcm tokenizer train --data train.tsv --vq-config model.yaml --save-dir runs/vqgan
    refhcm tokenizer encode --data train.tsv --vq-config model.yaml --vq-ckpt model.ckpt --out coded.tsv
"""

import argparse
import json
import logging
import shutil
from pathlib import Path
from typing import Any

from ...models.vqgan.config import read_config
from ...models.vqgan.tokenizer import VQTokenizer, load_tokenizer, load_weights, read_lightning_checkpoint
from ...tasks.evaluation import write_json
from ...tasks.result_files import read_results
from ...tasks.settings import TaskSettings, settings_of
from ...training.tokenizer.adapting import AnsweredCrops, DecoderTrainer
from ...training.tokenizer.masks import MaskRows, TrainingCrops, open_table
from ...training.tokenizer.scoring import encode, score
from ...training.tokenizer.trainer import TokenizerSettings, TokenizerStepper, TokenizerTrainer
from ...utils.checkpoints import read_checkpoint
from ...utils.devices import pick_device
from ...utils.files import check_output, claim, digest, mark_of
from ...utils.flags import positive, rate, whole
from ...utils.memory import keep_freed_memory

logger = logging.getLogger(__name__)
EXAMPLES = {
    "encode": "Example: refhcm tokenizer encode --data a.tsv --vq-config model.yaml --vq-ckpt model.ckpt --out b.tsv",
    "score": "Example: refhcm tokenizer score --data val.tsv --vq-config model.yaml --vq-ckpt model.ckpt",
    "train": "Example: refhcm tokenizer train --data train.tsv --vq-config model.yaml --save-dir runs/vqgan",
    "adapt": "Example: refhcm tokenizer adapt --data train.tsv --vq-config model.yaml --vq-ckpt model.ckpt "
    "--answers results/rpar/train_predict.json --save-dir runs/adapted",
}


def _run_encode(args: argparse.Namespace) -> None:
    check_output(args.out)
    rows = encode(_tokenizer(args), _rows(args), out=args.out, **_loading(args))
    print(f"{args.out}: {rows} rows")


def _run_score(args: argparse.Namespace) -> None:
    if args.out is not None:
        check_output(args.out)
    canvas_size = TaskSettings.max_image_size
    if args.path is not None:
        canvas_size = settings_of(read_checkpoint(args.path, mmap=True), argparse.Namespace()).max_image_size
    _report(score(_tokenizer(args), _rows(args), canvas_size=canvas_size, **_loading(args)), args.out)


def _run_train(args: argparse.Namespace) -> None:
    config = read_config(args.vq_config)
    crops = TrainingCrops(_rows(args), config.input_size_hw, seed=args.seed)
    device = pick_device(cpu=args.cpu)
    _train(TokenizerTrainer(config, _settings(args), crops, device=device, num_workers=args.num_workers), args)


def _run_adapt(args: argparse.Namespace) -> None:
    config, rows, weights = read_config(args.vq_config), _rows(args), read_lightning_checkpoint(args.vq_ckpt)
    crops = AnsweredCrops(
        rows,
        config.input_size_hw,
        n_embed=config.n_embed,
        records=read_results(args.answers, len(rows), data=args.data),
        where=str(args.answers),
        seed=args.seed,
    )
    logger.info("%s: %d of %d answers have found their person", args.answers, sum(crops.found), len(rows))
    settings = _settings(args, weights=digest(args.vq_ckpt), answers=digest(args.answers))
    device = pick_device(cpu=args.cpu)
    trainer = DecoderTrainer(config, settings, crops, device=device, num_workers=args.num_workers)
    load_weights(trainer.tokenizer, weights, where=f"{args.vq_ckpt} does not match {args.vq_config}")
    _train(trainer, args)


def _train(trainer: TokenizerStepper[Any], args: argparse.Namespace) -> None:
    """Trains to the last update, prints the score and writes it beside the checkpoint."""
    keep_freed_memory()
    scored = _rows(args, args.valid)  # opened now, so that an error comes before the training
    checkpoint, config = args.save_dir / "model.ckpt", args.save_dir / "model.yaml"
    with claim(args.save_dir):
        if not (checkpoint.exists() or (config.exists() and config.samefile(args.vq_config))):
            shutil.copyfile(args.vq_config, config)
        trainer.run(checkpoint, save_every=args.save_every)
        _report(score(trainer.tokenizer.eval(), scored, **_loading(args)), args.save_dir / "score.json")


def _tokenizer(args: argparse.Namespace) -> VQTokenizer:
    return load_tokenizer(args.vq_config, args.vq_ckpt, n_embed=args.vq_n_embed).to(pick_device(cpu=args.cpu))


def _settings(args: argparse.Namespace, **digests: str) -> TokenizerSettings:
    data = mark_of([args.data])
    return TokenizerSettings(
        updates=args.updates, batch_size=args.batch_size, lr=args.lr, seed=args.seed, data=data, **digests
    )


def _rows(args: argparse.Namespace, table: Path | None = None) -> MaskRows:
    return MaskRows(open_table(table or args.data), args.annotation_root)


def _loading(args: argparse.Namespace) -> dict[str, int]:
    return {"batch_size": args.batch_size, "num_workers": args.num_workers}


def _report(scores: dict[str, Any], out: Path | None) -> None:
    print(json.dumps(scores, indent=2))
    if out is not None:
        write_json(scores, out)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    commands = parser.add_subparsers(required=True, metavar="{encode,score,train,adapt}")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--data", type=Path, required=True, help="Read this RPar table (TSV), with or without the codes column."
    )
    shared.add_argument(
        "--annotation-root",
        type=Path,
        default=TaskSettings.annotation_root,
        help="Find imgs/ and gts/ in this folder (default: %(default)s).",
    )
    shared.add_argument("--vq-config", type=Path, required=True, help="Use this model.yaml of the tokenizer.")
    shared.add_argument(
        "--batch-size", type=positive, default=32, help="Work on this many rows together (default: 32)."
    )
    shared.add_argument(
        "--num-workers", type=whole, default=0, help="Read masks in this many other processes (default: 0)."
    )
    shared.add_argument("--cpu", action="store_true", help="Do not use a GPU.")
    for name, action, out in (
        ("encode", _run_encode, "Write this table."),
        ("score", _run_score, "Write the scores to this file as JSON, too."),
    ):
        command = commands.add_parser(name, parents=[shared], description=EXAMPLES[name])
        command.add_argument("--vq-ckpt", type=Path, required=True, help="Use this model.ckpt of the tokenizer.")
        command.add_argument(
            "--vq-n-embed", type=positive, help="Say how many codes it uses (default: as in the file)."
        )
        command.add_argument("--out", type=Path, required=name == "encode", help=out)
        if name == "score":
            command.add_argument("--path", help="Score on the canvas of this checkpoint's network (default: 512 px).")
        command.set_defaults(action=action)
    for name, action, updates in (("train", _run_train, 50000), ("adapt", _run_adapt, 2000)):
        command = commands.add_parser(name, parents=[shared], description=EXAMPLES[name])
        if name == "adapt":
            command.add_argument("--vq-ckpt", type=Path, required=True, help="Start from this model.ckpt.")
            command.add_argument(
                "--answers",
                type=Path,
                required=True,
                help="Learn from this result file of `refhcm evaluate` for --data.",
            )
        command.add_argument(
            "--save-dir", type=Path, required=True, help="Write model.ckpt into this folder, and resume if it is there."
        )
        command.add_argument("--valid", type=Path, help="Score this table at the end (default: --data).")
        command.add_argument(
            "--updates",
            type=positive,
            default=updates,
            help="Take this many steps of Adam in all (default: %(default)s).",
        )
        command.add_argument(
            "--lr",
            type=rate,
            default=1e-3,
            help="Set the learning rate, which falls to 0 over the second half (default: 0.001).",
        )
        command.add_argument("--seed", type=whole, default=0, help="Seed weights and draws (default: 0).")
        command.add_argument(
            "--save-every",
            type=positive,
            default=1000,
            help="Write a checkpoint after this many updates (default: 1000).",
        )
        command.set_defaults(action=action)


def run(args: argparse.Namespace) -> None:
    """Runs the sub-command."""
    args.action(args)
