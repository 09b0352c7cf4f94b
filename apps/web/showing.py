"""An answer as the page shows it: the picture to draw on, its legend, a sentence, a table, and files to download."""

import html
import json
import uuid
import zipfile
from collections.abc import Collection, Sequence
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
    """What drawing an answer once more needs, in px of a picture that is small enough to be kept for each visitor."""

    picture: Image.Image
    answer: Answer


def prepare(picture: Image.Image, answer: Answer, *, asked_box: np.ndarray | None = None) -> Shown:
    """asked_box: [4] image px, of a question that names the box; drawing clips it."""
    longest = max(picture.size)
    scale = min(max(longest, CARD_PX[0]), CARD_PX[1]) / longest
    width, height = (max(1, round(side * scale)) for side in picture.size)
    ratio = np.array([width / picture.width, height / picture.height], np.float32)  # not one number: sides are whole
    box, points, labels = answer.box_xyxy, answer.keypoints, answer.label_map
    box = asked_box if box is None else box
    if labels is not None:
        labels = resize_label_map(torch.from_numpy(labels), (height, width)).numpy()
    small = replace(
        answer,
        size_wh=(width, height),
        box_xyxy=None if box is None else np.asarray(box, np.float32) * np.tile(ratio, 2),
        keypoints=None if points is None else replace(points, xy=points.xy * ratio),
        label_map=labels,
    )
    return Shown(picture.resize((width, height), Image.Resampling.LANCZOS), small)


def legend(shown: Shown) -> list[dict[str, Any]]:
    """Entries of `components.Legend`: all that is drawn, switched on."""
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
    """The picture with what is switched on. names: of the legend; None: all."""
    answer, labels = shown.answer, shown.answer.label_map
    if names is None:
        return draw_answer(shown.picture, answer)
    if labels is not None:
        on = [CLASS_NAMES.index(name) for name in answer.parts if name in names]
        labels = np.where(np.isin(labels, on), labels, 0)
    parts = {"box": BOX in names, "keypoints": KEYPOINTS in names, "parsing": labels is not None}
    return draw_answer(shown.picture, replace(answer, label_map=labels), parts=[p for p, on in parts.items() if on])


def said(answer: Answer) -> str:
    """HTML: the answer in a sentence, and what is wrong with it."""
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
        lines.append(problem("The model wrote something that can not be read in full."))
    return "".join(lines + [f"<p>{html.escape(note)}</p>" for note in answer.notes])


def problem(sentence: str) -> str:
    """HTML of what went wrong."""
    return f'<p class="problem">{html.escape(sentence)}</p>'


def table(answer: Answer) -> list[list[str]]:
    """Rows of what, value and score."""
    scores = {name: "" if score is None else f"{score:.3f}" for name, score in vars(answer.scores).items()}
    rows = []
    if answer.caption is not None:
        rows.append(["caption", answer.caption, scores["caption"]])
    if answer.box_xyxy is not None:
        rows.append(["box (x0, y0, x1, y1)", _numbers(answer.box_xyxy), scores["box"]])
    if answer.keypoints is not None:
        seen = [(name, point) for name, point in answer.keypoints if point is not None]
        rows += [[name.replace("_", " "), _numbers(point), scores["keypoints"]] for name, point in seen]
    rows += [[name, f"{int(mask.sum())} px", scores["parsing"]] for name, mask in answer.parts.items()]
    return rows


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in values)


def write_downloads(answer: Answer, name: str) -> dict[str, str | None]:
    """A file for each of `DOWNLOADS`, None where the answer has nothing for it. name: of the picture, in COCO results.

    They lie in gradio's own folder, which is emptied as `Blocks(delete_cache=...)` says.
    """
    folder = Path(get_upload_folder()) / "answers" / uuid.uuid4().hex
    folder.mkdir(parents=True)
    paths = {label: folder / file for label, file in DOWNLOADS.items()}
    paths["JSON"].write_text(answer.to_json(indent=2), encoding="utf-8")
    coco = {kind: rows for kind, rows in coco_results([answer], image_ids=[image_id(name)]).items() if rows}
    if coco:
        with zipfile.ZipFile(paths["COCO"], "w") as archive:  # COCO's results are a file for each kind
            for kind, rows in coco.items():
                archive.writestr(f"coco.{kind}.json", json.dumps(rows))
    if answer.keypoints is not None:
        paths["OpenPose"].write_text(json.dumps(openpose(answer)), encoding="utf-8")
    if answer.label_map is not None:
        label_map_image(answer).save(paths["Parts (PNG)"])
    return {label: str(path) if path.is_file() else None for label, path in paths.items()}
