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
from typing import BinaryIO

from ....data.archives import archive_of, is_archive, read_member
from ....data.pictures import MAX_BYTES
from ....inference.answers import Answer
from ....utils.errors import DataError, UserError
from ....utils.files import lock
from .lines import Record, parsed
from .questions import Job

Found = Answer | list[Answer]  # about one person, or about everyone
BEGINNING = b'{"image": '  # of every line
END = 2**20  # bytes
MAX_LINE = 2**26  # bytes


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

    @property
    def on_terminal(self) -> bool:
        """Whether the lines are printed where somebody reads them: a progress bar would stand between them."""
        return self._file.isatty()

    def mark(self, image: str) -> str | None:
        """A picture's mark, and of a frame its clip's."""
        return self._mark(clip_of(image) or image)

    def has_answer(self, job: Job, model: str) -> bool:
        """Whether the question is answered: not with an error, and not about a picture that has changed since."""
        record = self._by_key.get(job.key(model))
        return record is not None and "error" not in record and self._is_current(record)

    def answered(self, model: str) -> list[Record]:
        """All answers of a model, but for those about pictures that have changed since."""
        return [record for record in self._answers(model) if self._is_current(record)]

    def outdated(self, model: str) -> list[str]:
        """The pictures that have changed since a model answered about them."""
        changed = (record["image"] for record in self._answers(model) if not self._is_current(record))
        return list(dict.fromkeys(changed))

    def _answers(self, model: str) -> Iterator[Record]:
        known = self._by_key.values()
        return (record for record in known if "error" not in record and record["model"] == model)

    def _is_current(self, record: Record) -> bool:
        mark = self.mark(record["image"])
        return mark is None or record.get("picture", mark) == mark

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
        record = parsed(line)
        if record is None:
            where = f"--out {path}:{len(records) + 1}"
            raise DataError(f"{where}: is not an answer; name another file, or remove the line")
        records.append(record)
        complete += len(line)
    if cut:
        file.truncate(complete)
    return records
