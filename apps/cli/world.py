"""Draws people with exact truth for every task and writes them as tables: rkpt (read for REC, too), rhrc, rpar, and
grec, whose expressions fit nobody, one person or several (docs/drawn_people.md).

    refhcm world --out world --train 200 --val 20 --test 20
"""

import argparse
import os
import time
from pathlib import Path

from ...data.synthetic.picture.scene import MOST_PEOPLE
from ...data.synthetic.writer import SPLITS, World, write_world
from ...utils.flags import positive, whole


def _most(text: str) -> int:
    if not 1 <= whole(text) <= MOST_PEOPLE:
        raise argparse.ArgumentTypeError(f"expected 1 to {MOST_PEOPLE}, got {text!r}")
    return int(text)


def _seed(text: str) -> int:
    if whole(text) >= 2**32:  # a larger seed would share pictures with a smaller one
        raise argparse.ArgumentTypeError(f"expected 0 to {2**32 - 1}, got {text!r}")
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("--out", type=Path, required=True, help="Write into this folder, which is new or empty.")
    parser.add_argument("--seed", type=_seed, default=0, help="Draw another world with another seed (default: 0).")
    for split in SPLITS[:3]:
        also = "; `unseen` gets as many" if split == "test" else ""
        parser.add_argument(
            f"--{split}", type=whole, required=True, metavar="N", help=f"Draw this many pictures to {split}{also}."
        )
    few = f"Draw at most this many people in a picture; fewer are easier (default: {MOST_PEOPLE})."
    parser.add_argument("--max-people", type=_most, default=MOST_PEOPLE, metavar="N", help=few)
    looks = "Write N expressions for each person, of looks alone (default: two of all kinds, and riddles)."
    parser.add_argument("--looks", type=whole, default=0, metavar="N", help=looks)
    processes = os.cpu_count() or 1
    parser.add_argument(
        "--workers", type=positive, default=processes, help=f"Draw in this many processes (default: {processes})."
    )


def run(options: argparse.Namespace) -> None:
    """Writes the world, and says how long it took."""
    start = time.monotonic()
    pictures = {split: getattr(options, split) for split in SPLITS[:3]}
    world = World(
        options.seed, {**pictures, "unseen": options.test}, max_people=options.max_people, looks=options.looks
    )
    try:
        people = write_world(options.out, world, workers=options.workers)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted: nothing was written") from None
    if people is None:
        print(f"{options.out}: this world exists already")
        return
    seconds = max(time.monotonic() - start, 1e-9)
    counts = ", ".join(f"{split} {count}" for split, count in people.items())
    print(f"{options.out}: {counts} people in {seconds:.1f} s ({sum(people.values()) / seconds:.0f} people a second)")
