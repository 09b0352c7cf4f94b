"""The file of answers, one JSON object a line. An answer is written as soon as it is there, and read on resuming.

A line is `{"image", "question", "model", "picture"}` with the fields of `Answer.to_dict()`, or with `error` where there
is no answer. Lines are only appended: the last one about a question counts. `model` and `picture` hold a mark of the
files' content, so that a question is asked again when one of them has changed.
"""

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pycocotools import mask as coco

from ....data.pictures import MAX_BYTES
from ....inference.answers import Answer, Keypoints, Scores
from ....utils.errors import DataError, UserError
from ....utils.files import lock
from ....utils.parsing import CLASS_NAMES
from .questions import Job

Record = dict[str, Any]
BEGINNING = b'{"image": '  # of every line
END = 2**20  # bytes


def content_mark(path: str | Path) -> str | None:
    """Tells a file from another one at the same place; None where there is no regular file.

    It covers all of a picture, and the end of larger files: those of torch hold the checksum of each tensor there.
    """
    try:
        if not Path(path).is_file():
            return None
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(size - END if size > MAX_BYTES else 0)
            return sha256(file.read()).hexdigest()[:16]
    except (OSError, ValueError):  # ValueError: a null character in the name
        return None


class Records:
    """The answers that the file holds, by question; new ones are appended to it."""

    def __init__(self, file: BinaryIO, known: list[Record]) -> None:
        self._file = file
        self._by_key = {_key(record): record for record in known}
        self.mark = cache(content_mark)  # a picture's, as it was at the first call

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

    def add(self, job: Job, model: str, found: Answer | str) -> None:
        """Writes the line of an answer or an error at once; the same error is not written twice."""
        about = {"image": job.image, "question": dict(job.asked), "model": model, "picture": self.mark(job.image)}
        record = about | ({"error": found} if isinstance(found, str) else found.to_dict())
        if self._by_key.get(_key(record)) == record:
            return
        self._by_key[_key(record)] = record
        line = json.dumps(record, ensure_ascii=False, allow_nan=False)
        self._file.write(line.encode(errors="surrogatepass") + b"\n")  # a file's name need not be UTF-8
        self._file.flush()


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


def _read(file: BinaryIO, path: Path) -> list[Record]:
    """The file's records. DataError, and the file stays as it is, unless each of its lines is one."""
    if not path.is_file():  # such as /dev/null
        return []
    file.seek(0)
    complete, newline, torn = file.read().rpartition(b"\n")
    records = []
    for number, line in enumerate(complete.splitlines(), start=1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict) or not {"image", "question", "model"} <= record.keys():
            raise DataError(f"--out {path}:{number}: is not an answer; name another file")
        records.append(record)
    if not (torn.startswith(BEGINNING) or BEGINNING.startswith(torn)):
        raise DataError(f"--out {path}: is not a file of answers; name another file")
    file.truncate(len(complete) + len(newline))
    return records


def answer_of(record: Record) -> Answer:
    """The answer on a line: the inverse of `Answer.to_dict`."""
    width, height = record["size"]
    label_map = keypoints = None
    if record["parts"] is not None:
        label_map = np.zeros((height, width), np.uint8)
        for name, mask in record["parts"].items():
            label_map[coco.decode(mask).astype(bool)] = CLASS_NAMES.index(name)
    if record["keypoints"] is not None:
        points = record["keypoints"]
        xy = np.array([[point["x"], point["y"]] for point in points], np.float32)
        keypoints = Keypoints(xy, np.array([point["visible"] for point in points]))
    return Answer(
        size_wh=(width, height),
        valid=record["valid"],
        symbols=tuple(record["symbols"]),
        text=record["text"],
        box_xyxy=None if record["box"] is None else np.array(record["box"], np.float32),
        keypoints=keypoints,
        label_map=label_map,
        caption=record["caption"],
        scores=Scores(**record["scores"]),
        notes=tuple(record["notes"]),
    )
