"""Answers of `refhcm ask` as files for other programs: COCO results, OpenPose, PNG masks, and drawn pictures."""

import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

from ....data.columns import MOST_BOXES
from ....data.pictures import open_picture
from ....inference.drawing import draw_answer, draw_answers
from ....inference.exports import coco_results, image_id, openpose, save_label_map, save_parts, save_person
from ....utils.drawing import Line, captioned
from ....utils.errors import DataError, UserError
from ....utils.files import atomic_write
from ....utils.parsing import CLASS_NAMES
from ..pictures import save_picture
from .clips import draw_clips, is_frame
from .lines import Record, answer_of
from .records import content_mark, people_of
from .summary import is_plain, outcome

LONGEST = 220  # bytes of a name: file systems take 255, and _keypoints.json and atomic_write's ending need 29
MARK_LENGTH = 12
LEAST_WIDTH = 320  # px of a picture with words below it
MARK = re.compile(rf"-[0-9a-fA-F]{{{MARK_LENGTH}}}$")
ENDS = ("", "_person", "_cutout", *(f"_{name}" for name in CLASS_NAMES))  # of masks' names
IdOf = Callable[[str], int | str]
Key = TypeVar("Key", str, tuple[str, int])


def export_coco(records: Sequence[Record], path: Path, *, id_of: IdOf | None = None) -> list[Path]:
    """One file for each kind of COCO's results that there is: results.bbox.json, .keypoints.json and .segm.json.

    id_of: the ids of pictures, as in `coco_rows`.
    """
    written = []
    for kind, rows in coco_rows(records, id_of=id_of).items():
        file = path.with_name(f"{path.stem}.{kind}{path.suffix or '.json'}")
        asked = {"bbox": ("refer", "find"), "keypoints": ("keypoints",), "segm": ("parsing",)}[kind]
        if rows:
            _write_json(rows, file)
            written.append(file)
        elif any(_asks_for(one, record) for one in asked for record in records):
            file.unlink(missing_ok=True)
    return written


def coco_rows(records: Sequence[Record], *, id_of: IdOf | None = None) -> dict[str, list[dict[str, Any]]]:
    """COCO's results by kind.

    id_of: gives a picture's id, such as `ids_in`. Without it, the id is the number that its file name is or, in
    RefCOCO, ends with, and its path if there is no number, or if another picture has the same one.
    """
    records = [person for record in records for person in people_of(record)]
    if id_of is not None:
        return coco_results(map(answer_of, records), image_ids=[id_of(record["image"]) for record in records])
    number_of = {record["image"]: image_id(record["image"]) for record in records}
    times = Counter(number_of.values())
    ids = (number_of[image] if times[number_of[image]] == 1 else image for image in (r["image"] for r in records))
    return coco_results(map(answer_of, records), image_ids=ids)


def export_openpose(records: Sequence[Record], folder: Path) -> list[Path]:
    """One file for each picture with answered keypoints, NAME_keypoints.json, with all its people.

    UserError, after the others are written, if one could not be.
    """
    written, people, problems = list[Path](), dict[str, list[Record]](), list[str]()
    for record in records:
        if _asks_for("keypoints", record):
            with_points = [person for person in people_of(record) if person["keypoints"] is not None]
            people.setdefault(record["image"], []).extend(with_points)
    stem_of = stems(records)
    for image, found in people.items():
        file = folder / f"{stem_of[image]}_keypoints.json"
        if not found:
            file.unlink(missing_ok=True)
            continue
        try:
            _write_json(openpose([answer_of(record) for record in found]), file)
            written.append(file)
        except UserError as error:  # for example answers about two pictures of one name
            problems.append(f"{image}: no file {file.name} ({error})")
    return _without(problems, written, folder)


def _without(problems: Sequence[str], written: list[Path], folder: Path) -> list[Path]:
    """The files written. UserError if there were problems with others."""
    if problems:
        raise UserError(f"{and_others(problems)}; {folder}: {len(written)} files")
    return written


def and_others(names: Sequence[str]) -> str:
    """The first one, and how many more there are."""
    more = len(names) - 1
    return names[0] + (f", and {more} other{'s' * (more > 1)}" if more else "")


def export_masks(records: Sequence[Record], folder: Path) -> list[Path]:
    """For each person with parts the label map, NAME.png, masks, NAME_hair.png and of all parts NAME_person.png, and,
    where the picture is still there, the person cut out, NAME_cutout.png.

    Of everyone, the third is NAME_3: no name of a question ends like that. UserError, after the others are written, if
    a person's parts cannot be read.
    """
    written, problems = list[Path](), list[str]()
    for name, record in named(records):
        if _asks_for("parsing", record):
            stems = [f"{name}_{k}" for k in range(1, MOST_BOXES + 1)] if "people" in record else [name]
            for file in (f"{stem}{part}.png" for stem in stems for part in ENDS):
                (folder / file).unlink(missing_ok=True)
        for person in people_of(record):
            if person["parts"] is None:
                continue
            stem = f"{name}_{person['person']}" if "person" in person else name
            try:
                answer = answer_of(person)
            except DataError as error:
                problems.append(str(error))
                continue
            save_label_map(answer, folder / f"{stem}.png")
            written += [folder / f"{stem}.png", *save_parts(answer, folder, stem=stem).values()]
            written += save_person(answer, folder, stem=stem, image=_still_there(record))
    return _without(problems, written, folder)


def _still_there(record: Record) -> Image.Image | None:
    """The picture that was asked about; None if it has changed or is a frame."""
    if record.get("picture") not in (None, content_mark(record["image"])) or is_frame(record):
        return None
    try:
        return open_picture(record["image"])
    except DataError:
        return None


def export_drawn(records: Sequence[Record], folder: Path) -> list[Path]:
    """Each picture with the answer drawn on it, or with everyone, numbered; what is wrong is said below it. A clip is
    drawn as a clip.

    UserError, after the others are drawn, if one could not be.
    """
    each = list(named(records))
    problems = list[str]()
    written = draw_clips([one for one in each if is_frame(one[1])], folder, problems=problems)
    for name, record in [one for one in each if not is_frame(one[1])]:
        path = folder / f"{name}.jpg"
        try:
            if record.get("picture") not in (None, content_mark(record["image"])):
                raise UserError("the picture is missing or has changed")
            drawn = _drawn(record)
        except UserError as error:  # for example about a picture of an earlier run
            problems.append(f"{record['image']}: not drawn ({error})")
            continue
        folder.mkdir(parents=True, exist_ok=True)
        save_picture(drawn, path, quality=92)
        written.append(path)
    return _without(problems, written, folder)


def _drawn(record: Record) -> Image.Image:
    image, people = open_picture(record["image"]), [answer_of(person) for person in people_of(record)]
    drawn = draw_answers(image, people) if "people" in record else draw_answer(image, people[0])
    if is_plain(record):
        return drawn
    return captioned(drawn, [Line(outcome(record))], width=max(drawn.width, LEAST_WIDTH))


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


def exporters(*, id_of: IdOf | None) -> dict[str, Callable[[Sequence[Record], Path], list[Path]]]:
    """By the flag of `refhcm ask`. id_of: the ids of pictures, as in `coco_rows`."""
    return {
        "coco": partial(export_coco, id_of=id_of),
        "openpose": export_openpose,
        "masks": export_masks,
        "save_images": export_drawn,
    }
