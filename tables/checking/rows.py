"""Faults of one row, and what the checks of its table need to know of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from ...data.columns import box_cells, kind_of, shorten
from ...data.images import read_picture
from ...data.tables import TABLES
from ...data.tsv import TsvFile
from ...utils.errors import DataError
from ...utils.words import has_word
from .boxes import BoxCounts, box_faults, boxes_faults, count_boxes, read_box
from .findings import Fault
from .keypoints import PointCounts, count_points, keypoint_faults, read_points
from .masks import code_faults, mask_faults
from .texts import caption_faults, expression_faults

_IMAGE_IDS = {"refcoco": 1, "grec": 1, "rkpt": 1, "rpar": 5, "rpar_full_mask": 5}  # column; of RPar, the picture's path
_HEADER_CELL = 40  # letters


@dataclass
class Facts:
    """What one row holds. picture: digest of its file, b"" if it cannot be read. content: digest of picture, box, text.

    columns: how many there are; 0 for a line that was not read any further.
    """

    row: int
    id: str = ""
    columns: int = 0
    image_id: str = ""
    picture: bytes = b""
    turned: bool = False
    content: bytes = b""
    boxes: BoxCounts = field(default_factory=BoxCounts)
    points: PointCounts = field(default_factory=PointCounts)
    has_codes: bool | None = None  # None: the task has none
    faults: list[Fault] = field(default_factory=list)


class RowReader:
    """Reads and checks rows of a table. Threads may share one."""

    def __init__(self, path: Path, task: str, *, root: Path, num_codes: int) -> None:
        """root: folder of the imgs/ and gts/ that the table names. num_codes: of the tokenizer. Raises DataError."""
        table = TABLES[task]
        self.path, self.task, self._root, self._num_codes = path, task, root, num_codes
        self._file = TsvFile(path, table.default_cols, names=table.columns)
        self._columns = dict(zip(table.columns, self._file.columns, strict=True))
        self._images = root / table.image_folder
        self._needed = max(self._file.columns) + 1
        self._whole_ids = "refhuman" in path.stem.lower()

    def __len__(self) -> int:
        return len(self._file)

    def read(self, row: int) -> Facts:
        """Faults and facts of a row."""
        cells = self._file.cells(row)
        if cells == [b""]:
            return Facts(row, faults=[("blank-line", "nothing")])
        try:
            texts = [cell.decode("utf-8") for cell in cells]
        except UnicodeDecodeError as error:
            return Facts(
                row, faults=[("not-utf8", f"byte {error.object[error.start]:#04x} in a cell ({error.reason})")]
            )
        facts = Facts(row, texts[0], len(texts))
        if len(texts) < self._needed:
            return Facts(
                row, texts[0], faults=[("column-count", f"{len(texts)} columns, the task reads {self._needed}")]
            )
        cell = {name: texts[column] for name, column in self._columns.items()}
        facts.id, facts.image_id = cell["id"], texts[_IMAGE_IDS[self.task]] if self.task in _IMAGE_IDS else ""
        if row == 0 and _is_header(texts, cell.get("box", cell.get("boxes", "")), cell["image"]):
            return Facts(row, faults=[("header-line", ", ".join(texts))])
        facts.faults += [*self._id_faults(facts.id), *self._text_faults(cell)]
        size_wh = self._read_picture(cell["image"], facts)
        self._check_labels(cell, size_wh, facts)
        text = cell.get("expression", cell.get("caption", ""))
        labels = "\t".join([facts.picture.hex(), cell.get("box", cell.get("boxes", "")), text])
        facts.content = blake2b(labels.encode(), digest_size=16).digest() if facts.picture else b""
        return facts

    def _id_faults(self, row_id: str) -> Iterator[Fault]:
        whole = row_id.isascii() and row_id.isdecimal()
        if not row_id.strip() or (self._whole_ids and not whole):
            yield "bad-id", repr(row_id)

    def _text_faults(self, cell: dict[str, str]) -> Iterator[Fault]:
        if "caption" in cell:
            yield from caption_faults(cell["caption"])
        else:
            yield from expression_faults(cell["expression"], may_be_none=TABLES[self.task].asks_by_box)
            if self.task == "grec" and not has_word(cell["expression"]):
                yield "blank-text", shorten(cell["expression"])

    def _read_picture(self, cell: str, facts: Facts) -> tuple[int, int] | None:
        """Width and height, px; None for a picture that cannot be read."""
        try:
            picture = read_picture(cell, root=self._images, where="")
        except DataError as error:
            facts.faults.append(("unreadable-picture", str(error).removeprefix(": column image: ")))
            return None
        facts.picture, facts.turned = picture.key, picture.turned
        return picture.image.size

    def _check_labels(self, cell: dict[str, str], size_wh: tuple[int, int] | None, facts: Facts) -> None:
        if size_wh is not None:
            facts.boxes = count_boxes(box_cells(cell.get("box", cell.get("boxes", ""))), size_wh)
        if "boxes" in cell:
            facts.faults += boxes_faults(cell["boxes"], size_wh)
            if box_cells(cell["boxes"]) and kind_of(facts.id):
                facts.faults.append(("nobody-with-box", f"{facts.id} with {shorten(cell['boxes'])}"))
            return
        facts.faults += box_faults(cell["box"], size_wh)
        box = read_box(cell["box"])
        if "keypoints" in cell:
            facts.faults += keypoint_faults(cell["keypoints"], box, size_wh)
            points = read_points(cell["keypoints"])
            if points is not None and box is not None:
                facts.points = count_points(points, box)
        if "codes" in cell:
            facts.has_codes = bool(cell["codes"])
            if facts.has_codes:
                facts.faults += code_faults(cell["codes"], self._num_codes)
            ordered = None if box is None or not (box[2:] > box[:2]).all() else box
            if size_wh is not None:
                facts.faults += mask_faults(cell["mask"], ordered, size_wh, root=self._root / "gts")


def _is_header(cells: list[str], box: str, picture: str) -> bool:
    """Whether a first line names columns: short cells, and neither a box nor a picture."""
    short = all(len(cell) <= _HEADER_CELL for cell in cells)
    return short and not any(letter.isdigit() for letter in box) and "." not in picture
