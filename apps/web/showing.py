"""An answer as the page shows it: the picture to draw on, its legend, a sentence, a table, and files to download."""

import html
import json
import uuid
import zipfile
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gradio.utils import get_upload_folder
from PIL import Image

from ...inference.answers import Answer
from ...inference.drawing import CARD_PX, draw_answer
from ...inference.exports import coco_results, image_id, label_map_image, openpose
from ...utils.drawing import PREDICTION, SIDES, Colour
from ...utils.parsing import CLASS_NAMES, PALETTE, resize_label_map

BOX, KEYPOINTS = "box", f"keypoints ({', '.join(SIDES)})"
DOWNLOADS = {"JSON": "answer.json", "COCO": "coco.zip", "OpenPose": "openpose.json", "Parts (PNG)": "parts.png"}


@dataclass(frozen=True)
class Shown:
    """What it takes to draw an answer again: a picture small enough to keep for each visitor, the answer in its px."""

    picture: Image.Image
    answer: Answer


def prepare(picture: Image.Image, answer: Answer, *, asked_box: Sequence[float] = ()) -> Shown:
    """asked_box: x0, y0, x1, y1 in image px, if the question names a box; it is drawn, clipped to the picture."""
    longest = max(picture.size)
    scale = min(max(longest, CARD_PX[0]), CARD_PX[1]) / longest
    width, height = (max(1, round(side * scale)) for side in picture.size)
    ratio = np.array([width / picture.width, height / picture.height], np.float32)  # two, as the sides are rounded
    box, points, labels = answer.box_xyxy, answer.keypoints, answer.label_map
    if box is None and asked_box:
        box = np.asarray(asked_box, np.float32)
    if labels is not None:
        labels = resize_label_map(torch.from_numpy(labels), (height, width)).numpy()
    small = replace(
        answer,
        size_wh=(width, height),
        box_xyxy=None if box is None else box * np.tile(ratio, 2),
        keypoints=None if points is None else replace(points, xy=points.xy * ratio),
        label_map=labels,
    )
    return Shown(picture.resize((width, height), Image.Resampling.LANCZOS), small)


def legend(shown: Shown) -> list[dict[str, Any]]:
    """The value of `components.legend`: everything that is drawn, switched on."""
    colours: dict[str, Sequence[Colour]] = {}
    if shown.answer.box_xyxy is not None:
        colours[BOX] = [PREDICTION]
    if shown.answer.keypoints is not None:
        colours[KEYPOINTS] = list(SIDES.values())
    colours |= {name: [PALETTE[CLASS_NAMES.index(name)]] for name in shown.answer.parts}
    return [
        {"name": name, "colours": [f"rgb{colour}" for colour in several], "on": True}
        for name, several in colours.items()
    ]


def draw(shown: Shown, names: Collection[str] | None = None) -> Image.Image:
    """The picture with the answer on it. names: the entries of the legend to draw; None: all."""
    answer, labels = shown.answer, shown.answer.label_map
    if names is None:
        return draw_answer(shown.picture, answer)
    if labels is not None:
        on = [CLASS_NAMES.index(name) for name in answer.parts if name in names]
        labels = np.where(np.isin(labels, on), labels, 0)
    parts = {"box": BOX in names, "keypoints": KEYPOINTS in names, "parsing": labels is not None}
    return draw_answer(shown.picture, replace(answer, label_map=labels), parts=[p for p, on in parts.items() if on])


def sentence(answer: Answer) -> str:
    """HTML: the caption, what was found, and what is wrong with the answer."""
    lines, found = [], []
    if answer.caption is not None:
        lines.append(f"<blockquote>{html.escape(answer.caption)}</blockquote>")
    if answer.box_xyxy is not None:
        found.append("a box")
    if answer.keypoints is not None:
        found.append(f"{int(answer.keypoints.visible.sum())} keypoints")
    if answer.label_map is not None:
        found.append(f"{len(answer.parts)} parts")
    if found:
        lines.append(f"<p>Found: {', '.join(found)}.</p>")
    if not answer.valid:
        lines.append(problem("Part of what the model wrote could not be read."))
    return "".join(lines + [f"<p>{html.escape(note)}</p>" for note in answer.notes])


def problem(message: str) -> str:
    """HTML: what went wrong."""
    return f'<p class="problem">{html.escape(message)}</p>'


def table(answer: Answer) -> list[list[str]]:
    """Rows of what, value and score."""
    scores = {name: "" if score is None else f"{score:.3f}" for name, score in vars(answer.scores).items()}
    rows = []
    if answer.caption is not None:
        rows.append(["caption", answer.caption, scores["caption"]])
    if answer.box_xyxy is not None:
        rows.append(["box (x0, y0, x1, y1)", _numbers(answer.box_xyxy), scores["box"]])
    for name, point in answer.keypoints or ():
        if point is not None:
            rows.append([name.replace("_", " "), _numbers(point), scores["keypoints"]])
    return rows + [[name, f"{int(mask.sum())} px", scores["parsing"]] for name, mask in answer.parts.items()]


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in values)


def write_downloads(answer: Answer, name: str) -> list[str | None]:
    """The files of `DOWNLOADS` in their order, None where the answer has nothing for it.

    name: the picture's, for COCO results.
    """
    answers = Path(get_upload_folder()) / "answers"
    answers.mkdir(exist_ok=True)  # without its parents: they are gone when the page has ended
    folder = answers / uuid.uuid4().hex
    folder.mkdir()
    record, coco, pose, parts = paths = [folder / file for file in DOWNLOADS.values()]
    record.write_text(answer.to_json(indent=2), encoding="utf-8")
    results = {kind: rows for kind, rows in coco_results([answer], image_ids=[image_id(name)]).items() if rows}
    if results:
        with zipfile.ZipFile(coco, "w") as archive:  # COCO has a results file for each kind
            for kind, rows in results.items():
                archive.writestr(f"coco.{kind}.json", json.dumps(rows))
    if answer.keypoints is not None:
        pose.write_text(json.dumps(openpose(answer)), encoding="utf-8")
    if answer.label_map is not None:
        label_map_image(answer).save(parts)
    return [str(path) if path.is_file() else None for path in paths]
