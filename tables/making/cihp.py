"""Rows of RPar from CIHP's folders: a mask file for each person, and a box around it."""

import io
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ...data.columns import NO_EXPRESSION
from ...data.pictures import PILLOW_ERRORS, decode, read_bytes, reading
from ...utils.errors import DataError, UserError
from ...utils.files import atomic_write
from ...utils.parsing import NUM_CLASSES
from .embedding import Made
from .rules import FaultError, LeftOutError, box_cell, fit_box, tight_box

FOLDERS = {"train": "Training", "val": "Validation"}
PICTURES = {"train": 28280, "val": 5000}
_NESTED = "instance-level_human_parsing"
_LIP = ("TrainVal_parsing_annotations", "TrainVal_images", "TrainVal_pose_annotations")
_LIP_REASON = (
    "is LIP, which cannot be mapped: its class 10 is jumpsuits, where CIHP's is torso-skin, it labels no torso-skin, "
    "and its 16 joints lack the eyes, ears and nose of COCO's 17 keypoints; expected CIHP"
)


@dataclass(frozen=True)
class Cihp:
    """A half of CIHP: folder has Images, Category_ids, and Human_ids or Instance_ids."""

    folder: Path
    split: str

    def names(self, *, partial: bool) -> list[str]:
        """Of its pictures, without a suffix: in the order of {split}_id.txt where there is one, else sorted.

        DataError if CIHP has more or fewer, unless `partial`.
        """
        names, known = self._names(), PICTURES[self.split]
        if len(names) != known and not partial:
            have = f"{self.folder}: {len(names)} pictures are listed, and CIHP has {known}"
            raise DataError(f"{have}; --partial takes them as they are")
        return names

    def _names(self) -> list[str]:
        for place in (self.folder, self.folder.parent):
            listed = place / f"{self.split}_id.txt"
            if listed.is_file():
                names = [Path(name).stem for name in listed.read_text(encoding="utf-8").split()]
                if names:
                    return list(dict.fromkeys(names))
        names = sorted(path.stem for path in (self.folder / "Images").iterdir() if path.suffix.lower() == ".jpg")
        if not names:
            raise DataError(f"{self.folder / 'Images'}: holds no pictures (.jpg)")
        return names


def find_cihp(root: Path, split: str) -> Cihp:
    """The split's folder below `root`, nested as archives nest it. UserError for LIP, or if there is none."""
    if not root.is_dir():
        raise UserError(f"{root}: {'is no folder' if root.exists() else 'no such folder'}; expected CIHP's")
    for place in (root, root / _NESTED, root / _NESTED / _NESTED, root.parent):
        folder = place / FOLDERS[split]
        if (folder / "Images").is_dir() and (place != root.parent or root.name == FOLDERS[split]):
            if not (folder / "Category_ids").is_dir():
                raise UserError(f"{folder}: holds no Category_ids; expected CIHP's Images, Category_ids and Human_ids")
            return Cihp(folder, split)
    if any((place / name).is_dir() for place in (root, *root.iterdir()) for name in _LIP):
        raise UserError(f"{root}: {_LIP_REASON}")
    raise UserError(f"{root}: holds no {FOLDERS[split]}/Images; expected CIHP's {_NESTED}")


@dataclass(frozen=True)
class PersonMasks:
    """Makes the rows of a picture, and writes it and its masks below `out`/annos.

    captions: texts by the row's id; a person without one gets the text None.
    """

    source: Cihp
    out: Path
    captions: Mapping[str, Sequence[str]]

    def __call__(self, name: str) -> Made:
        """One line for each person. `name`: of the picture, without a suffix."""
        made = Made()
        try:
            data, categories, people = self._read(name)
        except FaultError as error:
            made.faults.append((error.kind, str(error), 1))
            return made
        split = self.source.split
        for person in np.unique(people[people > 0]).tolist():
            row_id = f"{name}_{person - 1}"
            mask = np.where(people == person, categories, 0).astype(np.uint8)
            try:
                if not mask.any():
                    raise LeftOutError("empty-mask")
                box = fit_box(tight_box(people == person), mask.shape[::-1], where=row_id, changed=made.changed)
            except LeftOutError as reason:
                made.left_out[str(reason)] += 1
                continue
            _keep(self.out / "annos" / "gts" / split / f"{row_id}.npy", _npy(mask))
            texts = self.captions.get(row_id, ())
            made.changed["no-caption"] += not texts
            made.changed["further-captions"] += max(len(texts) - 1, 0)
            text = texts[0] if texts else NO_EXPRESSION
            made.lines.append(
                "\t".join((row_id, text, box_cell(box), "", f"{split}/{row_id}.npy", f"{split}/{name}.jpg"))
            )
        if made.lines:
            _keep(self.out / "annos" / "imgs" / split / f"{name}.jpg", data, link=self._picture(name))
        return made

    def _picture(self, name: str) -> Path:
        return self.source.folder / "Images" / f"{name}.jpg"

    def _read(self, name: str) -> tuple[bytes, np.ndarray, np.ndarray]:
        """The picture's file, its classes and its persons, uint8 [H, W], 0 where nobody is. FaultError: unusable."""
        path = self._picture(name)
        if not path.is_file():
            raise FaultError("missing-picture", f"{path}: no such file")
        try:
            with reading(str(path)):
                data = read_bytes(path)
                size_wh = decode(data).image.size
        except DataError as error:
            raise FaultError("unreadable-picture", str(error)) from error
        categories = _labels(self.source.folder / "Category_ids" / f"{name}.png", size_wh)
        if categories.max() >= NUM_CLASSES:
            where = self.source.folder / "Category_ids" / f"{name}.png"
            raise FaultError("unknown-class", f"{where}: expected classes 0..{NUM_CLASSES - 1}, got {categories.max()}")
        humans = self.source.folder / "Human_ids" / f"{name}.png"
        if humans.is_file():
            return data, categories, _labels(humans, size_wh)
        instances = _labels(self.source.folder / "Instance_ids" / f"{name}.png", size_wh)
        people = np.where(instances > 0, instances // NUM_CLASSES + 1, 0).astype(np.uint8)
        return data, categories, people


def _labels(path: Path, size_wh: tuple[int, int]) -> np.ndarray:
    """Grey levels or palette indices of a PNG, uint8 [H, W]. FaultError: none, broken, or not of the picture's size."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            if image.mode not in ("L", "P"):
                raise FaultError("unreadable-mask", f"{path}: expected a PNG of 8-bit grey, got mode {image.mode}")
            if image.size != size_wh:
                (w, h), (width, height) = image.size, size_wh
                raise FaultError("mask-size", f"{path}: is {w} x {h}, its picture {width} x {height} px")
            return np.array(image)
    except FileNotFoundError as error:
        raise FaultError("missing-mask", f"{path}: no such file") from error
    except FaultError:
        raise
    except PILLOW_ERRORS as error:
        raise FaultError("unreadable-mask", f"{path}: cannot be read as a PNG ({error})") from error


def _npy(array: np.ndarray) -> bytes:
    written = io.BytesIO()
    np.save(written, array)
    return written.getvalue()


def _keep(path: Path, content: bytes, *, link: Path | None = None) -> None:
    """Writes a file unless it is there. link: an existing file of this content, used if the disk allows a link to it.

    DataError if another content is there: it may be of a table that somebody uses.
    """
    if path.exists():
        if path.read_bytes() != content:
            raise DataError(f"{path}: exists with another content; remove it, or give another --out")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as part:
        if link is not None:
            try:
                os.link(link.resolve(), part)
                return
            except OSError:  # another disk, or one without links
                shutil.copyfile(link, part)
        else:
            part.write_bytes(content)
