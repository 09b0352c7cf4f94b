"""Pictures in tar files (webdataset's shards) and in Parquet, each as `ARCHIVE/NAME` (docs/many.md)."""

import os
import tarfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ..utils.errors import DataError, UserError, reason_of, shown

SUFFIXES = (".tar", ".parquet")
PICTURE_COLUMNS = ("image", "picture", "jpg", "png", "webp", "image_bytes")  # of Parquet
TEXT_COLUMNS = ("expression", "text", "txt", "instruction", "caption")
LARGEST_TEXT = 2**16  # bytes of one
END = 2 * tarfile.BLOCKSIZE  # zeros at the end of a tar, of which some writers leave out the second half


class Member(NamedTuple):
    """A picture in an archive. name: `ARCHIVE/NAME`; text: what lies beside it."""

    name: str
    text: str | None


def is_archive(path: str | os.PathLike[str]) -> bool:
    """Whether a file's name is that of a tar or Parquet file."""
    return Path(path).suffix.lower() in SUFFIXES and os.path.isfile(path)


def archive_of(path: Path) -> tuple[Path, str] | None:
    """The archive that holds a picture of this name, and the picture's name inside; None for other names."""
    archive = next((parent for parent in path.parents if is_archive(parent)), None)
    return None if archive is None else (archive, path.relative_to(archive).as_posix())


def members(path: Path, endings: frozenset[str]) -> Iterator[Member]:
    """The pictures of an archive, in its order. endings: of pictures' names in a tar, lower case, such as ".jpg".

    A text is the .txt of the same name (tar) or the row's text column (Parquet). DataError for a damaged archive.
    """
    if path.suffix.lower() == ".parquet":
        yield from _rows(path)
        return
    for name in _index(path, _mark(path)):
        if PurePosixPath(name).suffix.lower() in endings:
            yield Member(f"{path}/{name}", _text(path, str(PurePosixPath(name).with_suffix(".txt"))))


def read_member(archive: Path, name: str, *, largest: int) -> bytes:
    """A picture's bytes. DataError, without its name, if it is not there or holds more than `largest` bytes."""
    if archive.suffix.lower() == ".parquet":
        return _cell(archive, name, largest)
    found = _index(archive, _mark(archive)).get(_normal(name))
    if found is None:
        raise DataError(f"cannot be read (it is not in {archive})")
    return _read(archive, found, largest)


class _Place(NamedTuple):
    """Where a file's bytes are in a tar."""

    start: int
    size: int


def _mark(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=8)
def _index(path: Path, mark: tuple[int, int]) -> dict[str, _Place]:
    """The regular files of a tar. mark: of this version of it."""
    try:
        with tarfile.open(path, "r:") as tar, path.open("rb") as file:
            found = {_normal(one.name): _Place(one.offset_data, one.size) for one in tar if one.isreg()}
            file.seek(tar.offset)
            end = file.read(END)
    except (tarfile.TarError, OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as an uncompressed tar file: {reason_of(error)}") from error
    if len(end) < tarfile.BLOCKSIZE or any(end):  # `tarfile` takes a header that it cannot read for the end
        raise DataError(f"{path}: is cut off or damaged after {len(found)} files")
    return found


def _normal(name: str) -> str:
    """A name in a tar as paths are written: /a//b.png and ./a/./b.png are a/b.png."""
    return str(PurePosixPath(name.lstrip("/")))


def _read(path: Path, place: _Place, largest: int) -> bytes:
    if place.size > largest:
        raise DataError(f"holds more than {largest} bytes")
    with path.open("rb") as file:
        file.seek(place.start)
        return file.read(place.size)


def _text(path: Path, name: str) -> str | None:
    """A text in a tar; None where it is not there."""
    place = _index(path, _mark(path)).get(name)
    try:
        return None if place is None else _read(path, place, LARGEST_TEXT).decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}/{name}: is not UTF-8: {error}") from error
    except DataError as error:
        raise DataError(f"{path}/{name}: {error}") from error


def _parquet(path: Path) -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(f"{path}: Parquet needs pyarrow: pip install pyarrow") from error
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {reason_of(error)}") from error


def _column(file: Any, wanted: tuple[str, ...]) -> str | None:
    return next((name for name in wanted if name in file.schema_arrow.names), None)


def _rows(path: Path) -> Iterator[Member]:
    with _parquet(path) as file:
        if _column(file, PICTURE_COLUMNS) is None:
            raise DataError(
                f"{path}: no column holds pictures ({', '.join(PICTURE_COLUMNS)}); it has "
                f"{', '.join(file.schema_arrow.names)}"
            )
        texts = _column(file, TEXT_COLUMNS)
        row = 0
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            cells = [None] * count if texts is None else _cells(path, file, group=group, column=texts)
            for cell in cells:
                yield Member(f"{path}/{row}", cell.strip() if isinstance(cell, str) else None)
                row += 1


def _cells(path: Path, file: Any, *, group: int, column: str | None) -> list[Any]:
    """A column of one row group."""
    import pyarrow

    try:
        found: list[Any] = file.read_row_group(group, [column])[column].to_pylist()
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: row group {group} cannot be read: {reason_of(error)}") from error
    return found


def _cell(path: Path, name: str, largest: int) -> bytes:
    """A picture of Parquet: bytes, or a struct with `bytes` as the library `datasets` writes."""
    starts = _starts(path, _mark(path))
    if not name.isdecimal() or int(name) >= starts[-1]:
        raise DataError(f"cannot be read (it is no row of {path}, which has {starts[-1]})")
    group = next(k for k, end in enumerate(starts[1:]) if int(name) < end)
    cell = _group(path, _mark(path), group)[int(name) - starts[group]]
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(data, bytes):
        raise DataError(f"cannot be read (the cell holds {shown(data)}, not a picture's bytes)")
    if len(data) > largest:
        raise DataError(f"holds more than {largest} bytes")
    return data


@lru_cache(maxsize=8)
def _starts(path: Path, mark: tuple[int, int]) -> list[int]:
    """The first row of each row group, and the number of rows. mark: of this version of the file."""
    with _parquet(path) as file:
        starts = [0]
        for group in range(file.num_row_groups):
            starts.append(starts[-1] + file.metadata.row_group(group).num_rows)
    return starts


@lru_cache(maxsize=2)
def _group(path: Path, mark: tuple[int, int], group: int) -> list[Any]:
    """The pictures of one row group. mark: of this version of the file."""
    with _parquet(path) as file:
        return _cells(path, file, group=group, column=_column(file, PICTURE_COLUMNS))
