"""Rows of a tab-separated file by number, through an index of byte offsets, kept beside large files (docs/data.md)."""

import codecs
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..utils.errors import DataError, UserError
from ..utils.files import atomic_write, no_such_file

logger = logging.getLogger(__name__)

KEEP_INDEX_ABOVE = 8 * 2**20  # bytes of the TSV: below, building costs no more than reading
SHOW_PROGRESS_ABOVE = 2**30
CHUNK = 16 * 2**20
NEWLINE = ord("\n")
STAMP_LENGTH = 2  # an index file begins with the stamp of its TSV

Stamp = tuple[int, int]  # size and mtime_ns


def parse_selected_cols(selected_cols: str | Sequence[int] | None, names: Sequence[str]) -> tuple[int, ...]:
    """Column number of each name, from `--selected-cols` as text or numbers; None: the first columns in order."""
    if selected_cols is None:
        return tuple(range(len(names)))
    try:
        parts = selected_cols.split(",") if isinstance(selected_cols, str) else selected_cols
        columns = tuple(int(part) for part in parts)
    except ValueError:
        raise UserError(f"--selected-cols needs numbers separated by commas, got {selected_cols!r}") from None
    if len(columns) != len(names) or min(columns) < 0:
        raise UserError(f"--selected-cols needs {len(names)} columns ({', '.join(names)}), got {selected_cols!r}")
    return columns


class TableBytes:
    """A file's bytes by position. May be read in forks. (A mapped file that is cut off would end the process.)"""

    def __init__(self, path: Path) -> None:
        self.path, self._descriptor = path, os.open(path, os.O_RDONLY)
        self.stamp = self._stamp()

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    def __len__(self) -> int:
        return self.stamp[0]

    def read(self, start: int, stop: int) -> bytes:
        """The bytes start .. stop-1. DataError if the file is not what it was when it was opened."""
        content = os.pread(self._descriptor, stop - start, start)
        if len(content) != stop - start or self._stamp() != self.stamp:
            raise DataError(f"{self.path}: has changed while it was being read")
        return content

    def _stamp(self) -> Stamp:
        status = os.fstat(self._descriptor)
        return status.st_size, status.st_mtime_ns


def line_offsets(data: TableBytes, *, name: str) -> np.ndarray:
    """Byte at which each line begins and the last one ends, int64 [rows + 1]. Blank lines at the end are ignored."""
    size = len(data)
    starts = [np.zeros(1, dtype=np.int64)]
    with tqdm(total=size, unit="B", unit_scale=True, desc=name, disable=size < SHOW_PROGRESS_ABOVE) as progress:
        for begin in range(0, size, CHUNK):
            chunk = np.frombuffer(data.read(begin, min(begin + CHUNK, size)), dtype=np.uint8)
            starts.append(np.flatnonzero(chunk == NEWLINE) + (begin + 1))
            progress.update(len(chunk))
    offsets = np.concatenate(starts)
    if offsets[-1] != size:  # no newline at the end
        offsets = np.append(offsets, size)
    while len(offsets) > 1 and not data.read(offsets[-2], offsets[-1]).strip():
        offsets = offsets[:-1]
    return offsets


def load_index(path: Path, stamp: Stamp) -> np.ndarray | None:
    """The kept offsets, memory-mapped; None if there are none or the TSV has changed since."""
    try:
        index = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):  # absent, not readable, or not a whole .npy file
        return None
    if index.dtype != np.int64 or index.ndim != 1 or tuple(index[:STAMP_LENGTH].tolist()) != stamp:
        return None
    offsets = index[STAMP_LENGTH:]
    return offsets if len(offsets) > 1 and offsets[-1] <= stamp[0] else None


def save_index(path: Path, stamp: Stamp, *, offsets: np.ndarray) -> None:
    """Writes the index, or says why not. Several processes may do so at once."""
    try:
        with atomic_write(path) as part, open(part, "wb") as file:
            np.save(file, np.concatenate([np.array(stamp, dtype=np.int64), offsets]))
    except OSError as error:
        logger.info("%s: the index of rows cannot be kept (%s); it is built again each time", path, error)


class TsvFile:
    """A table without a header: `file[i]` is row i as {name: text}. May be forked and pickled."""

    def __init__(
        self,
        path: str | Path,
        selected_cols: str | Sequence[int] | None,
        *,
        names: Sequence[str],
        keep_index_above: int = KEEP_INDEX_ABOVE,
    ) -> None:
        """names: of the selected columns. Raises DataError if the file is missing or holds no row.

        keep_index_above: size in bytes above which the index is kept in `<path>.idx.npy`.
        """
        self.path = Path(path)
        self.names = tuple(names)
        self.columns = parse_selected_cols(selected_cols, self.names)
        self._keep_index = keep_index_above
        self._stamp: Stamp | None = None
        self._offsets: np.ndarray | None = None
        self._data: TableBytes | None = None
        _, offsets = self._opened()
        self._rows = len(offsets) - 1
        if self._rows == 0:
            raise DataError(f"{self.path}: holds no rows")

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, i: int) -> dict[str, str]:
        """Row i in 0..len-1. Raises DataError with file and line if it lacks a column or is not UTF-8."""
        cells = self.cells(i)
        if cells == [b""]:
            raise DataError(f"{self.where(i)}: is blank")
        if max(self.columns) >= len(cells):
            wanted = ",".join(map(str, self.columns))
            raise DataError(f"{self.where(i)}: has {len(cells)} columns, --selected-cols {wanted} needs more")
        return {name: self._text(i, cells[k], name=name) for name, k in zip(self.names, self.columns, strict=True)}

    def cells(self, i: int) -> list[bytes]:
        """All cells of row i as they are in the file; one empty cell for a blank line."""
        return self._line(i).split(b"\t")

    def where(self, i: int) -> str:
        """Row i as "path:line" for messages, counting lines from 1."""
        return f"{self.path}:{i + 1}"

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the open files: another process opens them again when it reads its first row."""
        kept = isinstance(self._offsets, np.memmap)
        return self.__dict__ | {"_data": None, "_offsets": None if kept else self._offsets}

    def _line(self, i: int) -> bytes:
        if not 0 <= i < self._rows:
            raise IndexError(f"{self.path}: row {i} of {self._rows}")
        data, offsets = self._opened()
        line = data.read(offsets[i], offsets[i + 1]).rstrip(b"\r\n")
        return line if i else line.removeprefix(codecs.BOM_UTF8)

    def _text(self, i: int, cell: bytes, *, name: str) -> str:
        try:
            return cell.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{self.where(i)}: column {name}: is not UTF-8 ({error})") from error

    def _opened(self) -> tuple[TableBytes, np.ndarray]:
        """The open file and its offsets."""
        if self._data is not None and self._offsets is not None:
            return self._data, self._offsets
        if not self.path.is_file():  # opening a pipe would wait for its other end
            reason = f"{self.path}: is no regular file" if self.path.exists() else no_such_file(self.path)
            raise DataError(reason)
        try:
            data = TableBytes(self.path)
            if len(data) == 0:
                raise DataError(f"{self.path}: is empty")
            return self._indexed(data)
        except OSError as error:  # a folder opens, but cannot be read
            raise DataError(f"{self.path}: cannot be read: {error}") from error

    def _indexed(self, data: TableBytes) -> tuple[TableBytes, np.ndarray]:
        stamp = data.stamp
        if self._stamp not in (None, stamp):
            raise DataError(f"{self.path}: has changed while it was being read")
        self._stamp, self._data = stamp, data
        if self._offsets is None:
            self._offsets = self._index(data, stamp)
        return data, self._offsets

    def _index(self, data: TableBytes, stamp: Stamp) -> np.ndarray:
        """Offsets from the kept index if that fits the file; else built, and kept if the file is large."""
        keep = stamp[0] > self._keep_index
        index_path = self.path.with_name(self.path.name + ".idx.npy")
        offsets = load_index(index_path, stamp) if keep else None
        if offsets is None:
            offsets = line_offsets(data, name=f"index of {self.path.name}")
            if keep and len(offsets) > 1:
                save_index(index_path, stamp, offsets=offsets)
                kept = load_index(index_path, stamp)  # mapped: this machine's workers share it
                offsets = offsets if kept is None else kept
        return offsets
