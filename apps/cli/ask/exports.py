"""Answers of `refhcm ask` as files for other programs: COCO results, OpenPose, PNG masks, and drawn pictures."""

import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from ....data.pictures import open_picture
from ....inference.drawing import draw_answer
from ....inference.exports import coco_results, image_id, openpose, save_label_map, save_parts
from ....utils.errors import UserError
from ....utils.files import atomic_write
from ....utils.parsing import CLASS_NAMES
from .records import Record, answer_of, content_mark

LONGEST = 220  # bytes of a name: file systems take 255, and _keypoints.json and atomic_write's ending need 29
MARK_LENGTH = 12
MARK = re.compile(rf"-[0-9a-fA-F]{{{MARK_LENGTH}}}$")
Key = TypeVar("Key", str, tuple[str, int])


def export_coco(records: Sequence[Record], path: Path) -> list[Path]:
    """One file for each kind of COCO's results that there is: results.bbox.json, .keypoints.json and .segm.json."""
    written = []
    for kind, rows in coco_rows(records).items():
        file = path.with_name(f"{path.stem}.{kind}{path.suffix or '.json'}")
        asked = {"bbox": "refer", "keypoints": "keypoints", "segm": "parsing"}[kind]
        if rows:
            _write_json(rows, file)
            written.append(file)
        elif any(_asks_for(asked, record) for record in records):
            file.unlink(missing_ok=True)
    return written


def coco_rows(records: Sequence[Record]) -> dict[str, list[dict[str, Any]]]:
    """COCO's results by kind.

    A picture's id is the number that its file name is or, in RefCOCO, ends with. It is its path if there is no number,
    or if another picture has the same one.
    """
    number_of = {record["image"]: image_id(record["image"]) for record in records}
    times = Counter(number_of.values())
    ids = (number_of[image] if times[number_of[image]] == 1 else image for image in (r["image"] for r in records))
    return coco_results(map(answer_of, records), image_ids=ids)


def export_openpose(records: Sequence[Record], folder: Path) -> list[Path]:
    """One file for each picture with answered keypoints, NAME_keypoints.json, with all its people."""
    written, people = [], dict[str, list[Record]]()
    for record in records:
        if _asks_for("keypoints", record):
            people.setdefault(record["image"], []).extend([record] * (record["keypoints"] is not None))
    stem_of = stems(records)
    for image, found in people.items():
        file = folder / f"{stem_of[image]}_keypoints.json"
        if found:
            _write_json(openpose([answer_of(record) for record in found]), file)
            written.append(file)
        else:
            file.unlink(missing_ok=True)
    return written


def export_masks(records: Sequence[Record], folder: Path) -> list[Path]:
    """For each answer with parts the label map, NAME.png, and a mask of each part, NAME_hair.png."""
    written = []
    for name, record in named(records):
        if _asks_for("parsing", record):
            for file in (f"{name}.png", *(f"{name}_{part}.png" for part in CLASS_NAMES)):
                (folder / file).unlink(missing_ok=True)
        if record["parts"] is not None:
            answer = answer_of(record)
            save_label_map(answer, folder / f"{name}.png")
            written += [folder / f"{name}.png", *save_parts(answer, folder, stem=name).values()]
    return written


def export_drawn(records: Sequence[Record], folder: Path) -> list[Path]:
    """Each picture with the answer drawn on it. UserError, after the others are drawn, if one could not be."""
    written, problems = [], []
    for name, record in named(records):
        path = folder / f"{name}.jpg"
        try:
            if record.get("picture") not in (None, content_mark(record["image"])):
                raise UserError("the picture is missing or has changed")
            drawn = draw_answer(open_picture(record["image"]), answer_of(record))
        except UserError as error:  # for example about a picture of an earlier run
            problems.append(f"{record['image']}: not drawn ({error})")
            continue
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            drawn.save(part, "JPEG", quality=92)
        written.append(path)
    if problems:
        others = f", and {len(problems) - 1} others" if len(problems) > 1 else ""
        raise UserError(f"{problems[0]}{others}; {folder}: {len(written)} files")
    return written


def named(records: Sequence[Record]) -> Iterator[tuple[str, Record]]:
    """Each record with the name for its files, such as street-0-the-woman-in-red."""
    stem_of, count = stems(records), Counter[str]()
    wanted: dict[tuple[str, int], str] = {}  # by picture, and number of its question
    for record in records:
        image = record["image"]
        asked = next((str(value) for value in record["question"].values() if isinstance(value, str)), "box")
        slug = re.sub(r"[^a-z0-9]+", "-", asked.lower())[:40].strip("-")
        name = "-".join(filter(None, (stem_of[image], str(count[image]), slug)))
        wanted[image, count[image]] = name
        count[image] += 1
    yield from zip(_different(wanted).values(), records, strict=True)


def stems(records: Sequence[Record]) -> dict[str, str]:
    """A name for each picture: the file's, with a hash of its path where two folders hold the same one."""
    return _different({record["image"]: Path(record["image"]).stem.replace("\0", "") for record in records})


def _different(wanted: Mapping[Key, str]) -> dict[Key, str]:
    """A name of at most `LONGEST` bytes for each key: the wanted one, or its beginning with a hash of the key.

    No two are the same, not even where neither capital letters count nor how an accent is written, as on a Mac. A name
    that ends as if with a hash gets one, too.
    """
    times = Counter(map(_folded, wanted.values()))
    names = {}
    for key, name in wanted.items():
        encoded = os.fsencode(name)
        if times[_folded(name)] > 1 or len(encoded) > LONGEST or MARK.search(name):
            mark = sha256(repr(key).encode(errors="surrogatepass")).hexdigest()[:MARK_LENGTH]
            name = f"{encoded[: LONGEST - MARK_LENGTH - 1].decode(errors='ignore')}-{mark}"
        names[key] = name
    return names


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _asks_for(kind: str, record: Record) -> bool:
    """Whether the answer may hold this kind; files of that kind left by an earlier answer are then out of date."""
    return kind in record["question"] or "instruct" in record["question"]


def _write_json(value: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as part:
        part.write_text(json.dumps(value, allow_nan=False), encoding="utf-8")


EXPORTERS = {  # by the flag of `refhcm ask`
    "coco": export_coco,
    "openpose": export_openpose,
    "masks": export_masks,
    "save_images": export_drawn,
}
