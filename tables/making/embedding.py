"""Rows that carry their picture: its file in base64, in the last column."""

import base64
import io
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from PIL import Image

from ...data.pictures import decode, picture_formats, read_bytes, reading, upright_size
from ...utils.errors import DataError
from .plan import Draft, PictureRows
from .rules import FaultError, LeftOutError, box_cell, boxes_cell, fit_box, keypoints_cell


@dataclass
class Made:
    """The rows of a picture, and what happened to them: left out by reason, changed by kind, faults of the source."""

    lines: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[str, str, int]] = field(default_factory=list)  # kind, message, rows


@dataclass(frozen=True)
class Fitted:
    """A draft whose boxes and keypoints fit its picture, as cells."""

    draft: Draft
    boxes: tuple[tuple[float, float, float, float], ...]
    keypoints: str
    changed: Counter[str]


# The cells of a row before its picture, by table.
LAYOUTS: dict[str, Callable[[Fitted], list[str]]] = {
    "rec": lambda row: [row.draft.id, row.draft.image_id, row.draft.text, box_cell(row.boxes[0])],
    "rkpt": lambda row: [row.draft.id, row.draft.image_id, row.draft.text, box_cell(row.boxes[0]), row.keypoints],
    "grec": lambda row: [row.draft.id, row.draft.image_id, row.draft.text, boxes_cell(row.boxes, changed=row.changed)],
    "rhrc": lambda row: [row.draft.id, row.draft.text, box_cell(row.boxes[0])],
}


@dataclass(frozen=True)
class Embedding:
    """Makes the rows of a picture. layout: of `LAYOUTS`. clip: boxes may leave the picture by any distance.

    jpeg_quality: of the picture when it is encoded again; None keeps the file as it is.
    """

    layout: str
    jpeg_quality: int | None = None
    clip: bool = False

    def __call__(self, picture: PictureRows) -> Made:
        """One line for each row; what is wrong with the picture or a row is in `faults`."""
        made = Made()
        try:
            data, size_wh, turned = _read(picture)
            made.changed["turned-picture"] += turned
            cell = base64.b64encode(self._encoded(data, size_wh, turned)).decode("ascii")
        except FaultError as error:
            made.faults.append((error.kind, str(error), len(picture.drafts)))
            return made
        for draft in picture.drafts:
            changed: Counter[str] = Counter()
            try:
                cells = LAYOUTS[self.layout](self._fitted(draft, size_wh, changed))
            except LeftOutError as reason:
                made.left_out[str(reason)] += 1
                continue
            except FaultError as error:
                made.faults.append((error.kind, str(error), 1))
                continue
            made.lines.append("\t".join([*cells, cell]))
            made.changed.update(changed)
        return made

    def _fitted(self, draft: Draft, size_wh: tuple[int, int], changed: Counter[str]) -> Fitted:
        boxes = tuple(
            fit_box(box, size_wh, where=draft.where, changed=changed, any_distance=self.clip) for box in draft.boxes
        )
        keypoints = ""
        if draft.keypoints is not None:
            keypoints = keypoints_cell(draft.keypoints, size_wh, where=draft.where, changed=changed)
        return Fitted(draft, boxes, keypoints, changed)

    def _encoded(self, data: bytes, size_wh: tuple[int, int], turned: bool) -> bytes:
        if self.jpeg_quality is None:
            return data
        with Image.open(io.BytesIO(data), formats=picture_formats()) as stored:
            # Without its tag, a picture stays as its annotations count it.
            image = stored.convert("RGB") if stored.size == size_wh and turned else decode(data).image
        written = io.BytesIO()
        image.save(written, "JPEG", quality=self.jpeg_quality)
        return written.getvalue()


def _read(picture: PictureRows) -> tuple[bytes, tuple[int, int], bool]:
    """The file, the size that annotations count in, and whether viewers turn the picture. FaultError: unusable."""
    path = picture.path
    assert path is not None, picture.name
    try:
        with reading(str(path)):
            data = read_bytes(path)
            turned = decode(data).turned
            upright_wh = upright_size(data)
            with Image.open(io.BytesIO(data), formats=picture_formats()) as image:
                stored_wh = image.size
    except DataError as error:
        raise FaultError("unreadable-picture", str(error)) from error
    if picture.size_wh not in (None, stored_wh, upright_wh):
        is_wh, said_wh = (f"{w} x {h} px" for w, h in (stored_wh, picture.size_wh or stored_wh))
        raise FaultError("other-size", f"{path}: is {is_wh}, and its annotations are of {said_wh}")
    return data, picture.size_wh or upright_wh, turned
