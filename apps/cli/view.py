"""Draws rows of a table on a contact sheet: the labels, and a model's answers beside them.

    refhcm view data.tsv --task rkpt --out sheet.png
    refhcm view data.tsv --task rkpt --out sheet.png --results results/rkpt/data_predict.json --rows 24:48

Needs no vocabulary. To draw the parsing maps of a result file, name the tokenizer with --vq-config and --vq-ckpt.
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

from ...data.annotation import Annotation, given
from ...data.dataset import BadRowCounter
from ...data.text import TextEncoder
from ...data.tsv import TsvFile
from ...data.vocabulary import Vocabulary
from ...models.vqgan.config import NUM_CODES
from ...tasks import TASKS
from ...tasks.base import Task
from ...tasks.result_files import check_row, read_numbers, read_results
from ...tasks.rpar import ReferringParsing
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
from ...utils.errors import DataError
from ...utils.flags import from_namespace, positive
from ...utils.generalized import Matched, match
from ...utils.keypoints import NUM_KEYPOINTS, oks
from ...utils.parsing import confusion_matrix, paste_label_map, segmentation_scores, without_ignored
from .pictures import check_format, save_picture

PICTURE_WH = (360, 330)  # px of a tile's picture, at most
PAIRED_WH = (280, 330)  # px of each of two pictures, labels and answer
NO_CODES = ",".join(["0"] * NUM_CODES)  # stands for the codes that a table may still lack: they are not drawn


@dataclass(frozen=True)
class Shown:
    """What is drawn of a person: the label, or an answer. Image px; None for what the task does not have."""

    box_xyxy: np.ndarray | None = None  # float32 [4]
    boxes_xyxy: np.ndarray | None = None  # float32 [N, 4], of everyone whom the expression fits
    keypoints: np.ndarray | None = None  # float32 [34]
    label_map: np.ndarray | None = None  # integers [h, w], of the whole picture; 255 where a label is ignored
    caption: str | None = None


@dataclass(frozen=True)
class Row:
    """A row of the table, and the answer to it in a result file."""

    annotation: Annotation
    truth: Shown
    prediction: Shown | None = None


def reading_task(name: str, settings: TaskSettings) -> Task:
    """A task that reads rows and decodes codes. It cannot encode text, for which it would need a vocabulary."""
    words = Tokenizer(models.BPE(vocab={"a": 0}, merges=[]))
    return TASKS[name](TextEncoder(Vocabulary.from_pieces(["0"]), words), settings)


def read_rows(
    task: Task, path: str | Path, *, rows: slice | Sequence[int], results: str | Path | None = None
) -> list[Row]:
    """The chosen rows of a table and the answers to them. DataError if there are none, or if the answers do not fit."""
    file = TsvFile(path, task.settings.selected_cols or task.default_cols, names=task.columns)
    chosen = range(len(file))[rows] if isinstance(rows, slice) else [k for k in rows if k < len(file)]
    if not chosen:
        asked = f"{rows.start or 0}:{rows.stop or ''}" if isinstance(rows, slice) else ",".join(map(str, rows))
        raise DataError(f"{path}: has {len(file)} rows, none of them in --rows {asked}")
    records = None if results is None else read_results(results, len(file), data=path)
    found, counter = [], BadRowCounter(0)
    for k in chosen:
        row = file[k]
        annotation = task.annotation(row | {"codes": row.get("codes") or NO_CODES}, file.where(k))
        counter.check({"remarks": [(annotation.where, remark) for remark in annotation.remarks]})
        truth = Shown(annotation.box_xyxy, annotation.boxes_xyxy, annotation.keypoints, annotation.label_map)
        prediction = None if records is None else answer(task, annotation, records[k], where=f"{results}: record {k}")
        found.append(Row(annotation, truth, prediction))
    return found


def answer(task: Task, annotation: Annotation, record: Mapping[str, Any], *, where: str) -> Shown:
    """A record of a result file, in image px. DataError if it does not answer the row."""
    check_row(record, annotation.id, where=where, row=annotation.where)
    if "caption" in record:
        return Shown(caption=str(record["caption"]))
    if annotation.boxes_xyxy is not None:
        return Shown(boxes_xyxy=read_boxes(record, where=where))
    box = read_numbers(record, "bbox" if "bbox" in record else "box", count=4, where=where)
    keypoints = label_map = None
    if annotation.keypoints is not None:
        keypoints = read_numbers(record, "keypoints", count=2 * NUM_KEYPOINTS, where=where)
    if isinstance(task, ReferringParsing):
        codes = read_numbers(record, "image_code", count=NUM_CODES, where=where)
        decoded = task.tokenizer.decode(torch.from_numpy(codes).long()[None])[0]
        label_map = paste_label_map(decoded, box, given(annotation.image).size)
    return Shown(box, keypoints=keypoints, label_map=label_map)


def read_boxes(record: Mapping[str, Any], *, where: str) -> np.ndarray:
    """The boxes of a record, float32 [N, 4]. DataError naming `where`."""
    boxes = record.get("boxes")
    if not isinstance(boxes, list):
        raise DataError(f"{where}: boxes: needs a list of boxes, got {str(boxes)[:60]}")
    rows = [read_numbers({"boxes": box}, "boxes", count=4, where=where) for box in boxes]
    return np.array(rows, np.float32).reshape(-1, 4)


def scores(row: Row) -> dict[str, float]:
    """How good the answer is: IoU, and OKS or this picture's mIoU; F1 of several boxes; nothing for a caption."""
    truth, prediction = row.truth, row.prediction
    if prediction is not None and prediction.boxes_xyxy is not None:
        boxes, labels = prediction.boxes_xyxy, given(truth.boxes_xyxy)
        return {"F1": Matched(match(boxes, labels), len(boxes), len(labels), rejected=not len(boxes)).f1(0.5)}
    if prediction is None or prediction.box_xyxy is None:
        return {}
    box = given(truth.box_xyxy)[None]
    found = {"IoU": float(iou(prediction.box_xyxy[None], box)[0])}
    if prediction.keypoints is not None:
        answered, label = (k.reshape(1, NUM_KEYPOINTS, 2) for k in (prediction.keypoints, given(truth.keypoints)))
        found["OKS"] = float(oks(answered, label, box)[0])
    if prediction.label_map is not None:
        confusion = confusion_matrix(prediction.label_map, label=given(truth.label_map))
        found["mIoU"] = float(segmentation_scores(confusion)["miou"])
    return found


def tile(row: Row) -> Image.Image:
    """Labels and answer, with text and scores below: on one picture, or on two if there is more than a box."""
    image, answered = given(row.annotation.image), row.prediction
    paired = answered is not None and not (answered.keypoints is None and answered.label_map is None)
    width, height = PAIRED_WH if paired else PICTURE_WH
    scale = min(width / image.width, height / image.height)
    size_wh = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    plain = image.resize(size_wh, Image.Resampling.LANCZOS)
    picture = _draw(plain, row.truth, scale=scale, colour=TRUTH)
    if answered is not None:
        drawn = _draw(plain if paired else picture, answered, scale=scale, colour=PREDICTION)
        picture = beside([picture, drawn]) if paired else drawn
    return captioned(picture, _lines(row), width=2 * width + 4 if paired else width)


def _draw(image: Image.Image, shown: Shown, *, scale: float, colour: Colour) -> Image.Image:
    box, keypoints = shown.box_xyxy, shown.keypoints
    label_map = None if shown.label_map is None else without_ignored(shown.label_map)
    image = draw_person(image, box_xyxy=box, keypoints=keypoints, label_map=label_map, scale=scale, colour=colour)
    for one in () if shown.boxes_xyxy is None else shown.boxes_xyxy:
        image = draw_person(image, box_xyxy=one, scale=scale, colour=colour)
    return image


def _lines(row: Row) -> list[Line]:
    """Expression or references, the answered caption, id and scores."""
    answered = None if row.prediction is None else row.prediction.caption
    colour = INK if answered is None else TRUTH
    lines = [Line(text, colour) for text in row.annotation.expression.split(REFERENCE_SEPARATOR)]
    lines += [] if answered is None else [Line(answered or "(empty)", PREDICTION)]
    notes = [row.annotation.id, *(f"{name} {value:.2f}" for name, value in scores(row).items())]
    return [*lines, Line(" · ".join(notes), GREY)]


def sheet(rows: Sequence[Row], columns: int) -> Image.Image:
    """The contact sheet, with a legend of its colours."""
    shown = [one for row in rows for one in (row.truth, row.prediction) if one is not None]
    colours = {} if rows[0].prediction is None else {"truth": TRUTH, "prediction": PREDICTION}
    if any(one.keypoints is not None for one in shown):
        colours |= SIDES
    colours |= part_colours(without_ignored(one.label_map) for one in shown if one.label_map is not None)
    return contact_sheet([tile(row) for row in rows], columns, colours=colours)


def _rows(text: str) -> slice | list[int]:
    numbers = text.split(",")
    if all(part.isdecimal() for part in numbers):
        return list(map(int, numbers))
    start, colon, stop = text.partition(":")
    if not colon or not all(part.isdecimal() or not part for part in (start, stop)):
        expected = "FIRST:END or numbers, rows counted from 0, such as 0:24 or 3,17"
        raise argparse.ArgumentTypeError(f"needs {expected}, got {text!r}")
    return slice(int(start or 0), int(stop) if stop else None)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("data", type=Path, help="Draw rows of this TSV table.")
    parser.add_argument("--task", required=True, choices=sorted(TASKS), help="Say which task the rows belong to.")
    parser.add_argument("--out", type=Path, required=True, help="Write this picture, .png or .jpg.")
    parser.add_argument("--results", type=Path, help="Draw the answers of this result file of `refhcm evaluate`, too.")
    rows = "Draw these rows, counted from 0: FIRST:END, or numbers such as 3,17 (default: 0:24)."
    parser.add_argument("--rows", type=_rows, default="0:24", metavar="ROWS", help=rows)
    parser.add_argument(
        "--columns", type=positive, default=4, help="Draw this many pictures side by side (default: 4)."
    )
    task = parser.add_argument_group("task", argument_default=argparse.SUPPRESS)
    task.add_argument(
        "--selected-cols",
        help="Name the table's columns in the task's order, such as 0,4,2,3 (default: the task's own).",
    )
    task.add_argument(
        "--annotation-root",
        help="Find the imgs/ and gts/ that the table names in this folder (default: ../../dataset/rpar/annos).",
    )
    task.add_argument(
        "--vq-config", help="Read the codes in --results with this model.yaml of the parsing-map tokenizer."
    )
    task.add_argument("--vq-ckpt", help="Use this model.ckpt of the tokenizer.")
    task.add_argument(
        "--vq-n-embed", type=positive, help=f"Say how many codes it has (default: {TaskSettings.vq_n_embed})."
    )


def run(args: argparse.Namespace) -> None:
    """Draws the sheet."""
    check_format(args.out, where="--out")
    task = reading_task(args.task, from_namespace(TaskSettings, args))
    rows = read_rows(task, args.data, rows=args.rows, results=args.results)
    image = sheet(rows, args.columns)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_picture(image, args.out)
    print(f"{args.out}: {len(rows)} rows")
