"""Turns a model's confidences into probabilities: answers a labelled table and learns how often it is right.

    refhcm calibrate checkpoints/refhcm.pt dataset/rkpt/refcoco_pose_val.tsv --task rkpt
    refhcm calibrate model.pt val_codes.tsv --task rpar --annotation-root dataset/rpar/annos

Take pictures that the model was not trained on. The curves go to model.calibration.json beside model.pt, where asking
finds them; each task adds its own, and a second run for a task replaces them. The figures that are printed are of the
half of the pictures that the curves had not seen; the file's curves are of all.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...tasks import TASKS
from ...utils.errors import UserError
from ...utils.files import check_writable, lock
from ...utils.flags import positive

if TYPE_CHECKING:
    from ...inference.calibration import Calibration, Fitted

PAUSE_S = 0.1  # another run writes for less


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("checkpoint", type=Path, help="Calibrate this trained model.")
    parser.add_argument("table", help="Use this TSV table with labels, of pictures that the model was not trained on.")
    parser.add_argument("--task", required=True, choices=sorted(TASKS), help="Say what to ask about each row.")
    parser.add_argument("--rows", type=positive, help="Use only the first rows of the table (default: all).")
    parser.add_argument(
        "--batch-size", type=positive, help="Answer this many rows together (default: what memory holds)."
    )
    parser.add_argument(
        "--selected-cols",
        help="Name the table's columns in the task's order, such as 0,5,2,3 (default: the task's own).",
    )
    parser.add_argument(
        "--annotation-root", help="Find imgs/ and gts/ in this folder, where parsing's tables name files."
    )
    parser.add_argument(
        "--tokenizer",
        help="Use the tokenizer in this folder (default: the model's own, else vqgan/ beside it, else "
        "checkpoints/vqgan).",
    )
    parser.add_argument(
        "--bpe-dir", help="Use the vocabulary in this folder (default: bpe/ beside the model, or dataset/bpe)."
    )
    parser.add_argument(
        "--device", default="auto", help="Compute on cpu, cuda, cuda:1, ... (default: a GPU if there is one)."
    )


def run(args: argparse.Namespace) -> None:
    """Writes the file, and prints what came of each field."""
    from ...inference.calibration import Calibration, calibration_path, fit_fields, write_calibration
    from ...inference.judging import Judge
    from ...inference.loading import load
    from ...tasks.evaluation import evaluate
    from ...tasks.rpar import ReferringParsing
    from ...utils.model_files import weights_file

    checkpoint = weights_file(args.checkpoint)
    path = calibration_path(checkpoint)
    check_writable(path.parent)
    _known(checkpoint)  # says what is wrong with it before the work, not after it
    options = {name: getattr(args, name) for name in ("tokenizer", "bpe_dir", "device", "batch_size")}
    model = load(checkpoint, **options)
    given = {name: getattr(args, name) for name in ("selected_cols", "annotation_root") if getattr(args, name)}
    task = TASKS[args.task](model.text, replace(model.settings, **given))
    if isinstance(task, ReferringParsing):
        if model.tokenizer is None:
            raise UserError(f"--task {args.task} needs the parsing-map tokenizer; name its folder with --tokenizer")
        task.tokenizer = model.tokenizer
    dataset = task.open(args.table, training=False)
    judge = Judge(task, dataset)
    settings, batch_size = task.asking_settings(), model.batch_size
    evaluate(task, model.network, dataset, settings=settings, batch_size=batch_size, rows=args.rows, observe=judge)
    fitted = fit_fields(judge.found, where=args.table)
    with _alone(path):  # another run may have added a task since this one began
        write_calibration(Calibration({**_known(checkpoint).tasks, args.task: fitted}), checkpoint)
    print("\n".join(_line(name, own) for name, own in fitted.items()))
    print(f"{path}: {len(fitted)} curves for {args.task}")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Waits until no other run renews the file. The lock is a file beside it, which stays."""
    with open(path.with_name(f".{path.name}.lock"), "w") as file:
        while True:
            try:
                lock(file)
                break
            except BlockingIOError:
                time.sleep(PAUSE_S)
        yield


def _known(checkpoint: Path) -> "Calibration":
    """What earlier runs have learned for other tasks. Raises UserError if it belongs to other weights."""
    from ...inference.calibration import Calibration, calibration_path, read_calibration
    from ...utils.files import end_digest

    path = calibration_path(checkpoint)
    if not path.exists():
        return Calibration({})
    known, weights = read_calibration(path)
    if checkpoint.is_file() and weights != end_digest(checkpoint):
        raise UserError(f"{path}: belongs to other weights than {checkpoint}; delete it, or move it to its weights")
    return known


def _line(name: str, fitted: "Fitted") -> str:
    def change(before_after: tuple[float | None, float | None]) -> str:
        return " -> ".join("?" if number is None else f"{number:.3f}" for number in before_after)

    right = f"{fitted.right} of {fitted.count} right"
    return f"{name:26}{right:24}ECE {change(fitted.ece):18}AUROC {change(fitted.auroc)}"
