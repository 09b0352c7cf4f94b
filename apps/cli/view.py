"""The data view: any TSV of any task as a contact sheet, with its truth, or with a result file beside it.

    refhcm view data.tsv --task rkpt --out sheet.png [--results results/rkpt/data_predict.json]

Needs no vocabulary. The parsing maps of a result file are decoded from its codes by --vq-config and --vq-ckpt.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, models
from torch import Tensor

from ...data.text import TextEncoder
from ...data.tsv import TsvFile
from ...data.vocabulary import Vocabulary
from ...models.vqgan.config import NUM_CODES
from ...tasks import TASKS, Task
from ...tasks.base import Annotation
from ...tasks.result_files import check_row, read_numbers, read_results
from ...tasks.settings import TaskSettings
from ...utils.boxes import iou
from ...utils.captions import REFERENCE_SEPARATOR
from ...utils.drawing import (
    GREY,
    INK,
    PREDICTION,
    SIDES,
    TRUTH,
    Colour,
    Line,
    beside,
    captioned,
    contact_sheet,
    draw_person,
    part_colours,
)
from ...utils.errors import DataError, UserError
from ...utils.files import replacing
from ...utils.flags import from_namespace, positive
from ...utils.keypoints import NUM_KEYPOINTS, oks
from ...utils.parsing import confusion_matrix, label_map_in_picture, segmentation_scores

PICTURE_WH = (360, 330)  # px at most, in a tile
PAIRED_WH = (280, 330)  # of each of two pictures, truth and prediction
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
NO_CODES = ",".join(["0"] * NUM_CODES)  # for a table that the tokenizer has not seen yet: its codes are not drawn


@dataclass(frozen=True)
class Shown:
    """What is drawn of a row: its truth, or an answer to it. Image px; None for what the task does not have."""

    box_xyxy: np.ndarray | None = None  # float32 [4]
    keypoints: np.ndarray | None = None  # float32 [34]
    label_map: Tensor | None = None  # int64 [h, w], of the whole picture
    caption: str | None = None


@dataclass(frozen=True)
class Row:
    """A row of the TSV, and what a result file says of it."""

    annotation: Annotation
    truth: Shown
    prediction: Shown | None = None


def reading_task(name: str, settings: TaskSettings) -> Task:
    """A task that reads rows and decodes codes; it has no words, for nothing is encoded here."""
    words = Tokenizer(models.BPE(vocab={"a": 0}, merges=[]))
    return TASKS[name](TextEncoder(Vocabulary.from_pieces(["0"]), words), settings)


def read_rows(task: Task, path: str | Path, *, rows: slice, results: str | Path | None = None) -> list[Row]:
    """The chosen rows of a TSV, and their answers. Raises DataError when there is no such row or no fitting answer."""
    file = TsvFile(path, task.settings.selected_cols or task.default_cols, names=task.columns)
    chosen = range(len(file))[rows]
    if not chosen:
        raise DataError(f"{path}: has {len(file)} rows, none of them in --rows {rows.start or 0}:{rows.stop or ''}")
    records = None if results is None else read_results(results, len(file), data=path)
    found = []
    for k in chosen:
        row = file[k]
        annotation = task.annotation(row | {"codes": row.get("codes") or NO_CODES}, file.where(k))
        prediction = None if records is None else answer(task, annotation, records[k], where=f"{results}: record {k}")
        label_map = None if annotation.label_map is None else torch.from_numpy(annotation.label_map).long()
        truth = Shown(annotation.box_xyxy, annotation.keypoints, label_map)
        found.append(Row(annotation, truth, prediction))
    return found


def answer(task: Task, annotation: Annotation, record: Mapping[str, Any], *, where: str) -> Shown:
    """What a record of a result file says, in image px; checked against the row that it answers."""
    check_row(record, annotation.id, where=where, row=annotation.where)
    if "caption" in record:
        return Shown(caption=str(record["caption"]))
    box = read_numbers(record, "bbox" if "bbox" in record else "box", count=4, where=where)
    keypoints = label_map = None
    if annotation.keypoints is not None:
        keypoints = read_numbers(record, "keypoints", count=2 * NUM_KEYPOINTS, where=where)
    if annotation.codes is not None:
        codes = read_numbers(record, "image_code", count=len(annotation.codes), where=where)
        decoded = task.tokenizer.decode(torch.from_numpy(codes).long()[None])[0]
        label_map = label_map_in_picture(decoded, box, size_wh=annotation.image.size)
    return Shown(box, keypoints, label_map)


def scores(row: Row) -> dict[str, float]:
    """How good the answer is: IoU, and OKS or the mIoU of this picture alone; nothing for a caption."""
    truth, prediction = row.truth, row.prediction
    if prediction is None or prediction.box_xyxy is None:
        return {}
    found = {"IoU": float(iou(prediction.box_xyxy[None], truth.box_xyxy[None])[0])}
    if prediction.keypoints is not None:
        points = (points.reshape(1, NUM_KEYPOINTS, 2) for points in (prediction.keypoints, truth.keypoints))
        found["OKS"] = float(oks(*points, truth.box_xyxy[None])[0])
    if prediction.label_map is not None:
        found["mIoU"] = segmentation_scores(confusion_matrix(prediction.label_map, label=truth.label_map))["miou"]
    return found


def draw_shown(image: Image.Image, shown: Shown, *, scale: float, colour: Colour) -> Image.Image:
    """The picture, `scale` times as large as the one that `shown` is of, with box, keypoints and parts."""
    parts = {"box_xyxy": shown.box_xyxy, "keypoints": shown.keypoints, "label_map": shown.label_map}
    return draw_person(image, **parts, scale=scale, colour=colour)


def tile(row: Row) -> Image.Image:
    """Truth and prediction on one picture, or on two where each has more than a box; text and scores below."""
    truth, prediction = row.truth, row.prediction
    paired = prediction is not None and not (prediction.keypoints is None and prediction.label_map is None)
    width, height = PAIRED_WH if paired else PICTURE_WH
    scale = min(width / row.annotation.image.width, height / row.annotation.image.height)
    size_wh = tuple(max(1, round(side * scale)) for side in row.annotation.image.size)
    plain = row.annotation.image.resize(size_wh, Image.Resampling.LANCZOS)
    picture = draw_shown(plain, truth, scale=scale, colour=TRUTH)
    if prediction is not None:
        other = draw_shown(plain if paired else picture, prediction, scale=scale, colour=PREDICTION)
        picture = beside([picture, other]) if paired else other
    return captioned(picture, _lines(row), width=2 * width + 4 if paired else width)


def _lines(row: Row) -> list[Line]:
    """Expression or references, the caption answered, and id and scores."""
    answered = None if row.prediction is None else row.prediction.caption
    colour = INK if answered is None else TRUTH
    lines = [Line(text, colour) for text in row.annotation.expression.split(REFERENCE_SEPARATOR)]
    lines += [] if answered is None else [Line(answered or "(empty)", PREDICTION)]
    notes = [row.annotation.id, *(f"{name} {value:.2f}" for name, value in scores(row).items())]
    return [*lines, Line(" · ".join(notes), GREY)]


def sheet(rows: Sequence[Row], columns: int) -> Image.Image:
    """The contact sheet, with a legend of the colours in it."""
    shown = [one for row in rows for one in (row.truth, row.prediction) if one is not None]
    colours = {} if rows[0].prediction is None else {"truth": TRUTH, "prediction": PREDICTION}
    if any(one.keypoints is not None for one in shown):
        colours |= SIDES
    colours |= part_colours(one.label_map for one in shown if one.label_map is not None)
    return contact_sheet([tile(row) for row in rows], columns, colours=colours)


def picture_format(path: Path) -> str:
    """Pillow's name of the format that the suffix stands for."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"--out {path}: needs a name that ends in {', '.join(FORMATS)}")
    return FORMATS[path.suffix.lower()]


def save(image: Image.Image, path: Path) -> None:
    """Writes the picture, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        image.save(part, format=picture_format(path))


def _slice(text: str) -> slice:
    start, colon, stop = text.partition(":")
    if not colon or not all(part.isdecimal() or not part for part in (start, stop)):
        raise argparse.ArgumentTypeError(f"needs FIRST:END, rows counted from 0, such as 0:24, got {text!r}")
    return slice(int(start or 0), int(stop) if stop else None)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("data", type=Path, help="TSV file")
    parser.add_argument("--task", required=True, choices=sorted(TASKS), help="what its rows are")
    parser.add_argument("--out", type=Path, required=True, help="picture to write, .png or .jpg")
    parser.add_argument("--results", type=Path, help="result file of evaluate.py for this TSV")
    parser.add_argument("--rows", type=_slice, default="0:24", help="FIRST:END, from 0 (default: 0:24)")
    parser.add_argument("--columns", type=positive, default=4, help="tiles in a row (default: 4)")
    task = parser.add_argument_group("task", argument_default=argparse.SUPPRESS)
    task.add_argument("--selected-cols", help="columns of the TSV in the task's order, such as 0,4,2,3")
    task.add_argument("--annotation-root", help="folder with the imgs/ and gts/ that TSVs name")
    task.add_argument("--vq-config", help="model.yaml of the parsing-map tokenizer, for the codes of --results")
    task.add_argument("--vq-ckpt", help="its model.ckpt")
    task.add_argument("--vq-n-embed", type=positive, help=f"its number of codes (default: {TaskSettings.vq_n_embed})")


def run(args: argparse.Namespace) -> None:
    """Draws the sheet."""
    picture_format(args.out)
    task = reading_task(args.task, from_namespace(TaskSettings, args))
    rows = read_rows(task, args.data, rows=args.rows, results=args.results)
    save(sheet(rows, args.columns), args.out)
    print(f"{args.out}: {len(rows)} rows")
