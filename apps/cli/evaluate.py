"""Answers every row of a table with a checkpoint, prints the metrics as JSON, and writes the answers.

    refhcm evaluate dataset/rec/refcoco_val.tsv --path checkpoints/refhcm.pt --task refcoco
    torchrun --nproc-per-node 8 evaluate.py data.tsv --path checkpoint.pt --task rkpt     on many GPUs

The answers go to RESULTS_PATH/NAME_predict.json (docs/evaluation.md, "Result files"). Each row is scored once.
"""

import argparse
import json
import logging
from pathlib import Path

from ...inference.calibration import calibration_of
from ...inference.judging import Judge, figures
from ...inference.loading import checkpoint_file
from ...models.generation_settings import GenerationSettings
from ...models.refhcm.loading import load_network
from ...tasks import TASKS
from ...tasks.evaluation import evaluate, write_json
from ...tasks.settings import NOT_FROM_CHECKPOINT, TaskSettings, settings_of
from ...utils.checkpoints import read_checkpoint
from ...utils.devices import gather, pick_device, pick_dtype, start_ranks
from ...utils.errors import DataError
from ...utils.files import check_output
from ...utils.flags import add_flags, from_namespace, positive, whole
from ...utils.memory import keep_freed_memory
from .model_flags import add_graphs_flag
from .reliability import draw_reliability

logger = logging.getLogger("refhcm.evaluate")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("data", help="Answer the rows of this TSV table.")
    parser.add_argument(
        "--path", required=True, help="Evaluate this trained model: a file, a folder, or OWNER/NAME of the hub."
    )
    parser.add_argument("--task", required=True, choices=sorted(TASKS), help="Say what to ask about each row.")
    parser.add_argument(
        "--gen-subset", metavar="NAME", help="Call the result file NAME_predict.json (default: the table's name)."
    )
    parser.add_argument("--results-path", help="Write the result file into this folder (default: results/TASK).")
    parser.add_argument("--metrics-path", help="Write the metrics to this JSON file, besides printing them.")
    parser.add_argument(
        "--reliability",
        type=Path,
        metavar="PNG",
        help="Draw right answers by confidence to this PNG; adds ece and auroc to the metrics.",
    )
    parser.add_argument("--batch-size", type=positive, default=32, help="Answer this many rows together (default: 32).")
    parser.add_argument(
        "--num-workers", type=whole, default=0, help="Read rows in this many other processes (default: 0)."
    )
    parser.add_argument("--fp16", action="store_true", help="Answer in float16 (default: float32).")
    parser.add_argument("--bf16", action="store_true", help="Answer in bfloat16 (default: float32).")
    add_graphs_flag(parser)
    parser.add_argument("--cpu", action="store_true", help="Use the CPU even if there is a GPU.")
    parser.add_argument("--ema-eval", action="store_true", help="Use the averaged weights that --store-ema kept.")
    otherwise = "the checkpoint's, else {}"
    add_flags(parser.add_argument_group("task"), TaskSettings, otherwise=otherwise, but=NOT_FROM_CHECKPOINT)
    add_flags(parser.add_argument_group("generation"), GenerationSettings, otherwise="the task's own")


def run(args: argparse.Namespace) -> None:
    """Prints the metrics and writes the answers, on the first rank."""
    subset = args.gen_subset or Path(args.data).stem
    results = Path(args.results_path or Path("results") / args.task) / f"{subset}_predict.json"
    for file in (results, Path(args.metrics_path or results), args.reliability or results):
        check_output(file)
    device = pick_device(cpu=args.cpu)
    dtype = pick_dtype(fp16=args.fp16, bf16=args.bf16)
    rank, world = start_ranks(device)
    checkpoint = read_checkpoint(checkpoint_file(args.path), mmap=True)
    task = TASKS[args.task].from_settings(settings_of(checkpoint, args))
    network = load_network(checkpoint, len(task.vocabulary), device=device, dtype=dtype, ema=args.ema_eval)
    checkpoint.check_vocabulary(task.text.digest)
    network.for_answers(cuda_graphs=args.cuda_graphs)
    if device.type == "cpu":
        keep_freed_memory()
    dataset = task.open(args.data, training=False)
    settings = from_namespace(GenerationSettings, args, default=task.generation_settings())
    judge = None
    if args.reliability:
        calibration = None if args.ema_eval else calibration_of(checkpoint.path)
        judge = Judge(task, dataset, calibration=calibration)
    metrics, records = evaluate(
        task,
        network,
        dataset,
        settings=settings,
        batch_size=args.batch_size,
        num_workers=args.num_workers,
        rank=rank,
        world=world,
        observe=judge,
    )
    judged = [] if judge is None else gather(judge.found)
    metrics |= {} if judge is None else figures(judged)
    if not records:
        raise DataError(f"{args.data}: no row can be used (--skip-bad-rows): there is nothing to score")
    if rank == 0:
        print(json.dumps(metrics), flush=True)  # first: a disk that is full now must not lose them
        write_json(records, results)
        if args.reliability:
            draw_reliability(judged, args.reliability)
        logger.info("%d answers written to %s", len(records), results)
        if args.metrics_path:
            write_json(metrics, args.metrics_path)
