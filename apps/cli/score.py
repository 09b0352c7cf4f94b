"""Scores any model's answers to a table, without torch: every metric of the task, with 95 % intervals.

    refhcm score dataset/rec/refcoco_testA.tsv results/refcoco/refcoco_testA_predict.json --task refcoco
    refhcm score dataset/rec/refcoco_testA.tsv florence.jsonl --task refcoco --coordinates florence-2
    refhcm score table.tsv ours.json --task rkpt --against theirs.json --format latex
    refhcm score person_keypoints_val2017.json coco_results.json

Answers are a result file of `refhcm evaluate`, COCO results, JSON lines such as {"id": "7", "box": [x0, y0, x1, y1],
"score": 0.9}, or text, a line for each row or id<TAB>answer (docs/scoring.md). A row without an answer is wrong.
"""

import argparse
import os
from pathlib import Path

from ...data.tables import TABLES
from ...utils.errors import UserError
from ...utils.files import atomic_write
from ...utils.flags import positive, whole

COCO = "coco-keypoints"
PIXELS = "pixels"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument(
        "table", type=Path, help="Score answers to this TSV table, or COCO-style annotation file (.json)."
    )
    parser.add_argument("answers", type=Path, help="Score this file of answers.")
    parser.add_argument(
        "--task", choices=sorted([*TABLES, COCO]), help=f"Say which task the table is of (default: {COCO} for a .json)."
    )
    parser.add_argument("--against", type=Path, metavar="OTHER", help="Compare with this file of other answers.")
    parser.add_argument("--coordinates", default=PIXELS, metavar="FRAME[:ORDER]", help=_COORDINATES)
    parser.add_argument("--by", metavar="COLUMN", help="Score each value of this column, counted from 0, too.")
    parser.add_argument(
        "--facts", type=Path, help="Let --by name a fact of these JSON lines, each with the `id` of a row."
    )
    parser.add_argument(
        "--format",
        default="text",
        choices=("text", "markdown", "latex", "json"),
        help="Write the report in this form (default: text).",
    )
    parser.add_argument("--out", type=Path, help="Write the report to this file (default: print it).")
    parser.add_argument(
        "--resamples",
        type=positive,
        default=1000,
        help="Resample the pictures this many times for intervals (default: 1000).",
    )
    parser.add_argument("--seed", type=whole, default=0, help="Seed the resamples (default: 0).")
    parser.add_argument(
        "--workers",
        type=positive,
        default=os.cpu_count() or 1,
        help="Read masks in this many processes (default: one a core).",
    )
    parser.add_argument(
        "--selected-cols",
        help="Name the table's columns in the task's order, such as 0,4,2,3 (default: the task's own).",
    )
    parser.add_argument(
        "--annotation-root",
        type=Path,
        default="../../dataset/rpar/annos",
        help="Find the table's imgs/ and gts/ in this folder (default: %(default)s).",
    )
    parsing = parser.add_argument_group("parsing maps")
    parsing.add_argument(
        "--max-image-size", type=positive, default=512, help="Set the side of the canvas, px (default: 512)."
    )
    parsing.add_argument(
        "--vq-config", default="", help="Read answers of codes with this model.yaml of the tokenizer; needs torch."
    )
    parsing.add_argument("--vq-ckpt", default="", help="Use this model.ckpt of the tokenizer.")
    parsing.add_argument("--vq-n-embed", type=positive, default=32, help="Say how many codes it has (default: 32).")
    captions = parser.add_argument_group("captions")
    captions.add_argument("--eval-bleu", action="store_true", help="Score by BLEU, too, without an interval.")
    captions.add_argument(
        "--eval-meteor", action="store_true", help="Score by ROUGE-L, too, and by METEOR if Java is installed."
    )
    captions.add_argument(
        "--eval-cider-cached-tokens", help="Take document frequencies from this file (default: from the table)."
    )


_COORDINATES = (
    "Say what the numbers of boxes and keypoints count: pixels (the default), florence-2, paligemma, qwen, or the "
    "number that stands for the whole side, such as 1, 1000 or 1024; and their order, xyxy, xywh or yxyx, as in "
    "pixels:xywh."
)


def _task_of(args: argparse.Namespace) -> str:
    """The task that the flags ask for. Raises UserError if the table is of another kind."""
    is_coco = args.table.suffix.lower() == ".json"
    task: str | None = args.task or (COCO if is_coco else None)
    if task is None:
        raise UserError(f"--task: say which task {args.table} belongs to: {', '.join(sorted(TABLES))}")
    if is_coco != (task == COCO):
        raise UserError(
            f"--task {task}: expected {'a COCO-style .json' if task == COCO else 'a TSV table'}, got {args.table}"
        )
    of_tables = {
        "--coordinates": args.coordinates != PIXELS,
        "--by": args.by is not None,
        "--facts": args.facts is not None,
        "--selected-cols": args.selected_cols is not None,
    }
    given = [flag for flag, is_given in of_tables.items() if is_given]
    if is_coco and given:
        raise UserError(
            f"{', '.join(given)}: only with a TSV table, got {args.table}: a COCO-style file has no columns, and "
            "keypoints in pixels"
        )
    return task


def run(args: argparse.Namespace) -> None:
    """Prints or writes the report."""
    from ...tasks.scoring.box_text import Coordinates  # after the flags are read: `--help` is quick
    from ...tasks.scoring.coco import score_coco
    from ...tasks.scoring.report import FORMATS
    from ...tasks.scoring.scoring import Options, score

    task = _task_of(args)
    if bool(args.vq_config) != bool(args.vq_ckpt):
        raise UserError("--vq-config and --vq-ckpt belong together: give both")
    if args.facts is not None and args.by is None:
        raise UserError(f"--facts {args.facts}: needs --by, the name of a fact")
    options = Options(
        args.table,
        task,
        selected_cols=args.selected_cols,
        annotation_root=args.annotation_root,
        coordinates=Coordinates.parse(args.coordinates),
        by=args.by,
        facts=args.facts,
        resamples=args.resamples,
        seed=args.seed,
        workers=args.workers,
        canvas=args.max_image_size,
        vq_config=args.vq_config,
        vq_ckpt=args.vq_ckpt,
        vq_n_embed=args.vq_n_embed,
        frequencies=args.eval_cider_cached_tokens,
        with_bleu=args.eval_bleu,
        with_meteor=args.eval_meteor,
    )
    report = FORMATS[args.format]((score_coco if task == COCO else score)(options, args.answers, args.against))
    if args.out is None:
        print(report)
        return
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(args.out) as part:
        part.write_text(report + "\n", encoding="utf-8")
