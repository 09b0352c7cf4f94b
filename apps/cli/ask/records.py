"""The file of answers, one JSON object a line. An answer is written as soon as it is there, and read on resuming.

A line is `{"image", "question", "model", "picture"}` with the fields of `Answer.to_dict()`; with `people`, a list of
such answers, where everyone was asked for; or with `error` where there is no answer. `notes` hold the model's, too.
A frame of a clip is the picture CLIP/NAME_000012.
Lines are only appended: the last one about a question counts. `model` and `picture` hold a mark of the files' content,
so that a question is asked again when one of them has changed.
"""

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pycocotools import mask as coco

from ....data.archives import archive_of, is_archive, read_member
from ....data.pictures import MAX_BYTES, MAX_PIXELS
from ....inference.answers import FIELDS as FIELDS_OF_CONFIDENCE
from ....inference.answers import Answer, Confidence, Keypoints, NoKeypoints
from ....utils.errors import DataError, UserError
from ....utils.files import lock
from ....utils.keypoints import KEYPOINT_NAMES, NUM_KEYPOINTS
from ....utils.parsing import CLASS_NAMES
from .questions import Job

Record = dict[str, Any]
Found = Answer | list[Answer]  # about one person, or about everyone
BEGINNING = b'{"image": '  # of every line
END = 2**20  # bytes
MAX_LINE = 2**26  # bytes
FARTHEST = 1e6  # px, beyond any picture's side
FIELDS = {"valid", "notes", "size", "box", "keypoints", "parts", "caption", "confidence", "text", "symbols"}


def clip_of(image: str) -> str | None:
    """The clip whose frame a line's picture is: CLIP/NAME_000012; None for a picture."""
    clip = os.path.dirname(image)
    return clip if os.path.isfile(clip) and not is_archive(clip) else None


def content_mark(path: str | Path) -> str | None:
    """Tells a file from another one at the same place; None where there is no regular file.

    It covers all of a picture, and the end of larger files: those of torch hold the checksum of each tensor there.
    """
    try:
        if (held := archive_of(Path(path))) is not None:
            return sha256(read_member(*held, largest=MAX_BYTES)).hexdigest()[:16]
        if not Path(path).is_file():
            return None
        with open(path, "rb") as file:
            start = file.read(END) if Path(path).suffix == ".safetensors" else b""  # holds the checksum
            size = file.seek(0, os.SEEK_END)
            file.seek(size - END if size > MAX_BYTES else 0)
            return sha256(start + file.read()).hexdigest()[:16]
    except (OSError, ValueError, DataError):  # ValueError: a null character in the name
        return None


class Records:
    """The answers that the file holds, by question; new ones are appended to it."""

    def __init__(self, file: BinaryIO, known: list[Record]) -> None:
        self._file = file
        self._by_key = {_key(record): record for record in known}
        self._mark = cache(content_mark)  # as it was at the first call

    def mark(self, image: str) -> str | None:
        """A picture's mark, and of a frame its clip's."""
        return self._mark(clip_of(image) or image)

    def has_answer(self, job: Job, model: str) -> bool:
        """Whether the question is answered: not with an error, and not about a picture that has changed since."""
        record = self._by_key.get(job.key(model))
        if record is None or "error" in record:
            return False
        mark = self.mark(job.image)
        return mark is None or record.get("picture", mark) == mark

    def answered(self, model: str) -> list[Record]:
        """All answers of a model."""
        return [record for record in self._by_key.values() if "error" not in record and record["model"] == model]

    def of(self, job: Job, model: str) -> Record:
        """The line of a question that has been asked."""
        return self._by_key[job.key(model)]

    def take(self, files: Sequence[Path], model: str) -> None:
        """Appends what other files of answers hold and this one lacks.

        DataError for a line that is no answer, or of another model than this one.
        """
        for path in files:
            with open(path, "rb") as file:
                found = _read(file, path, cut=False)
            if (other := next((record["model"] for record in found if record["model"] != model), None)) is not None:
                raise DataError(f"{path}: was written by another model ({other}) than this run's ({model})")
            for record in found:
                known = self._by_key.get(_key(record))
                if known is None or "error" in known:
                    self._write(record)

    def add(self, job: Job, model: str, found: Found | str, *, notes: Sequence[str] = ()) -> None:
        """Writes the line of an answer or an error at once; the same error is not written twice. notes: the model's."""
        about = {"image": job.image, "question": dict(job.asked), "model": model, "picture": self.mark(job.image)}
        record = about | fields_of(found, notes)
        self._write(record)

    def _write(self, record: Record) -> None:
        if self._by_key.get(_key(record)) == record:
            return
        self._by_key[_key(record)] = record
        line = json.dumps(record, ensure_ascii=False, allow_nan=False)
        self._file.write(line.encode(errors="surrogatepass") + b"\n")  # a file's name need not be UTF-8
        self._file.flush()


def fields_of(found: Found | str, notes: Sequence[str]) -> Record:
    """The fields of an answer, of everyone's answers, or of an error. notes: the model's."""
    if isinstance(found, str):
        return {"error": found}
    if isinstance(found, Answer):
        return found.to_dict() | {"notes": [*found.notes, *notes]}
    return {"notes": list(notes), "people": [person.to_dict() for person in found]}


def people_of(record: Record) -> list[Record]:
    """The record of each person of an answer about everyone, with the number `person` from 1 on; of others itself."""
    if "people" not in record:
        return [record]
    about = {name: record[name] for name in ("image", "question", "model", "picture") if name in record}
    return [about | person | {"person": k} for k, person in enumerate(record["people"], start=1)]


def _key(record: Record) -> str:
    return Job(record["image"], record["question"]).key(record["model"])


@contextlib.contextmanager
def open_records(path: Path | None) -> Iterator[Records]:
    """The file, created if there is none; None: standard output. An incomplete last line is cut off.

    Raises OSError if the file cannot be written, UserError if another run is writing it or it holds something else.
    """
    if path is None:
        sys.stdout.flush()
        yield Records(sys.stdout.buffer, [])
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab+") as file:
        try:
            lock(file)
        except BlockingIOError as error:
            raise UserError(f"--out {path}: another run is writing it") from error
        yield Records(file, _read(file, path))


def _read(file: BinaryIO, path: Path, *, cut: bool = True) -> list[Record]:
    """The file's records. DataError, and the file stays as it is, unless each of its lines is one.

    cut: whether an incomplete last line is cut off; else it is left out.
    """
    if not path.is_file():  # such as /dev/null
        return []
    file.seek(0)
    records: list[Record] = []
    complete = 0
    while line := file.readline(MAX_LINE):
        if not line.endswith(b"\n") and len(line) < MAX_LINE and line[: len(BEGINNING)] == BEGINNING[: len(line)]:
            break  # torn by the end of an earlier run
        record = _parsed(line)
        if record is None:
            where = f"--out {path}:{len(records) + 1}"
            raise DataError(f"{where}: is not an answer; name another file, or remove the line")
        records.append(record)
        complete += len(line)
    if cut:
        file.truncate(complete)
    return records


def _parsed(line: bytes) -> Record | None:
    """The record of a whole line, or None where `answer_of` or an export could not read it."""
    try:
        record: Any = json.loads(line) if line.endswith(b"\n") else None
        os.fsencode(record["image"])
    except (ValueError, RecursionError, TypeError, LookupError):
        return None
    if "error" in record:
        answer = isinstance(record["error"], str)
    else:
        answer = _are_people(record) if "people" in record else _is_answer(record)
    about = isinstance(record.get("model"), str) and isinstance(record.get("picture"), str | None)
    return record if answer and about and _is_question(record.get("question")) else None


def _is_question(question: Any) -> bool:
    values = question.values() if isinstance(question, dict) else ()
    return bool(values) and all(
        isinstance(value, str | bool) or _are_shares([value]) or _are_numbers(value, 4) for value in values
    )


def _are_people(record: Record) -> bool:
    people, notes = record["people"], record.get("notes")
    return (
        isinstance(people, list)
        and all(isinstance(person, dict) and _is_answer(person) for person in people)
        and isinstance(notes, list)
        and all(isinstance(note, str) for note in notes)
    )


def _is_answer(record: Record) -> bool:
    """Whether the fields are those of `Answer.to_dict`. Masks are not decoded, which takes long."""
    if not (record.keys() >= FIELDS and _are_numbers(record["size"], 2)):
        return False
    width, height = record["size"]
    points, parts = record["keypoints"], record["parts"]
    words = record["notes"], record["symbols"]
    return (
        all(isinstance(side, int) and side > 0 for side in (width, height))
        and width * height <= MAX_PIXELS
        and isinstance(record["valid"], bool)
        and isinstance(record["text"], str)
        and isinstance(record["caption"], str | None)
        and all(isinstance(each, list) and all(isinstance(word, str) for word in each) for each in words)
        and (record["box"] is None or _are_numbers(record["box"], 4))
        and (
            points is None
            or (isinstance(points, list) and len(points) == NUM_KEYPOINTS and all(map(_is_point, points)))
        )
        and (
            parts is None
            or (isinstance(parts, dict) and all(_is_part(*part, record["size"]) for part in parts.items()))
        )
        and _is_confidence(record["confidence"])
        and _are_shares([] if record.get("found") is None else [record["found"]])
    )


def _is_confidence(confidence: Any) -> bool:
    if not isinstance(confidence, dict) or confidence.keys() != set(FIELDS_OF_CONFIDENCE):
        return False
    box, keypoints, parts, caption = (confidence[field] for field in FIELDS_OF_CONFIDENCE)
    named = ((keypoints, KEYPOINT_NAMES), (parts, CLASS_NAMES))
    return (
        _are_shares([] if box is None else [box])
        and all(
            found is None
            or (isinstance(found, dict) and found.keys() <= set(known) and _are_shares(list(found.values())))
            for found, known in named
        )
        and (caption is None or _are_shares(caption))
    )


def _are_shares(values: Any) -> bool:
    return _are_numbers(values) and all(0 <= number <= 1 for number in values)


def _is_point(point: Any) -> bool:
    xy = [point.get("x"), point.get("y")] if isinstance(point, dict) else []
    return _are_numbers(xy, 2) and isinstance(point.get("visible"), bool)


def _is_part(name: str, mask: Any, size_wh: list[int]) -> bool:
    known = name in CLASS_NAMES and isinstance(mask, dict)
    return known and mask.get("size") == size_wh[::-1] and isinstance(mask.get("counts"), str)


def _are_numbers(values: Any, count: int | None = None) -> bool:
    """Whether it is a list of finite numbers, of this length."""
    return (
        isinstance(values, list)
        and len(values) == (len(values) if count is None else count)
        and all(type(number) in (int, float) and abs(number) <= FARTHEST for number in values)
    )


def answer_of(record: Record) -> Answer:
    """The answer on a line: the inverse of `Answer.to_dict`. DataError for a mask that is none."""
    width, height = record["size"]
    label_map, keypoints = None, None
    if record["parts"] is not None:
        label_map = np.zeros((height, width), np.uint8)
        for name, mask in record["parts"].items():
            try:
                label_map[coco.decode(mask).astype(bool)] = CLASS_NAMES.index(name)
            except ValueError as error:
                raise DataError(
                    f"{record['image']}: {name} in its line of --out is no mask; remove the line"
                ) from error
    if record["keypoints"] is not None:
        points = record["keypoints"]
        xy = np.array([[point["x"], point["y"]] for point in points], np.float32)
        keypoints = Keypoints(xy, np.array([point["visible"] for point in points]))
    sure = record["confidence"]
    words = sure["caption"]
    return Answer(
        size_wh=(width, height),
        valid=record["valid"],
        symbols=tuple(record["symbols"]),
        text=record["text"],
        box_xyxy=None if record["box"] is None else np.array(record["box"], np.float32),
        keypoints=keypoints or NoKeypoints(),
        label_map=label_map,
        caption=record["caption"],
        confidence=Confidence(**sure | {"caption": None if words is None else tuple(words)}),
        found=record.get("found"),
        notes=tuple(record["notes"]),
    )
