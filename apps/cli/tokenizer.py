"""The parsing-map tokenizer as a command: `python -m refhcm.apps.cli.tokenizer {encode,score,train,adapt} --help`.

encode writes the codes column of an RPar table, score says how good answers made of codes can get at all, train
makes a tokenizer from a table's masks (spec tokenizer.md), and adapt trains its decoder on a network's answers.
"""

import argparse
import json
import logging
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...data.columns import parse_codes
from ...models.vqgan import VQTokenizer, load_tokenizer
from ...models.vqgan.config import GRID_HW, read_config
from ...models.vqgan.tokenizer import read_checkpoint
from ...tasks.evaluation import write_json
from ...tasks.result_files import read_results
from ...tasks.settings import TaskSettings, settings_of
from ...training.tokenizer.adapting import AnsweredCrops, DecoderTrainer
from ...training.tokenizer.masks import COLUMNS, Draws, Person, Persons, TrainingCrops, batches, open_table
from ...training.tokenizer.trainer import Settings, Trainer, train
from ...utils.checkpoints import read_checkpoint as read_network
from ...utils.devices import pick_device
from ...utils.errors import exit_status
from ...utils.files import replacing
from ...utils.flags import positive, rate, whole
from ...utils.memory import keep_freed_memory
from ...utils.parsing import CLASS_NAMES, NUM_CLASSES, confusion_matrix, paste_label_map, segmentation_scores
from .download.fetch import digest

logger = logging.getLogger(__name__)


def encoded(
    tokenizer: VQTokenizer, persons: Persons, *, batch_size: int, num_workers: int, name: str
) -> Iterator[tuple[list[Person], Tensor, Tensor]]:
    """Batch by batch: the persons, their crops int64 [B, h, w], and the crops' codes int64 [B, 48]; on the CPU."""
    for batch in batches(persons, batch_size=batch_size, num_workers=num_workers, name=name):
        # A person about whom several rows speak is encoded once.
        persons_of = [(person.row["mask"], person.row["box"]) for person in batch]
        places = {key: place for place, key in enumerate(dict.fromkeys(persons_of))}
        rows = torch.tensor([places[key] for key in persons_of])
        first = [batch[persons_of.index(key)] for key in places]
        crops = torch.stack([person.crop(tokenizer.input_size_hw) for person in first])
        yield batch, crops[rows], tokenizer.encode(crops).cpu()[rows]


def encode(tokenizer: VQTokenizer, persons: Persons, *, out: Path, batch_size: int, num_workers: int) -> int:
    """Writes the table with the codes column (made, or made anew), as a whole or not at all. Returns its rows."""
    made = encoded(tokenizer, persons, batch_size=batch_size, num_workers=num_workers, name="encode")
    with replacing(out) as part, open(part, "w", encoding="utf-8", newline="\n") as table:
        for batch, _, codes in made:
            for person, row_codes in zip(batch, codes.tolist(), strict=True):
                row = person.row | {"codes": ",".join(map(str, row_codes))}
                table.write("\t".join(row[column] for column in COLUMNS) + "\n")
    return len(persons)


class _Side:
    """Confusion of one kind of map with the truth: on the canvas as evaluation has it, and in the crop."""

    def __init__(self) -> None:
        self.canvas = torch.zeros(NUM_CLASSES, NUM_CLASSES, dtype=torch.int64)
        self.crop = torch.zeros_like(self.canvas)

    def add(self, label_map: Tensor, crop: Tensor, *, person: Person, gt: Tensor) -> None:
        """label_map, crop: [h, w], what was made of the person and its truth. gt: [size, size], canvas."""
        pasted = paste_label_map(label_map, person.box_canvas(len(gt)), len(gt))
        self.canvas += confusion_matrix(pasted, label=gt)
        self.crop += confusion_matrix(label_map, label=crop)


def score(
    tokenizer: VQTokenizer,
    persons: Persons,
    *,
    batch_size: int,
    num_workers: int,
    canvas_size: int = TaskSettings.max_image_size,
) -> dict[str, Any]:
    """How well label maps survive the tokenizer: what RPar would score if every box and code were right.

    miou, pixel_acc, mean_acc, mean_precision, class_iou: on the canvas of `canvas_size` px a side, as evaluation of a
    network with that `max_image_size`; on a smaller one they are lower. crop_miou: at the tokenizer's size. nearest_*:
    of an 8 x 6 nearest-neighbour grid of classes instead. code_usage: share of the codebook in use. same_codes: share
    of the table's codes that the tokenizer gives, too; absent where the table has none.
    """
    made, nearest = _Side(), _Side()
    use = torch.zeros(tokenizer.n_embed, dtype=torch.int64)
    same = []
    for batch, crops, codes in encoded(
        tokenizer, persons, batch_size=batch_size, num_workers=num_workers, name="score"
    ):
        use += torch.bincount(codes.flatten(), minlength=len(use))
        decoded, coarse = tokenizer.decode(codes).cpu(), nearest_grid(crops)
        for k, person in enumerate(batch):
            gt = person.gt(canvas_size)
            made.add(decoded[k], crops[k], person=person, gt=gt)
            nearest.add(coarse[k], crops[k], person=person, gt=gt)
            if person.row.get("codes"):  # a drawn world's table has the column, empty until the tokenizer fills it
                known = parse_codes(person.row["codes"], person.where, num_codes=TaskSettings.code_dict_size)
                same.append((torch.from_numpy(known) == codes[k]).float().mean())
    canvas = segmentation_scores(made.canvas)
    return {
        "rows": len(persons),
        **canvas,
        "class_iou": dict(zip(CLASS_NAMES, canvas["class_iou"], strict=True)),
        "crop_miou": segmentation_scores(made.crop)["miou"],
        "nearest_miou": segmentation_scores(nearest.canvas)["miou"],
        "nearest_crop_miou": segmentation_scores(nearest.crop)["miou"],
        "code_usage": (use > 0).float().mean().item(),
        **({"same_codes": torch.stack(same).mean().item()} if same else {}),
    }


def nearest_grid(crops: Tensor) -> Tensor:
    """Label maps [B, h, w] -> the same with each cell of the 8 x 6 grid in the class of its centre."""
    # By the centre ("nearest-exact"): by its corner a cell is off by half its size, and a reference too easy to beat.
    grid = F.interpolate(crops[None].float(), size=GRID_HW, mode="nearest-exact")
    return F.interpolate(grid, size=crops.shape[-2:], mode="nearest-exact")[0].to(crops.dtype)


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
        canvas_size = settings_of(read_network(args.path, mmap=True), argparse.Namespace()).max_image_size
    sizes = {"batch_size": args.batch_size, "num_workers": args.num_workers, "canvas_size": canvas_size}
    _report(score(tokenizer, _persons(args), **sizes), args.out)


def _run_train(args: argparse.Namespace) -> None:
    persons = _persons(args)
    trainer = Trainer(read_config(args.vq_config), _settings(args), device=pick_device(cpu=args.cpu))
    _train(trainer, TrainingCrops(persons, trainer.tokenizer.input_size_hw, seed=args.seed), args)


def _run_adapt(args: argparse.Namespace) -> None:
    config, persons = read_config(args.vq_config), _persons(args)
    trainer = DecoderTrainer(
        config,
        read_checkpoint(args.vq_ckpt),
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


def _settings(args: argparse.Namespace, **begun_with: str) -> Settings:
    return Settings(updates=args.updates, batch_size=args.batch_size, lr=args.lr, seed=args.seed, **begun_with)


def _train(trainer: Trainer, crops: Draws, args: argparse.Namespace) -> None:
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


def _persons(args: argparse.Namespace, data: Path | None = None) -> Persons:
    return Persons(open_table(data or args.data), args.annotation_root)


def _report(scores: dict[str, Any], out: Path | None) -> None:
    print(json.dumps(scores, indent=2))
    if out is not None:
        write_json(scores, out)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m refhcm.apps.cli.tokenizer", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="{encode,score,train,adapt}")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--data", type=Path, required=True, help="RPar table (TSV), with the codes column or without")
    shared.add_argument(
        "--annotation-root", type=Path, default=TaskSettings.annotation_root, help="folder with imgs/ and gts/"
    )
    shared.add_argument("--vq-config", type=Path, required=True, help="model.yaml of the tokenizer")
    shared.add_argument("--batch-size", type=positive, default=32, help="persons at a time")
    shared.add_argument("--num-workers", type=whole, default=0, help="processes that read masks")
    shared.add_argument("--cpu", action="store_true", help="leave a GPU alone")
    for name, run, out in (("encode", _run_encode, "the table to write"), ("score", _run_score, "scores as JSON")):
        command = commands.add_parser(name, parents=[shared], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        command.add_argument("--vq-ckpt", type=Path, required=True, help="model.ckpt of the tokenizer")
        command.add_argument("--vq-n-embed", type=positive, help="number of codes used; None: the file's")
        command.add_argument("--out", type=Path, required=name == "encode", help=out)
        if name == "score":
            command.add_argument("--path", help="checkpoint of the network whose canvas is scored on; None: 512 px")
        command.set_defaults(run=run)
    for name, run, updates in (("train", _run_train, 50000), ("adapt", _run_adapt, 2000)):
        command = commands.add_parser(name, parents=[shared], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        if name == "adapt":
            command.add_argument("--vq-ckpt", type=Path, required=True, help="model.ckpt to begin with")
            command.add_argument("--answers", type=Path, required=True, help="result file of evaluate.py for --data")
        _add_training(command, updates)
        command.set_defaults(run=run)
    return top


def _add_training(command: argparse.ArgumentParser, updates: int) -> None:
    command.add_argument("--save-dir", type=Path, required=True, help="for model.ckpt, gone on from if it is there")
    command.add_argument("--valid", type=Path, help="table to score at the end; None: --data")
    command.add_argument("--updates", type=positive, default=updates, help="steps of Adam in all")
    command.add_argument("--lr", type=rate, default=1e-3, help="falls to 0 over the second half")
    command.add_argument("--seed", type=whole, default=0, help="of weights and draws")
    command.add_argument("--save-every", type=positive, default=1000, help="updates between checkpoints")


def main(arguments: list[str] | None = None) -> int:
    """Runs a command; 0, 2 after a line on what the user can mend, or 130 after Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    args = parser().parse_args(arguments)
    return exit_status(lambda: args.run(args))


if __name__ == "__main__":
    sys.exit(main())
