"""Pictures that are in a table for training and in one for testing."""

from collections.abc import Sequence
from dataclasses import dataclass

from .counting import named
from .findings import Finding
from .tally import Report


@dataclass(frozen=True)
class Leak:
    """Two tables and the number of pictures that they share."""

    train: str
    other: str
    pictures: int
    kind: str


def find_leaks(reports: Sequence[Report]) -> list[Leak]:
    """Adds a finding to the table for training at the first row of each such picture.

    Pictures are the same if their image ids are, as COCO's ids in tables of RefCOCO, or if their files are.
    """
    splits = [(report, named(report.path)) for report in reports]
    leaks = []
    for train, train_name in splits:
        for other, other_name in splits:
            if train_name.split.lower() != "train" or other_name.split.lower() in ("train", ""):
                continue
            kind = "leak" if train_name.set_name == other_name.set_name else "leak-other-set"
            rows = _shared(train, other)
            if rows:
                leaks.append(Leak(str(train.path), str(other.path), len(rows), kind))
            ids = {row: image_id for image_id, row in train.image_ids.items()}
            for row, other_row in sorted(rows.items()):
                what = f"picture {ids[row]}" if ids.get(row) else "its picture"
                train.findings.append(Finding(kind, f"{what} is also in {other.path}:{other_row + 1}", row))
    return leaks


def _shared(train: Report, other: Report) -> dict[int, int]:
    """First row of each shared picture in `train`, and its first row in `other`."""
    rows = {train.image_ids[i]: other.image_ids[i] for i in train.image_ids.keys() & other.image_ids.keys()}
    same = train.pictures.keys() & other.pictures.keys()
    # The image ids of these, where there are any, are counted already.
    return {train.pictures[key]: other.pictures[key] for key in same} | rows
