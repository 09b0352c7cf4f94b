"""Speed of reading data: rows of a REC table with 640 x 480 JPEGs, in one process and in loader workers."""

import base64
import io
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader

from ..tasks import TASKS
from ..tasks.settings import TaskSettings
from ..utils.memory import keep_freed_memory

ROWS, BATCH, WARM = 640, 8, 4  # WARM: batches read before timing starts
WIDTH, HEIGHT = 640, 480
BPE = Path(__file__).resolve().parent.parent / "checkpoints" / "synthetic" / "bpe"


def write_table(path: Path, rows: int = ROWS) -> None:
    """Writes rows with different photograph-like pictures: smooth shapes with grain, JPEG quality 90."""
    random = np.random.default_rng(0)
    with path.open("w") as file:
        for row in range(rows):
            shapes = Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8))
            smooth = np.asarray(shapes.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), np.float32)
            grain = random.normal(0, 6, (HEIGHT, WIDTH, 1))
            picture, data = np.clip(smooth + grain, 0, 255).astype(np.uint8), io.BytesIO()
            Image.fromarray(picture).save(data, "JPEG", quality=90)
            cell = base64.b64encode(data.getvalue()).decode()
            file.write(f"{row}\tthe woman in the red coat left of the man\t10.5,20,310,420.25\t{cell}\n")


def rates(folder: Path, *, size: int) -> dict[str, Any]:
    """Rows a second: of the dataset in one process, and of a loader with one and with two workers."""
    keep_freed_memory()  # as train.py does
    table = folder / "dataset.tsv"
    write_table(table)
    settings = TaskSettings(
        bpe_dir=str(BPE),
        num_bins=128,
        code_dict_size=96,
        selected_cols="0,3,1,2",
        patch_image_size=size,
        max_image_size=size,
    )
    task = TASKS["refcoco"].from_settings(settings)
    rows = task.open(table, training=True)
    rows[0]
    begin = time.perf_counter()
    for i in range(len(rows)):
        rows[i]
    found: dict[str, Any] = {"rows_per_s": len(rows) / (time.perf_counter() - begin)}
    for workers in (1, 2):
        batches = iter(DataLoader(rows, batch_size=BATCH, collate_fn=task.collate, num_workers=workers))
        for _ in islice(batches, WARM):
            pass
        begin = time.perf_counter()
        count = sum(1 for _ in batches)
        found[f"rows_per_s_{workers}_workers"] = count * BATCH / (time.perf_counter() - begin)
    found["scaling"] = found["rows_per_s_2_workers"] / found["rows_per_s_1_workers"] / 2
    return found
