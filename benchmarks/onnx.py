"""A model in ONNX beside torch on a drawn world, in one process: the same symbols, scores, and time (docs/onnx.md).

    python -m refhcm.benchmarks.onnx WORLD FOLDER [FOLDER ...] [--rows 25]

WORLD: from `refhcm world`; FOLDER: from `refhcm export CHECKPOINT FOLDER --format onnx`. torch answers with
`--checkpoint` (default: the small model). Both use one thread; the time is the processor's, the lower of two runs.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..data.columns import parse_box, parse_keypoints
from ..data.images import read_label_map, read_picture
from ..data.tsv import TsvFile
from ..inference.answers import Answer
from ..inference.loading import load
from ..inference.onnx import load_onnx
from ..inference.predictor import Predictor
from ..tasks import TASKS
from ..utils.boxes import iou
from ..utils.captions import caption_scores, split_references
from ..utils.keypoints import oks
from ..utils.parsing import confusion_matrix, segmentation_scores

TOGETHER = 8  # questions
RIGHT = 0.5
Rows = Sequence[Mapping[str, str]]


def main() -> None:
    """The command line: prints a row for each task and model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", type=Path)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--checkpoint", help="what the folders were exported from")
    parser.add_argument("--rows", type=int, default=25, help="questions of each task")
    args = parser.parse_args()
    torch.set_num_threads(1)
    models: dict[str, Predictor] = {"torch": load(args.checkpoint, device="cpu", batch_size=TOGETHER)}
    models |= {folder.name: load_onnx(folder, batch_size=TOGETHER, threads=1) for folder in args.folders}
    print("| task | model | same symbols | score | ms |\n|---|---|---|---|---|")
    for task, (ask, score) in TASKS_ASKED.items():
        rows, pictures = read_rows(args.world, task, args.rows)
        answers: dict[str, list[Answer]] = {}
        for name, model in models.items():
            times = []
            for _ in range(2):
                start = time.process_time()
                answers[name] = ask(model, pictures, rows)
                times.append(time.process_time() - start)
            pairs = zip(answers[name], answers["torch"], strict=True)
            same = sum(ours.symbols == theirs.symbols for ours, theirs in pairs)
            found = score(answers[name], rows, args.world)
            ms = 1000 * min(times) / len(rows)
            print(f"| {task} | {name} | {same} of {len(rows)} | {found:.4f} | {ms:.0f} |", flush=True)


def read_rows(world: Path, task: str, count: int) -> tuple[Rows, list[Image.Image]]:
    """Rows of the test table, evenly spread, and their pictures."""
    name = "rkpt" if task == "refcoco" else task
    kind = TASKS[name]
    file = TsvFile(world / name / "test.tsv", kind.default_cols, names=kind.columns)
    rows = [file[int(k)] for k in np.linspace(0, len(file) - 1, count)]
    root = world / "rpar" / "annos" / kind.image_folder
    return rows, [read_picture(row["image"], root=root, where=task)[0] for row in rows]


def _refer(**wanted: bool) -> Callable[[Predictor, list[Image.Image], Rows], list[Answer]]:
    def ask(model: Predictor, pictures: list[Image.Image], rows: Rows) -> list[Answer]:
        return model.refer(pictures, [row["expression"] for row in rows], **wanted)

    return ask


def _describe(model: Predictor, pictures: list[Image.Image], rows: Rows) -> list[Answer]:
    return model.describe(pictures, [parse_box(row["box"], "box") for row in rows])


def _box_accuracy(answers: Sequence[Answer], rows: Rows, world: Path) -> float:
    boxes = [np.zeros(4) if answer.box_xyxy is None else answer.box_xyxy for answer in answers]
    return float((iou(boxes, [parse_box(row["box"], "box") for row in rows]) >= RIGHT).mean())


def _oks(answers: Sequence[Answer], rows: Rows, world: Path) -> float:
    points = [np.zeros((17, 2)) if not answer.keypoints else answer.keypoints.xy for answer in answers]
    labels = [parse_keypoints(row["keypoints"], "keypoints").reshape(-1, 2) for row in rows]
    return float(oks(points, labels, [parse_box(row["box"], "box") for row in rows]).mean())


def _miou(answers: Sequence[Answer], rows: Rows, world: Path) -> float:
    confusion: Any = 0
    for answer, row in zip(answers, rows, strict=True):
        label = read_label_map(row["mask"], answer.size_wh, root=world / "rpar" / "annos" / "gts", where="mask")
        drawn = np.zeros(label.shape, np.int64) if answer.label_map is None else answer.label_map.astype(np.int64)
        confusion = confusion + confusion_matrix(drawn, label=label.astype(np.int64))
    return float(segmentation_scores(confusion)["miou"])


def _cider(answers: Sequence[Answer], rows: Rows, world: Path) -> float:
    references = [split_references(row["caption"]) for row in rows]
    return caption_scores([answer.caption or "" for answer in answers], references)["cider"]


TASKS_ASKED = {
    "refcoco": (_refer(), _box_accuracy),
    "rkpt": (_refer(keypoints=True), _oks),
    "rpar": (_refer(parsing=True), _miou),
    "rhrc": (_describe, _cider),
}

if __name__ == "__main__":
    main()
