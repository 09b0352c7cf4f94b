"""What `refhcm ask` is asked: pictures and folders with the same questions for each, or a table of pairs."""

import csv
import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ....utils.errors import DataError, UserError

# Words by which a table's first line is known to be its header, for the picture and for what is asked about it.
HEADERS = (("image", "picture", "file", "path"), ("expression", "text", "instruction"))


@dataclass(frozen=True)
class Job:
    """One question about one picture.

    asked: {"refer": expression, "keypoints": true, ...}, {"instruct": text} or {"describe": box}; plain values.
    """

    image: str
    asked: Mapping[str, Any]

    @property
    def draws_parts(self) -> bool:
        """Whether the answer may hold parts, which a tokenizer draws."""
        return bool(self.asked.get("parsing")) or "instruct" in self.asked

    def key(self, model: str) -> str:
        """What makes two questions the same one, of the same model."""
        return json.dumps([self.image, self.asked, model], sort_keys=True)


def pictures(names: Iterable[str]) -> list[str]:
    """The files named, and the pictures in the folders named, at any depth. UserError for what is not there."""
    from ....data.images import picture_formats  # brings torch, which --help needs not

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

    With a header they are the columns that `HEADERS` name, without one the only two. A .tsv file has tabs, a .csv
    file commas, any other what its first line has. A picture's path starts at the table's folder, or, where there is
    no such file, at the working folder. DataError names the line of what is missing or too much.
    """
    lines = list(_cells(path))
    if not lines:
        raise DataError(f"{path}: holds no line")
    columns, width = _columns(lines[0][1], where=f"{path}:{lines[0][0]}"), 2
    if columns is not None:
        width, lines = len(lines[0][1]), lines[1:]
    picture, text = columns or (0, 1)
    pairs = []
    for number, cells in lines:
        if any(cell.strip() for cell in cells[width:]):
            rule = "a text that holds a comma needs quotes; with other columns, a header names picture and text"
            raise DataError(f"{path}:{number}: has {len(cells)} columns, not {width} ({rule}): {_short(cells)}")
        if len(cells) <= max(picture, text):
            raise DataError(f"{path}:{number}: needs two columns, picture and text, got {_short(cells)}")
        if not cells[picture].strip() or not cells[text].strip():
            raise DataError(f"{path}:{number}: the {'text' if cells[picture].strip() else 'picture'} is empty")
        pairs.append((_beside(path, cells[picture].strip()), cells[text].strip()))
    if not pairs:
        raise DataError(f"{path}: holds a header and no line below it")
    return pairs


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each line that is not empty."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            tabs = path.suffix.lower() == ".tsv" or (path.suffix.lower() != ".csv" and "\t" in file.readline())
            file.seek(0)
            rows = csv.reader(file, delimiter="\t" if tabs else ",")
            for cells in rows:
                if any(cell.strip() for cell in cells):
                    yield rows.line_num, cells
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8: {error}") from error
    except csv.Error as error:
        raise DataError(f"{path}: is no table: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: can not be read: {error.strerror}") from error


def _columns(first: Sequence[str], *, where: str) -> tuple[int, int] | None:
    """The two columns that a header names; None where the first line is none."""
    names = [name.strip().lower() for name in first]
    found = [next((names.index(word) for word in words if word in names), None) for words in HEADERS]
    if found == [None, None]:
        return None
    if None in found:
        lacks = "text" if found[1] is None else "picture"
        raise DataError(f"{where}: the header names no column of the {lacks}, got {_short(first)}")
    return found[0], found[1]


def _beside(table: Path, name: str) -> str:
    beside = table.parent / name
    return str(beside) if beside.is_file() or not Path(name).is_file() else name


def _short(cells: Sequence[str]) -> str:
    text = ", ".join(map(repr, cells))
    return text if len(text) <= 80 else text[:77] + "..."
