"""The tokenizer of parsing maps, a VQGAN (docs/tokenizer.md).

encode writes the codes column of an RPar table, score says how good answers made of codes can be at best, train makes
a tokenizer from a table's masks, and adapt trains its decoder on a network's answers.
"""

import argparse
import json
import logging
import shutil
from pathlib import Path
from typing import Any

from ...models.vqgan import load_tokenizer
from ...models.vqgan.config import read_config
from ...models.vqgan.tokenizer import read_lightning_checkpoint
from ...tasks.evaluation import write_json
from ...tasks.result_files import read_results
from ...tasks.settings import TaskSettings, settings_of
from ...training.tokenizer.adapting import AnsweredCrops, DecoderTrainer
from ...training.tokenizer.masks import Draws, MaskRows, TrainingCrops, open_table
from ...training.tokenizer.scoring import encode, score
from ...training.tokenizer.trainer import TokenizerSettings, TokenizerTrainer, train
from ...utils.checkpoints import read_checkpoint
from ...utils.devices import pick_device
from ...utils.files import digest
from ...utils.flags import positive, rate, whole
from ...utils.memory import keep_freed_memory

logger = logging.getLogger(__name__)


def _run_encode(args: argparse.Namespace) -> None:
    tokenizer = load_tokenizer(args.vq_config, args.vq_ckpt, n_embed=args.vq_n_embed)
    tokenizer.to(pick_device(cpu=args.cpu))
    rows = encode(tokenizer, _persons(args), out=args.out, batch_size=args.batch_size, num_workers=args.num_workers)
    print(f"{args.out}: {rows} rows")


def _run_score(args: argparse.Namespace) -> None:
    tokenizer = load_tokenizer(args.vq_config, args.vq_ckpt, n_embed=args.vq_n_embed)
    tokenizer.to(pick_device(cpu=args.cpu))
    canvas_size = TaskSettings.max_image_size
    if args.path is not None:
        canvas_size = settings_of(read_checkpoint(args.path, mmap=True), argparse.Namespace()).max_image_size
    sizes = {"batch_size": args.batch_size, "num_workers": args.num_workers, "canvas_size": canvas_size}
    _report(score(tokenizer, _persons(args), **sizes), args.out)


def _run_train(args: argparse.Namespace) -> None:
    persons = _persons(args)
    trainer = TokenizerTrainer(read_config(args.vq_config), _settings(args), device=pick_device(cpu=args.cpu))
    _train(trainer, TrainingCrops(persons, trainer.tokenizer.input_size_hw, seed=args.seed), args)


def _run_adapt(args: argparse.Namespace) -> None:
    config, persons = read_config(args.vq_config), _persons(args)
    trainer = DecoderTrainer(
        config,
        read_lightning_checkpoint(args.vq_ckpt),
        _settings(args, weights=digest(args.vq_ckpt), answers=digest(args.answers)),
        where=f"{args.vq_ckpt} does not match {args.vq_config}",
        device=pick_device(cpu=args.cpu),
    )
    crops = AnsweredCrops(
        persons,
        trainer.tokenizer.input_size_hw,
        n_embed=trainer.tokenizer.n_embed,
        records=read_results(args.answers, len(persons), data=args.data),
        where=str(args.answers),
        seed=args.seed,
    )
    logger.info("%s: %d of %d answers have found their person", args.answers, sum(crops.found), len(persons))
    _train(trainer, crops, args)


def _settings(args: argparse.Namespace, **begun_with: str) -> TokenizerSettings:
    return TokenizerSettings(updates=args.updates, batch_size=args.batch_size, lr=args.lr, seed=args.seed, **begun_with)


def _train(trainer: TokenizerTrainer, crops: Draws, args: argparse.Namespace) -> None:
    """Goes on to the last update; then its score is printed and written beside the checkpoint."""
    keep_freed_memory()
    scored = _persons(args, args.valid) if args.valid else crops.persons  # opened now: an error must not wait
    args.save_dir.mkdir(parents=True, exist_ok=True)
    checkpoint = args.save_dir / "model.ckpt"
    if checkpoint.exists():
        trainer.resume(checkpoint)
        logger.info("%s: goes on at update %d of %d", checkpoint, trainer.step, args.updates)
    beside = args.save_dir / "model.yaml"
    if not (checkpoint.exists() or (beside.exists() and beside.samefile(args.vq_config))):
        shutil.copyfile(args.vq_config, beside)
    if not train(trainer, crops, checkpoint=checkpoint, save_every=args.save_every, num_workers=args.num_workers):
        # Not 0: a script must not go on to what needs the end of this.
        stopped = f"{checkpoint}: stopped at update {trainer.step} of {args.updates}; the same command goes on"
        raise KeyboardInterrupt(stopped)
    _report(
        score(trainer.tokenizer.eval(), scored, batch_size=args.batch_size, num_workers=args.num_workers),
        args.save_dir / "score.json",
    )


def _persons(args: argparse.Namespace, data: Path | None = None) -> MaskRows:
    return MaskRows(open_table(data or args.data), args.annotation_root)


def _report(scores: dict[str, Any], out: Path | None) -> None:
    print(json.dumps(scores, indent=2))
    if out is not None:
        write_json(scores, out)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    commands = parser.add_subparsers(required=True, metavar="{encode,score,train,adapt}")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--data", type=Path, required=True, help="RPar table (TSV), with the codes column or without")
    shared.add_argument(
        "--annotation-root", type=Path, default=TaskSettings.annotation_root, help="folder with imgs/ and gts/"
    )
    shared.add_argument("--vq-config", type=Path, required=True, help="model.yaml of the tokenizer")
    shared.add_argument("--batch-size", type=positive, default=32, help="persons at a time")
    shared.add_argument("--num-workers", type=whole, default=0, help="processes that read masks")
    shared.add_argument("--cpu", action="store_true", help="leave a GPU alone")
    for name, action, out in (("encode", _run_encode, "the table to write"), ("score", _run_score, "scores as JSON")):
        command = commands.add_parser(name, parents=[shared], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        command.add_argument("--vq-ckpt", type=Path, required=True, help="model.ckpt of the tokenizer")
        command.add_argument("--vq-n-embed", type=positive, help="number of codes used; None: the file's")
        command.add_argument("--out", type=Path, required=name == "encode", help=out)
        if name == "score":
            command.add_argument("--path", help="checkpoint of the network whose canvas is scored on; None: 512 px")
        command.set_defaults(action=action)
    for name, action, updates in (("train", _run_train, 50000), ("adapt", _run_adapt, 2000)):
        command = commands.add_parser(name, parents=[shared], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        if name == "adapt":
            command.add_argument("--vq-ckpt", type=Path, required=True, help="model.ckpt to begin with")
            command.add_argument("--answers", type=Path, required=True, help="result file of evaluate.py for --data")
        _add_training(command, updates)
        command.set_defaults(action=action)


def _add_training(command: argparse.ArgumentParser, updates: int) -> None:
    command.add_argument("--save-dir", type=Path, required=True, help="for model.ckpt, gone on from if it is there")
    command.add_argument("--valid", type=Path, help="table to score at the end; None: --data")
    command.add_argument("--updates", type=positive, default=updates, help="steps of Adam in all")
    command.add_argument("--lr", type=rate, default=1e-3, help="falls to 0 over the second half")
    command.add_argument("--seed", type=whole, default=0, help="of weights and draws")
    command.add_argument("--save-every", type=positive, default=1000, help="updates between checkpoints")


def run(args: argparse.Namespace) -> None:
    """Runs the sub-command."""
    args.action(args)
