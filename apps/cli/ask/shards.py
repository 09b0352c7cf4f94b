"""Parts of a long run of `refhcm ask`, each with its own file of answers (docs/many.md)."""

import argparse
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ....utils.errors import UserError
from .questions import Job


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count`, from 0 on."""

    index: int
    count: int

    def file(self, out: Path) -> Path:
        """This part's answers: answers-00000-of-00002.jsonl for answers.jsonl."""
        return out.with_name(f"{out.stem}-{self.index:05d}-of-{self.count:05d}{out.suffix}")

    def part_of(self, jobs: Sequence[Job]) -> list[Job]:
        """Neighbouring pictures, with all questions about each; the parts differ by one picture at most."""
        pictures = list(dict.fromkeys(job.image for job in jobs))
        start, end = (len(pictures) * k // self.count for k in (self.index, self.index + 1))
        own = set(pictures[start:end])
        return [job for job in jobs if job.image in own]


def shard(text: str) -> Shard:
    """The value of `--shard`, such as 0/8."""
    found = re.fullmatch(r"(\d{1,5})/(\d{1,5})", text)
    if found is None or int(found[1]) >= int(found[2]):
        raise argparse.ArgumentTypeError(f"needs I/N with 0 <= I < N, such as 0/8, got {text!r}")
    return Shard(int(found[1]), int(found[2]))


def own_shard(given: Shard | None) -> Shard | None:
    """The part of this process: as `--shard` says, or as torchrun does (RANK, WORLD_SIZE); None: it does everything."""
    rank, world = (os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE"))
    if given is None and rank.isdecimal() and world.isdecimal() and int(rank) < int(world) > 1:
        return Shard(int(rank), int(world))
    return given


def unfinished(path: Path) -> Path:
    """The name of a part's file while it is being written."""
    return path.with_name(path.name + ".part")


def finished(out: Path) -> list[Path]:
    """The files of all parts of `out`, in order; none if it was not asked in parts.

    UserError if one is missing or not finished, or if parts of two divisions lie there.
    """
    name = re.compile(re.escape(out.stem) + r"-(\d{5})-of-(\d{5})" + re.escape(out.suffix) + r"(\.part)?")
    there = [found for file in sorted(out.parent.glob("*")) if (found := name.fullmatch(file.name))]
    if not there:
        return []
    counts = sorted({int(found[2]) for found in there})
    if len(counts) > 1:
        raise UserError(f"{out}: there are parts of {' and of '.join(map(str, counts))}; remove those you do not want")
    files = [Shard(k, counts[0]).file(out) for k in range(counts[0])]
    for k, file in enumerate(files):
        if not file.is_file():
            raise UserError(f"{file}: is not finished; run the same with --shard {k}/{counts[0]} first")
    return files
