"""Good tables of every task, small enough to plant faults into."""

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from refhcm.tables.checking.checking import Options, check_tables
from refhcm.tables.checking.tally import Report

WIDTH, HEIGHT = 60, 80  # px
BOX = (10, 20, 40, 70)
POINTS = [(15 + k, 25 + 2 * k) for k in range(17)]
COLUMN = {
    "refcoco": {"id": 0, "image_id": 1, "text": 2, "box": 3, "image": 4},
    "grec": {"id": 0, "image_id": 1, "text": 2, "box": 3, "image": 4},
    "rkpt": {"id": 0, "image_id": 1, "text": 2, "box": 3, "keypoints": 4, "image": 5},
    "rpar": {"id": 0, "text": 1, "box": 2, "codes": 3, "mask": 4, "image": 5},
    "rhrc": {"id": 0, "text": 1, "box": 2, "image": 3},
}
ROWS = 12
PLANTED = 3  # row that `plant` changes, from 0


def joined(numbers) -> str:
    return ",".join(map(str, numbers))


def encoded(shade: int, *, orientation: int | None = None, file_format: str = "PNG") -> str:
    """A picture of noise in base64."""
    pixels = np.random.default_rng(shade).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    exif, file = Image.Exif(), io.BytesIO()
    if orientation:
        exif[0x0112] = orientation
    Image.fromarray(pixels).save(file, file_format, exif=exif)
    return base64.b64encode(file.getvalue()).decode()


class SmallTable:
    """A good table of a task, with a fault after `plant`."""

    def __init__(self, folder: Path, task: str, *, name: str = "good.tsv", first: int = 0) -> None:
        self.task, self.path, self.root, self.column = task, folder / name, folder / "annos", COLUMN[task]
        self.header: bytes = b""
        self.rows = [self._row(first + k) for k in range(ROWS)]
        for kind in ("imgs", "gts"):
            (self.root / kind).mkdir(parents=True, exist_ok=True)
        for k in range(ROWS * (task == "rpar")):
            (self.root / "imgs" / f"{k}.png").write_bytes(base64.b64decode(encoded(k)))
            self.write_mask(k, BOX)

    def _row(self, k: int) -> list[str]:
        codes = joined(range(24)) + "," + joined(range(24))
        cells = {"id": f"{k}_0", "image_id": str(100 + k), "text": f"the man number {k}", "box": joined(BOX)}
        cells |= {"codes": codes, "mask": f"{k}.npy", "keypoints": joined(np.ravel(POINTS))}
        cells["image"] = f"{k}.png" if self.task == "rpar" else encoded(k)
        if self.task == "grec":
            cells["box"] = ["", joined(BOX), f"{joined(BOX)};12,20,30,50"][k % 3]
        return [cells[name] for name in self.column]

    def write_mask(self, k: int, *boxes, size_hw=(HEIGHT, WIDTH), label: int = 5) -> None:
        mask = np.zeros(size_hw, np.uint8)
        for x0, y0, x1, y1 in boxes:
            mask[y0:y1, x0:x1] = label
        np.save(self.root / "gts" / f"{k}.npy", mask)

    def plant(self, column: str, value: str) -> None:
        self.rows[PLANTED][self.column[column]] = value

    def write(self) -> None:
        lines = ["\t".join(row).encode("utf-8", "surrogateescape") + b"\n" for row in self.rows]
        self.path.write_bytes(self.header + b"".join(lines))

    def check(self, **options) -> Report:
        self.write()
        options = {"task": self.task, "root": self.root, "num_codes": 32, "workers": 2} | options
        (report,), _ = check_tables([self.path], Options(**options))
        return report
