"""What `refhcm ask` asks: the same questions about each picture, or a table of pictures and texts."""

import csv
import json
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ....data.pictures import picture_formats
from ....utils.errors import DataError, UserError

# A table's first line is its header if it has one of these words.
PICTURE_COLUMNS = ("image", "picture", "file", "path")
TEXT_COLUMNS = ("expression", "text", "instruction")


@dataclass(frozen=True)
class Job:
    """One question about one picture.

    asked: {"refer": expression, "keypoints": true, ...}, {"instruct": text} or {"describe": box}; plain values.
    """

    image: str
    asked: Mapping[str, Any]

    def key(self, model: str) -> str:
        """Equal for the same question to the same model."""
        return json.dumps([self.image, self.asked, model], sort_keys=True)


def pictures(names: Iterable[str]) -> list[str]:
    """The files named, and the pictures in the folders named, at any depth. UserError for what does not exist."""
    found: list[str] = []
    endings = {ending for ending, kind in Image.registered_extensions().items() if kind in picture_formats()}
    for name in names:
        path = Path(name)
        if path.is_dir():
            inside = sorted(str(file) for file in path.rglob("*") if _is_picture(file, endings))
            if not inside:
                raise UserError(f"{name}: holds no picture, such as a .jpg or .png file")
            found += inside
        elif path.exists():
            found.append(name)
        else:
            raise UserError(f"{name}: no such file or folder")
    return list(dict.fromkeys(found))


def _is_picture(path: Path, endings: Container[str]) -> bool:
    return path.suffix.lower() in endings and not path.name.startswith(".") and path.is_file()


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """(picture, text) of each line of a CSV or TSV file in UTF-8.

    A header names the two columns among others (`PICTURE_COLUMNS`, `TEXT_COLUMNS`); without one they are the only two.
    A picture's path starts at the table's folder, or, if there is no such file, at the working folder. DataError names
    the line that cannot be used.
    """
    rows = list(_rows(path))
    if not rows:
        raise DataError(f"{path}: is empty")
    names = [name.strip().lower() for name in rows[0][1]]
    picture, text = (_first_of(words, names) for words in (PICTURE_COLUMNS, TEXT_COLUMNS))
    if picture is None and text is None:
        names, picture, text = ["picture", "text"], 0, 1
    elif picture is None or text is None:
        missing, words = ("picture", PICTURE_COLUMNS) if picture is None else ("text", TEXT_COLUMNS)
        raise DataError(f"{path}: the header names no {missing} column ({', '.join(words)}), got {', '.join(names)}")
    elif not (rows := rows[1:]):
        raise DataError(f"{path}: has a header and nothing below it")
    pairs = []
    for number, cells in rows:
        found = f"{path}:{number}: expected {', '.join(names)}; got {', '.join(map(repr, cells))[:80]}"
        if any(cell.strip() for cell in cells[len(names) :]):
            raise DataError(f"{found}. Put quotes around a text that holds a comma; more columns need a header")
        cells += [""] * (len(names) - len(cells))
        image, asked = cells[picture].strip(), cells[text].strip()
        if not (image and asked):
            raise DataError(f"{found}: the {'text' if image else 'picture'} is missing")
        beside = path.parent / image
        pairs.append((image if Path(image).is_file() and not beside.is_file() else str(beside), asked))
    return pairs


def _first_of(words: Iterable[str], names: list[str]) -> int | None:
    return next((names.index(word) for word in words if word in names), None)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each line that is not empty. Cells are separated by tabs if the first line has one."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            tabs = path.suffix.lower() != ".csv" and "\t" in file.readline()
            file.seek(0)
            rows = csv.reader(file, delimiter="\t" if tabs else ",")
            for cells in rows:
                if any(cell.strip() for cell in cells):
                    yield rows.line_num, cells
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: is not a table in UTF-8: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
