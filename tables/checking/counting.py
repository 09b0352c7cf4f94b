"""A table's counts against those that its data set is known to have, and those of its manifest."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .findings import Fault

# Rows (expressions; of CIHP, persons) and pictures. RefCOCO, RefCOCO+ and RefCOCOg (split by UMD) with all categories,
# as the catalogues of TensorFlow Datasets and the papers count them; CIHP's persons of training are counted by others.
KNOWN = {
    "refcoco": {"train": (120624, 16994), "val": (10834, 1500), "testA": (5657, 750), "testB": (5095, 750)},
    "refcocoplus": {"train": (120191, 16992), "val": (10758, 1500), "testA": (5726, 750), "testB": (4889, 750)},
    "refcocog": {"train": (80512, 21899), "val": (4896, 1300), "test": (9602, 2600)},
    "refcihp": {"train": (93213, 28280), "val": (17520, 5000)},
}
_FEWEST = {("refcihp", "train"): 93209}  # where counts differ
_PERSONS_ONLY = {("refcoco", "testA"), ("refcocoplus", "testA")}  # nothing is left out of these
_SPLIT = re.compile(r"(?:^|[_.-])(train|val|test[AB]?|unseen)(?=$|[_.-])", re.IGNORECASE)


@dataclass(frozen=True)
class Named:
    """Data set and split, as a table's name says; "" where it does not."""

    set_name: str
    split: str


def named(path: Path) -> Named:
    """refcoco_pose_testA.tsv -> refcoco, testA"""
    found = _SPLIT.search(path.stem)
    if found is None:
        return Named(path.stem, "")
    rest = (path.stem[: found.start()] + path.stem[found.end() :]).removesuffix("_pose")
    return Named(rest.strip("_.-"), found.group(1))


def count_faults(path: Path, *, rows: int, pictures: int) -> Iterator[Fault]:
    """Of a whole table."""
    manifest = _manifest(path)
    recipe = manifest.get("recipe", {})
    if manifest and manifest.get("rows") != rows:
        yield "manifest-rows", f"{rows} rows, its manifest has {manifest.get('rows')}"
    name = named(path)
    known = KNOWN.get(name.set_name, {}).get(name.split)
    if known is None or recipe.get("limit") is not None or recipe.get("split_by") == "google":
        return
    left_out = sum(manifest.get("left_out", {}).values())
    said = f"{rows} rows" + (f" and {left_out} left out" if left_out else "") + f" about {pictures} pictures"
    key = (name.set_name, name.split)
    too_few = (manifest or key in _PERSONS_ONLY) and rows + left_out < _FEWEST.get(key, known[0])
    if rows > known[0] or pictures > known[1] or too_few:
        yield "row-count", f"{said}; {name.set_name} {name.split} has {known[0]} about {known[1]}"


def _manifest(path: Path) -> dict[str, Any]:
    """The manifest that `refhcm data make` wrote beside the table; empty if there is none that can be read."""
    try:
        found: dict[str, Any] = json.loads(path.with_name(f"{path.stem}.manifest.json").read_text(encoding="utf-8"))
        whole = isinstance(found["recipe"], dict) and all(isinstance(n, int) for n in found["left_out"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return found if whole else {}
