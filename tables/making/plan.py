"""What a reader found: pictures with the rows to be made of them, and what was left out."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...utils.errors import DataError
from .rules import Box, FaultError


@dataclass(frozen=True)
class Draft:
    """A row before its picture was looked at.

    text: expression, or captions with && between. boxes: image px, as annotated. keypoints: 51 numbers x,y,v.
    where: the record of the source, for messages.
    """

    id: str
    image_id: str
    text: str
    boxes: tuple[Box, ...]
    where: str
    keypoints: tuple[float, ...] | None = None


@dataclass(frozen=True)
class PictureRows:
    """A picture and its rows. size_wh: as annotated, if it is; path: once it was found."""

    name: str
    size_wh: tuple[int, int] | None
    drafts: list[Draft] = field(default_factory=list)
    path: Path | None = None


@dataclass
class Plan:
    """left_out: rows by reason. changed: by what was changed about them. problems: faults of the source.

    partial: faults leave rows out, and do not stop. inputs: files that were read. ids: of the rows.
    """

    partial: bool = False
    pictures: dict[str, PictureRows] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    inputs: list[Path] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)

    def add(self, name: str, size_wh: tuple[int, int] | None, draft: Draft) -> None:
        """Puts a row beside the others of its picture, whose place is that of its first row.

        DataError if another row has its id.
        """
        if draft.id in self.ids:
            other = next(d.where for picture in self.pictures.values() for d in picture.drafts if d.id == draft.id)
            raise DataError(f"{draft.where}: the id {draft.id} comes twice, first in {other}")
        self.ids.add(draft.id)
        self.pictures.setdefault(name, PictureRows(name, size_wh)).drafts.append(draft)

    def fault(self, error: FaultError, *, rows: int = 1) -> None:
        """Counts a fault, or raises it unless the table may be partial."""
        if not self.partial:
            raise DataError(f"{error}; --partial leaves such rows out") from error
        self.left_out[error.kind] += rows
        self.problems.append(str(error))

    def located(self, folder: "PictureFolder", *, limit: int | None) -> list[PictureRows]:
        """The pictures, the first `limit` of them, with their paths. DataError if some are missing, unless partial."""
        chosen = list(self.pictures.values())[:limit]
        if not chosen:
            counts = ", ".join(f"{count} {reason}" for reason, count in sorted(self.left_out.items()))
            raise DataError(f"no rows are left to write: left out were {counts or 'none, for there were none'}")
        found = [replace(picture, path=folder.find(picture.name)) for picture in chosen]
        missing = [picture for picture in found if picture.path is None]
        if len(missing) == len(found) or (missing and not self.partial):
            hint = "" if len(missing) == len(found) else "; --partial leaves their rows out"
            counts, name = f"{len(missing)} of {len(found)} pictures are missing", missing[0].name
            folders = " (with its folders)" if "/" in name else ""
            raise DataError(f"{folder.root}: {counts}, such as {name}{folders}{hint}")
        for picture in missing:
            self.fault(FaultError("missing-picture", f"{picture.name}: not in {folder.root}"), rows=len(picture.drafts))
        return [picture for picture in found if picture.path is not None]


class PictureFolder:
    """Finds pictures in a folder: where their name says, or up to three folders below.

    A name with folders is looked for with all of them, of which the first may be those of `root`; a bare one, anywhere.
    COCO's pictures are found under the names of 2014 and of 2017, which has no COCO_train2014_ in front.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise DataError(
                f"{root}: {'is no folder' if root.exists() else 'no such folder'}; expected one of pictures"
            )
        self.root = root
        self._listed: dict[str, list[Path]] | None = None

    def find(self, name: str) -> Path | None:
        """The picture's path, or None. DataError if several have its name, or if the name leads out of the folder."""
        if "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
            raise DataError(f"{self.root}: expected pictures' names below it, got {name!r}")
        names = [Path(name)]
        if names[0].name.startswith("COCO_"):
            names.append(names[0].parent / names[0].name.rpartition("_")[2])
        for other in names:
            if (self.root / other).is_file():
                return self.root / other
        for other in names:
            found = self._ending_in(other)
            if len(found) > 1:
                raise DataError(
                    f"{self.root}: several pictures are called {other}: {found[0]}, {found[1]}; name a sub-folder"
                )
            if found:
                return found[0]
        return None

    def _ending_in(self, name: Path) -> list[Path]:
        """The pictures whose path ends in all parts of `name`."""
        if self._listed is None:
            self._listed = {}
            for path in _below(self.root, depth=3):
                self._listed.setdefault(path.name, []).append(path)
        count = len(name.parts)
        return [p for p in self._listed.get(name.name, []) if Path(os.path.abspath(p)).parts[-count:] == name.parts]


def _below(folder: Path, *, depth: int) -> Iterable[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            if depth:
                yield from _below(path, depth=depth - 1)
        else:
            yield path
