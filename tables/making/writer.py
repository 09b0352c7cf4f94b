"""Writes a table picture by picture: in parallel, resumable, and in its place only when it is complete."""

import json
import os
import platform
import sys
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import IO, Any, TypeVar

from tqdm import tqdm

from ...utils.errors import DataError, UserError, reason_of
from ...utils.files import atomic_write, check_writable, digest, lock
from .embedding import Made

VERSION = 2  # of the rules: a table of another version is not gone on with
_SAVED_EVERY = 5.0  # seconds between records of how far a table is
_AHEAD = 4  # pictures that each worker may be ahead of the file

Picture = TypeVar("Picture")


@dataclass
class State:
    """How far a table is: pictures done, and the file's bytes and rows after them. plan: digest of what is made."""

    plan: str
    pictures: int = 0
    size: int = 0
    rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def count(self, made: Made, *, size: int) -> None:
        """Adds a picture whose rows took `size` bytes."""
        self.pictures, self.size, self.rows = self.pictures + 1, self.size + size, self.rows + len(made.lines)
        self.left_out.update(made.left_out)
        self.changed.update(made.changed)
        for kind, message, rows in made.faults:
            self.left_out[kind] += rows
            self.problems.append(message)


@dataclass(frozen=True)
class Target:
    """What is made. recipe: all that decides the table's rows. partial: faults leave rows out, and do not stop.

    finish: writes the final table from the first path to the second, such as one with codes.
    """

    path: Path
    recipe: Mapping[str, Any]
    inputs: Sequence[Path]
    partial: bool
    finish: Callable[[Path, Path], None] | None = None

    @property
    def part(self) -> Path:
        """The table while it is made."""
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def progress(self) -> Path:
        """Its `State`."""
        return self.path.with_name(f"{self.path.name}.part.json")

    @property
    def manifest(self) -> Path:
        """What the finished table is made of."""
        return self.path.with_name(f"{self.path.stem}.manifest.json")


def write_table(
    target: Target, pictures: Sequence[Picture], work: Callable[[Picture], Made], *, before: State, workers: int
) -> dict[str, Any] | None:
    """Writes a table and its manifest, and returns the manifest. None: the table exists and is this one.

    before: what was left out before any picture was read; its plan is not used. Stopped, it goes on when it is called
    again with the same recipe and inputs. UserError: another table is there, or a partial one; the disk is full; or
    another process writes it.
    """
    check_writable(target.path.parent)
    inputs = {str(path): digest(path) for path in target.inputs}
    plan = _plan(target, list(inputs.values()), pictures)
    if _exists(target, plan):
        return None
    try:
        with open(target.part, "ab") as file:
            try:
                lock(file)
            except BlockingIOError as error:
                raise UserError(f"{target.part}: another run writes it; end it first") from error
            state = _continued(target, plan, before, file)
            _append(file, target, state, _in_order(pictures[state.pictures :], work, workers), total=len(pictures))
            if not state.rows:
                raise DataError(f"{target.path}: no rows are left to write: left out were {dict(state.left_out)}")
            return _publish(target, state, inputs)
    except OSError as error:
        what = f"{target.path.parent}: cannot write the table: {error.strerror or reason_of(error)}"
        raise UserError(f"{what}; run the same command again to resume") from error


def _plan(target: Target, inputs: list[str], pictures: Sequence[Picture]) -> str:
    """Digest of what decides the table. The pictures are in it: after a missing one was added, rows come elsewhere."""
    found = sha256(json.dumps([VERSION, target.recipe, inputs], sort_keys=True).encode())
    for picture in pictures:
        found.update(repr(picture).encode())
    return found.hexdigest()


def _exists(target: Target, plan: str) -> bool:
    """Whether the finished table is there; UserError if another file is, or a partial table and this one may not be."""
    if not target.path.exists():
        return False
    try:
        manifest = json.loads(target.manifest.read_text(encoding="utf-8"))
        same = manifest["plan"] == plan and manifest["output"]["bytes"] == target.path.stat().st_size
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise UserError(f"{target.path}: exists, and was made otherwise; remove it, or give another --out")
    _check_complete(target, target.path, manifest["problems"])
    return True


def _check_complete(target: Target, made: Path, problems: Sequence[str]) -> None:
    """UserError if faults left rows out of what is there already, unless this table may be partial, too."""
    if problems and not target.partial:
        said = f"{made}: an earlier run with --partial left out rows with faults ({len(problems)}): {problems[0]}"
        raise UserError(f"{said}; correct the source, remove {made.name} and run again, or add --partial")


def _continued(target: Target, plan: str, before: State, file: IO[bytes]) -> State:
    """The state that an interrupted run left, with the file cut to it; or a new one, and an empty file.

    UserError if that run was partial and left out rows with faults, and this one is not.
    """
    state = State(plan, left_out=before.left_out, changed=before.changed, problems=before.problems)
    try:
        kept = json.loads(target.progress.read_text(encoding="utf-8"))
        if kept["plan"] == plan and kept["size"] <= os.fstat(file.fileno()).st_size:
            counts = {key: Counter(kept[key]) for key in ("left_out", "changed")}
            state = State(**{**kept, **counts})
    except (OSError, ValueError, KeyError, TypeError):  # absent, or of another program
        pass
    _check_complete(target, target.progress, state.problems)
    file.truncate(state.size)
    return state


def _in_order(pictures: Sequence[Picture], work: Callable[[Picture], Made], workers: int) -> Iterator[Made]:
    """What `work` makes of each picture, in order, a few ahead of the reader, in threads: decoding runs in parallel."""
    waiting: deque[Future[Made]] = deque()
    left = iter(pictures)
    with ThreadPoolExecutor(workers) as pool:
        try:
            waiting.extend(pool.submit(work, picture) for picture in islice(left, _AHEAD * workers))
            while waiting:
                made = waiting.popleft().result()
                waiting.extend(pool.submit(work, picture) for picture in islice(left, 1))
                yield made
        finally:
            pool.shutdown(cancel_futures=True)


def _append(file: IO[bytes], target: Target, state: State, made: Iterator[Made], *, total: int) -> None:
    """Writes what was made, and every few seconds how far that is."""
    saved = time.monotonic()
    with (
        warnings.catch_warnings(),
        tqdm(total=total, initial=state.pictures, desc=target.path.name, unit="picture") as progress,
    ):
        warnings.simplefilter("ignore", UserWarning)  # Pillow's, about metadata
        try:
            for picture in made:
                if picture.faults and not target.partial:
                    raise DataError(f"{picture.faults[0][1]}; --partial leaves such rows out")
                text = "".join(f"{line}\n" for line in picture.lines).encode("utf-8")
                file.write(text)
                state.count(picture, size=len(text))
                progress.update()
                if time.monotonic() - saved > _SAVED_EVERY:
                    _save(file, target, state)
                    saved = time.monotonic()
        except KeyboardInterrupt:
            raise KeyboardInterrupt("interrupted; run the same command again to resume") from None
        finally:
            _save(file, target, state)


def _save(file: IO[bytes], target: Target, state: State) -> None:
    """The rows first: the state must not be ahead of them."""
    file.flush()
    os.fsync(file.fileno())
    with atomic_write(target.progress) as part:
        part.write_text(json.dumps(vars(state)), encoding="utf-8")


def _publish(target: Target, state: State, inputs: Mapping[str, str]) -> dict[str, Any]:
    """Puts the manifest and the table in their places, and removes the state."""
    from ... import __version__  # late: read from the metadata, or from pyproject.toml

    done = target.part
    if target.finish is not None:
        done = target.part.with_name(f"{target.path.name}.finished.part")
        target.finish(target.part, done)
    manifest = {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "versions": {"refhcm": __version__, "rules": VERSION, "python": platform.python_version()},
        "plan": state.plan,
        "recipe": target.recipe,
        "inputs": inputs,
        "output": {"file": target.path.name, "bytes": done.stat().st_size, "sha256": digest(done)},
        "pictures": state.pictures,
        "rows": state.rows,
        "left_out": {kind: count for kind, count in sorted(state.left_out.items()) if count},
        "changed": {kind: count for kind, count in sorted(state.changed.items()) if count},
        "problems": state.problems,
    }
    with atomic_write(target.manifest) as part:
        part.write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(done, target.path)
    target.part.unlink(missing_ok=True)
    target.progress.unlink(missing_ok=True)
    return manifest
