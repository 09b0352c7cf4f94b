"""The file of answers, one JSON object a line: an answer is written when it is there, and read when a run goes on.

A line is `{"image", "question", "model", "picture", "tokenizer"}` with the fields of `Answer.to_dict()`, or with
`error` where there is no answer. Lines are only added: the last one of a question is the one that holds. `picture` and
`tokenizer` mark the content of these files: where it is another one now, the question is asked again.
"""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pycocotools import mask as coco

from ....inference.answers import Answer, Keypoints, Scores
from ....utils.errors import DataError, UserError
from ....utils.files import digest, lock
from ....utils.parsing import CLASS_NAMES
from .questions import Job

Record = dict[str, Any]
BEGINNING = b'{"image": '  # of every line


class Records:
    """The lines that are there, by question, and the file that new ones are added to."""

    def __init__(self, file: BinaryIO, known: list[Record]) -> None:
        self._file = file
        self._by_key = {_key(record): record for record in known}
        self._marks: dict[str, str | None] = {}

    def has_answer(self, question: Job, model: str, tokenizer: str | None = None) -> bool:
        """Whether the question needs not be asked; after an error, or of another picture, it is asked again."""
        record = self._by_key.get(question.key(model), {"error": None})
        if "error" in record or (question.draws_parts and record.get("tokenizer", tokenizer) != tokenizer):
            return False
        mark = self.mark(question.image)
        return mark is None or record.get("picture", mark) == mark

    def answered(self, model: str) -> list[Record]:
        """The lines of all answers of a model."""
        return [record for record in self._by_key.values() if "error" not in record and record["model"] == model]

    def add(self, question: Job, model: str, found: Answer | str, tokenizer: str | None = None) -> None:
        """Writes the line of an answer, or of an error, at once; an error that is there already is not said twice."""
        said = {"error": found} if isinstance(found, str) else found.to_dict()
        record = {"image": question.image, "question": dict(question.asked), "model": model}
        drawn = {"tokenizer": tokenizer if question.draws_parts else None}
        record |= {"picture": self.mark(question.image), **drawn, **said}
        if self._by_key.get(_key(record)) == record:
            return
        self._by_key[_key(record)] = record
        line = json.dumps(record, ensure_ascii=False, allow_nan=False)
        self._file.write(line.encode(errors="surrogatepass") + b"\n")  # a file's name may be no UTF-8
        self._file.flush()

    def mark(self, image: str) -> str | None:
        """The picture's mark at the first call: made before the picture is answered, it is of what was answered."""
        if image not in self._marks:
            self._marks[image] = picture_mark(image)
        return self._marks[image]


def picture_mark(image: str) -> str | None:
    """What tells a picture from another one that lay at the same place; None where there is no file of a size."""
    try:
        return digest(Path(image))[:16] if Path(image).is_file() else None
    except (OSError, ValueError):  # ValueError: a null character in the name
        return None


def _key(record: Record) -> str:
    return Job(record["image"], record["question"]).key(record["model"])


@contextlib.contextmanager
def open_records(path: Path | None) -> Iterator[Records]:
    """The file, made where there is none; None: standard output. A torn last line is cut off.

    Raises UserError for a file that can not be written, that another run writes, or that is no file of answers.
    """
    if path is None:
        sys.stdout.flush()
        yield Records(sys.stdout.buffer, [])
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "ab+")  # noqa: SIM115  closed below; errors of what is done meanwhile are not the file's
    except OSError as error:
        raise UserError(f"--out {path}: can not be written: {error.strerror}") from error
    with file:
        try:
            lock(file)
        except BlockingIOError as error:
            raise UserError(f"--out {path}: another run writes it") from error
        yield Records(file, _read(file, path))


def _read(file: BinaryIO, path: Path) -> list[Record]:
    """The file's records. Raises DataError, and leaves the file as it is, unless all its lines are some."""
    if not path.is_file():  # such as /dev/null
        return []
    file.seek(0)
    whole, newline, torn = file.read().rpartition(b"\n")
    if not (torn.startswith(BEGINNING) or BEGINNING.startswith(torn)):
        raise DataError(f"--out {path}: is there, and is no file of answers: name another one")
    records = [_record(line, f"--out {path}:{number}") for number, line in enumerate(whole.splitlines(), start=1)]
    file.truncate(len(whole) + len(newline))
    return records


def _record(line: bytes, where: str) -> Record:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where}: is no line of answers ({error}): name another file") from error
    if not isinstance(record, dict) or not {"image", "question", "model"} <= record.keys():
        raise DataError(f"{where}: is no line of answers: name another file")
    return record


def answer_of(record: Record) -> Answer:
    """The answer of a line: the inverse of `Answer.to_dict`."""
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
        (width, height),
        record["valid"],
        tuple(record["symbols"]),
        record["text"],
        None if record["box"] is None else np.array(record["box"], np.float32),
        keypoints,
        label_map,
        record["caption"],
        Scores(**record["scores"]),
        tuple(record["notes"]),
    )
