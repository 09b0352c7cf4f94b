"""The columns of the TSV files: text to checked numbers. An error names row, column, what came and what was expected.

`where` is the row's "file:line" (`TsvFile.where`).
"""

import numpy as np

from ..utils.errors import DataError
from ..utils.keypoints import NUM_KEYPOINTS
from ..utils.symbols import BOX_SYMBOLS

NO_EXPRESSION = "None"  # in tables: the question names the box instead
MOST_BOXES = 20  # of a row of `grec`, and of an answer to it
NOBODY_KINDS = ("near", "other", "blank")  # a row that fits nobody may name its kind at the end of its id: `17_blank`
LARGEST_PX = 1e7  # no picture is larger, and float32 still tells neighbouring pixels apart


def shorten(text: str, *, limit: int = 60) -> str:
    """`repr` of a text for a message, shortened: a base64 picture in the wrong column must not fill the screen."""
    return repr(text) if len(text) <= limit else f"{text[:limit]!r}... ({len(text)} characters)"


def _parts(text: str) -> list[str]:
    """The parts between commas; none where only Python reads numbers: it takes 1_0 for 10."""
    return text.split(",") if text.isascii() and "_" not in text else []


def parse_numbers(text: str, where: str, *, column: str, expected: str, count: int) -> np.ndarray:
    """Exactly `count` finite numbers separated by commas, float32 [count]."""
    try:
        numbers = np.array([float(number) for number in _parts(text)])
    except ValueError:  # not a number
        numbers = np.empty(0)
    # The comparison is false for NaN.
    if len(numbers) != count or not (np.abs(numbers) <= LARGEST_PX).all():
        raise DataError(f"{where}: column {column}: needs {expected}, got {shorten(text)}")
    return numbers.astype(np.float32)


def parse_box(text: str, where: str, *, column: str = "box") -> np.ndarray:
    """A box x0,y0,x1,y1 in image px with x1 > x0 and y1 > y0, float32 [4]."""
    expected = "4 finite numbers x0,y0,x1,y1"
    box_xyxy = parse_numbers(text, where, column=column, expected=expected, count=4)
    if not (box_xyxy[2:] > box_xyxy[:2]).all():
        raise DataError(f"{where}: column {column}: needs x1 > x0 and y1 > y0, got {shorten(text)}")
    return box_xyxy


def box_cells(text: str) -> list[str]:
    """The boxes of a cell of `grec`, x0,y0,x1,y1;x0,y0,x1,y1;... -> each for itself; none for an empty cell."""
    return text.split(";") if text.strip() else []


def parse_boxes(text: str, where: str) -> np.ndarray:
    """The boxes of a cell of `grec` in image px, float32 [N, 4]; [0, 4] for an empty cell. Raises DataError."""
    boxes = [parse_box(cell, where, column="boxes") for cell in box_cells(text)]
    if len(boxes) > MOST_BOXES:
        raise DataError(f"{where}: column boxes: needs {MOST_BOXES} boxes or fewer, got {len(boxes)}")
    if len({tuple(box.tolist()) for box in boxes}) < len(boxes):
        raise DataError(f"{where}: column boxes: the same box comes twice, got {shorten(text)}")
    return np.stack(boxes) if boxes else np.zeros((0, BOX_SYMBOLS), np.float32)


def kind_of(row_id: str) -> str:
    """Why a row of `grec` fits nobody, by the end of its id: "near", "other" or "blank"; "" where it does not say."""
    return next((kind for kind in NOBODY_KINDS if row_id.endswith(f"_{kind}")), "")


def check_box_in_picture(box_xyxy: np.ndarray, size_wh: tuple[int, int], *, where: str, column: str = "box") -> bool:
    """Whether a box in image px lies partly outside its picture; a DataError if it lies wholly outside."""
    x0, y0, x1, y1 = box_xyxy.tolist()
    width, height = size_wh
    if x0 >= width or y0 >= height or x1 <= 0 or y1 <= 0:
        box = ",".join(f"{number:g}" for number in (x0, y0, x1, y1))
        raise DataError(f"{where}: column {column}: {box} is wholly outside the picture of {width} x {height} px")
    return x0 < 0 or y0 < 0 or x1 > width or y1 > height


def parse_keypoints(text: str, where: str) -> np.ndarray:
    """17 points x,y in image px, (0, 0) where not visible, float32 [34]."""
    count = 2 * NUM_KEYPOINTS
    expected = f"{count} finite numbers x,y x {NUM_KEYPOINTS}"
    return parse_numbers(text, where, column="keypoints", expected=expected, count=count)


def parse_codes(text: str, where: str, *, num_codes: int, count: int = 48) -> np.ndarray:
    """`count` codes of a parsing map, each in 0..num_codes-1, int64 [count]."""
    try:
        codes = [int(code) for code in _parts(text)]
    except ValueError:  # not a whole number
        codes = []
    if len(codes) != count or not all(0 <= code < num_codes for code in codes):
        raise DataError(
            f"{where}: column parsing codes: needs {count} whole numbers in 0..{num_codes - 1}, got {shorten(text)}"
        )
    return np.array(codes, dtype=np.int64)


def parse_caption(text: str, where: str, *, column: str = "caption") -> str:
    """The cell unchanged; a DataError if it is empty or blank."""
    if not text.strip():
        raise DataError(f"{where}: column {column}: is empty")
    return text
