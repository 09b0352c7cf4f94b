"""Answers of `refhcm ask` as files of other programs: COCO results, OpenPose, PNG masks, and drawn pictures."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from ....data.pictures import open_picture
from ....inference.drawing import draw_answer
from ....inference.exports import coco_results, image_id, openpose, save_label_map, save_parts
from ....utils.errors import UserError
from ....utils.parsing import CLASS_NAMES
from .records import Record, answer_of, picture_mark


def export_coco(records: Sequence[Record], path: Path) -> list[Path]:
    """One file for each of COCO's kinds that has results: results.json is results.bbox.json, .keypoints, .segm."""
    written = []
    flag_of = {"keypoints": "keypoints", "segm": "parsing"}
    for kind, rows in coco_rows(records).items():
        file = path.with_name(f"{path.stem}.{kind}{path.suffix or '.json'}")
        if rows:
            _write_json(rows, file)
            written.append(file)
        elif any(_asks_for(flag_of.get(kind, "refer"), record) for record in records):
            _remove(file)
    return written


def coco_rows(records: Sequence[Record]) -> dict[str, list[dict[str, Any]]]:
    """COCO's results by kind.

    A picture's id is the number that its file's name is or, as RefCOCO's, ends with; its path where it has none, or
    has another picture's.
    """
    number_of = {record["image"]: image_id(record["image"]) for record in records}
    times = Counter(number_of.values())
    ids = (number_of[image] if times[number_of[image]] == 1 else image for image in (r["image"] for r in records))
    return coco_results(map(answer_of, records), image_ids=ids)


def export_openpose(records: Sequence[Record], folder: Path) -> list[Path]:
    """One file for each picture with answered keypoints, `NAME_keypoints.json`, with all its people."""
    written, people = [], {}
    for record in records:
        if _asks_for("keypoints", record):
            found = people.setdefault(record["image"], [])
            found += [record] if record["keypoints"] is not None else []
    stem_of = stems(records)
    for image, found in people.items():
        file = folder / f"{stem_of[image]}_keypoints.json"
        if found:
            _write_json(openpose([answer_of(record) for record in found]), file)
            written.append(file)
        else:
            _remove(file)
    return written


def export_masks(records: Sequence[Record], folder: Path) -> list[Path]:
    """Of each answer with parts the label map, values are classes, and a mask for each part, NAME_hair.png."""
    written = []
    for name, record in named(records):
        files = []
        if record["parts"] is not None:
            answer = answer_of(record)
            files.append(folder / f"{name}.png")
            save_label_map(answer, files[0])
            files += save_parts(answer, folder, stem=name).values()
        whole, parts = f"{name}.png", [f"{name}_{part}.png" for part in CLASS_NAMES]
        for file in {folder / other for other in (whole, *parts)} - set(files) if _asks_for("parsing", record) else ():
            _remove(file)
        written += files
    return written


def export_drawn(records: Sequence[Record], folder: Path) -> list[Path]:
    """The picture of each answer with the answer drawn on it. Raises UserError after all others are drawn."""
    written, problems = [], []
    for name, record in named(records):
        path = folder / f"{name}.jpg"
        try:
            mark = picture_mark(record["image"])
            if mark is not None and record.get("picture", mark) != mark:
                raise UserError("another picture is there now")
            drawn = draw_answer(open_picture(record["image"]), answer_of(record))
        except UserError as error:  # of an earlier run, say, whose pictures are not there any more
            problems.append(f"{record['image']}: not drawn ({error})")
            continue
        try:
            folder.mkdir(parents=True, exist_ok=True)
            drawn.save(path, quality=92)
        except OSError as error:
            raise UserError(f"{path}: can not be written: {error.strerror or error}") from error
        written.append(path)
    if problems:
        others = f", and {len(problems) - 1} others" if len(problems) > 1 else ""
        raise UserError(f"{problems[0]}{others}; {folder}: {len(written)} files")
    return written


def named(records: Sequence[Record]) -> Iterator[tuple[str, Record]]:
    """Each record with a name of its own for its files: street-0-the-woman-in-red."""
    stem_of, count = stems(records), Counter()
    for record in records:
        image = record["image"]
        asked = next((str(value) for value in record["question"].values() if isinstance(value, str)), "box")
        slug = re.sub(r"[^a-z0-9]+", "-", asked.lower())[:40].strip("-")
        yield "-".join(filter(None, (stem_of[image], str(count[image]), slug))), record
        count[image] += 1


def stems(records: Sequence[Record]) -> dict[str, str]:
    """A name for each picture: its file's, made different where two folders have the same one."""
    images = list(dict.fromkeys(record["image"] for record in records))
    times = Counter(Path(image).stem for image in images)
    return {image: _stem(image, alone=times[Path(image).stem] == 1) for image in images}


def _stem(image: str, *, alone: bool) -> str:
    stem = Path(image).stem
    return stem if alone else f"{stem}-{sha256(os.fsencode(image)).hexdigest()[:8]}"


def _asks_for(kind: str, record: Record) -> bool:
    """Whether the answer is to hold this kind, so that its files are this command's; an instruction may ask for any."""
    return kind in record["question"] or "instruct" in record["question"]


def _remove(file: Path) -> None:
    """What an earlier answer left there would be taken for this one's."""
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{file}: can not be removed: {error.strerror or error}") from error


def _write_json(value: Any, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value, allow_nan=False), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: can not be written: {error.strerror or error}") from error


EXPORTERS = {  # by the flag of `refhcm ask`
    "coco": export_coco,
    "openpose": export_openpose,
    "masks": export_masks,
    "save_images": export_drawn,
}
