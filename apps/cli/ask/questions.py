"""What `refhcm ask` asks: the same questions about each picture, or a table of pictures and texts."""

import csv
import json
import os
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ....data import archives
from ....data.pictures import ADDRESSES, AVIF_SUFFIXES, HEIC_SUFFIXES, NO_ADDRESS, picture_formats
from ....utils.errors import DataError, UserError
from ....utils.files import check_small, files_below

# A table's first line is its header if it has one of these words.
PICTURE_COLUMNS = ("image", "picture", "file", "path")
TEXT_COLUMNS = ("expression", "text", "instruction")
PARTS = ("keypoints", "parsing", "parallel", "caption")  # what can be asked for besides the box
MAX_TABLE_BYTES = 2**28


@dataclass(frozen=True)
class Job:
    """One question about one picture.

    asked: {"refer": expression, "keypoints": true, ...}, {"find": expression, ...} for everyone, {"instruct": text} or
    {"describe": box}; plain values.
    """

    image: str
    asked: Mapping[str, Any]

    def key(self, model: str) -> str:
        """Equal for the same question to the same model."""
        return json.dumps([self.image, self.asked, model], sort_keys=True)


def check_parts(parts: Collection[str], *, everyone: str = "", dashes: str = "") -> None:
    """UserError for some of `PARTS` that do not go together.

    everyone: what asks for all who fit, if it does. dashes: what stands before a part's name where users write it.
    """
    if "parallel" in parts and "parsing" not in parts:
        raise UserError(f"{dashes}parallel needs {dashes}parsing")
    if "parallel" in parts and everyone:
        why = "parts are asked by each one's box, which it cannot"
        raise UserError(f"{dashes}parallel: with {everyone}, {why}; leave it out")


def pictures(names: Iterable[str]) -> list[str]:
    """The files named, and the pictures in the archives and folders named, at any depth and through links.

    UserError for what does not exist, and for a folder that cannot be listed.
    """
    found: list[str] = []
    endings = _endings()
    for name in names:
        if os.path.isdir(name):
            below = files_below(Path(name), onerror=_refuse)
            inside = sorted(str(file) for file in below if _is_picture(file, endings))
            if not inside:
                raise UserError(f"{name}: holds no picture, such as a .jpg or .png file")
            found += inside
        elif archives.is_archive(name):
            held = [one.name for one in archives.members(Path(name), endings)]
            if not held:
                raise UserError(f"{name}: holds no picture")
            found += held
        elif os.path.exists(name):
            found.append(name)
        else:
            raise UserError(f"{name}: {NO_ADDRESS if name.startswith(ADDRESSES) else 'no such file or folder'}")
    return list(dict.fromkeys(found))


def _endings() -> frozenset[str]:
    formats = picture_formats()
    known = {ending for ending, kind in Image.registered_extensions().items() if kind in formats}
    # These are asked about even if they cannot be read: the error says what to install.
    return frozenset({*known, *HEIC_SUFFIXES, *AVIF_SUFFIXES})


def _is_picture(path: Path, endings: Container[str]) -> bool:
    return path.suffix.lower() in endings and not path.name.startswith(".")


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename}: cannot be listed ({error.strerror})") from error


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """(picture, text) of each line of a CSV or TSV file in UTF-8.

    A header names the two columns among others (`PICTURE_COLUMNS`, `TEXT_COLUMNS`); without one they are the only two.
    Between tabs, quotes are part of the text; in CSV they enclose a cell.
    A picture's path starts at the table's folder, or, if there is no such file, at the working folder. DataError names
    the line that cannot be used. Of an archive, the pictures with the texts that lie beside them.
    """
    if archives.is_archive(path):
        return _texts(path)
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
        beside = str(path.parent / image)
        # os.path: False for a name that is too long for a file, where Path.is_file would raise
        as_given = image.startswith(ADDRESSES) or (os.path.isfile(image) and not os.path.isfile(beside))
        pairs.append((image if as_given else beside, asked))
    return pairs


def _texts(archive: Path) -> list[tuple[str, str]]:
    held = list(archives.members(archive, _endings()))
    if (bare := next((one.name for one in held if not one.text), None)) or not held:
        what = f"{bare}: has no text beside it" if bare else f"{archive}: holds no picture"
        raise DataError(f"{what}; expected NAME.txt in a tar file, a column {archives.TEXT_COLUMNS[0]} in Parquet")
    return [(one.name, one.text or "") for one in held]


def _first_of(words: Iterable[str], names: list[str]) -> int | None:
    return next((names.index(word) for word in words if word in names), None)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Cells of each row that is not empty, and the line it begins at. Tabs separate them if the first line has one."""
    check_small(path, largest=MAX_TABLE_BYTES)
    start = 1
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            tabs = path.suffix.lower() != ".csv" and "\t" in next(filter(str.strip, file), "")
            file.seek(0)
            rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if tabs else csv.reader(file, strict=True)
            for cells in rows:
                if any(cell.strip() for cell in cells):
                    yield start, cells
                start = rows.line_num + 1
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not a table in UTF-8: {error}") from error
    except csv.Error as error:
        quotes = "a quote that opens here is never closed, or before its cell ends; write quotes inside of quotes twice"
        raise DataError(f"{path}:{start}: cannot be read as CSV ({error}): {quotes}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
