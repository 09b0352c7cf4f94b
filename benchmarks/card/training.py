"""Updates a second of the real train.py at the published batch, by number format, with and without recomputation."""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ...utils.errors import UserError
from ..dataset import write_table
from .settings import Part

FORMATS = {"bfloat16": ["--bf16"], "autocast": ["--autocast-bf16"], "float16": ["--fp16"]}
ROWS = 160
WORKERS = 4
LOG_EVERY = 2  # updates
WARM = 3  # lines of the log that do not count


def run(part: Part) -> None:
    """One row for each format, without and with `--checkpoint-activations`."""
    forms = [name for name in FORMATS if name != "float16" or part.device.type == "cuda"]  # fairseq's fp16 needs a GPU
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.tsv"
        write_table(table, ROWS)
        jobs: dict[str, Callable[[], dict[str, Any]]] = {}
        for recompute in (False, True):
            for form in forms:
                name = form + (", recomputed" if recompute else "")
                jobs[name] = partial(train, part, table, form, recompute)
        part.each(jobs)


def train(part: Part, table: Path, form: str, recompute: bool) -> dict[str, Any]:
    """Runs train.py for some updates, and reads its log."""
    size = part.size
    flags = {
        "task": "refcoco",
        "arch": size.arch,
        "bpe-dir": size.vocabulary,
        "num-bins": size.bins,
        "code-dict-size": size.codes,
        "patch-image-size": size.side,
        "selected-cols": "0,3,1,2",
        "criterion": "adjust_label_smoothed_cross_entropy",
        "label-smoothing": 0.1,
        "optimizer": "adam",
        "lr": 3e-5,
        "clip-norm": 1.0,
        "weight-decay": 0.01,
        "batch-size": size.training_batch,
        "num-workers": WORKERS,
        "max-update": size.updates,
        "log-format": "json",
        "log-interval": LOG_EVERY,
    }
    command = [sys.executable, "-m", "refhcm", "train", str(table), "--disable-validation", "--no-save"]
    command += [f"--{name}={value}" for name, value in flags.items()] + FORMATS[form]
    command += ["--checkpoint-activations"] * recompute + ["--cpu"] * (part.device.type == "cpu")
    done = subprocess.run(command, capture_output=True, text=True, timeout=max(part.left(), 1) + 60, check=False)
    if done.returncode:
        raise UserError(f"train.py: {done.stderr.strip()[-400:]}")
    row = {"format": form, "recomputed": recompute, "batch": size.training_batch}
    return row | numbers(done.stdout + done.stderr, part.device)


def numbers(log: str, device: torch.device) -> dict[str, Any]:
    """Medians of what train.py logged after the first lines; peak_bytes: of torch's allocator, on a GPU only."""
    found = [json.loads(line[line.index("{") :]) for line in log.splitlines() if '"ups"' in line and '"stall"' in line]
    lines = [line for line in found if "train_ups" not in line][WARM:]
    if not lines:
        raise UserError(f"train.py logged {len(found)} lines of updates, at least {WARM + 1} are needed")
    row: dict[str, Any] = {
        "updates_per_s": statistics.median(float(line["ups"]) for line in lines),
        "stall_s": statistics.median(float(line["stall"]) for line in lines),
    }
    free = [float(line["gb_free"]) for line in lines if "gb_free" in line]
    if device.type == "cuda" and free:
        total = torch.cuda.get_device_properties(device).total_memory
        row["peak_bytes"] = total - min(free) * 2**30
    return row
