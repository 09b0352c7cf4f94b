"""Checks tables: streaming, rows in parallel."""

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from ...data.tables import TABLES
from ...utils.errors import UserError
from .guessing import guess_task
from .leaks import Leak, find_leaks
from .rows import Facts, RowReader
from .tally import Report, Tally

_CHUNK = 16  # rows that a thread reads: neighbours often share a picture
_AHEAD = 8  # chunks for each thread


@dataclass(frozen=True)
class Options:
    """task: of all tables; None: guessed for each. num_codes: of the tokenizer. partial: tables may lack rows.

    root: folder of the imgs/ and gts/ that RPar's tables name. limit: rows of each table, from its start.
    """

    task: str | None
    root: Path
    num_codes: int
    workers: int
    partial: bool = False
    limit: int | None = None


def check_tables(paths: Sequence[Path], options: Options) -> tuple[list[Report], list[Leak]]:
    """All tables in turn, and what they share. Raises UserError before the first is read if one cannot be."""
    tasks = [options.task or guess_task(path) for path in paths]
    readers = [_reader(path, task, options) for path, task in zip(paths, tasks, strict=True)]
    reports = [_check(reader, options) for reader in readers]
    return reports, find_leaks(reports)


def _reader(path: Path, task: str, options: Options) -> RowReader:
    if TABLES[task].image_folder and not options.root.is_dir():
        raise UserError(f"--annotation-root {options.root}: no such folder; {path} names pictures and masks below it")
    return RowReader(path, task, root=options.root, num_codes=options.num_codes)


def _check(reader: RowReader, options: Options) -> Report:
    count = min(len(reader), options.limit or len(reader))
    tally = Tally(Report(reader.path, reader.task, guessed=options.task is None))
    with warnings.catch_warnings(), tqdm(total=count, desc=reader.path.name, unit="row") as progress:
        warnings.simplefilter("ignore", UserWarning)  # Pillow's, about metadata
        for facts in _in_order(reader, count, options.workers):
            tally.add(facts)
            progress.update()
    tally.finish(whole=not options.partial and count == len(reader))
    return tally.report


def _in_order(reader: RowReader, count: int, workers: int) -> Iterator[Facts]:
    """The rows in their order; in threads, because decoding pictures runs in parallel."""
    chunks = [range(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)]
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(chunks), _AHEAD * workers):
            read = pool.map(lambda rows: [reader.read(row) for row in rows], chunks[start : start + _AHEAD * workers])
            for facts in read:
                yield from facts
