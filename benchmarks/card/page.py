"""The results of a run as one page of Markdown, for benchmarks/README.md."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

GIB = 2**30
Row = dict[str, Any]
Column = tuple[str, Callable[[Row], str]]


def page(folder: Path) -> str:
    """Everything that the JSON files of a run hold; what is missing is named as missing."""
    notes = _read(folder / "run.json")
    about = notes["machine"]
    lines = [f"# {about.get('name', about['device'])}", ""]
    lines += [
        f"Size `{notes['size']}`, torch {about['torch']}, Python {about['python']}, {about['cpus']} CPU cores, "
        f"{notes['seconds']:.0f} s in all.",
        "",
    ]
    for name, part in notes["parts"].items():
        title, columns = TABLES[name]
        found = _read(folder / f"{name}.json") if (folder / f"{name}.json").exists() else {}
        lines += [f"## {title}", ""]
        if found.get("rows"):
            lines += [*_table(columns, found["rows"]), ""]
        if name == "paths":
            lines += [*_limits(found.get("rows", [])), ""]
        if name == "profiles":
            lines += _kernels(found.get("rows", []))
        lines += [f"Failed: {what}: {' '.join(why.split())}" for what, why in found.get("failed", {}).items()]
        if found.get("left_out"):
            lines += ["Not measured, for want of time: " + "; ".join(found["left_out"]) + "."]
        if part["ended"] != "ok":
            lines += [f"This part ended early: {' '.join(part['ended'].split())}"]
        lines += [""]
    return "\n".join(lines).replace("\n\n\n", "\n\n").rstrip() + "\n"


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _table(columns: Sequence[Column], rows: list[Row]) -> list[str]:
    head = ["| " + " | ".join(title for title, _ in columns) + " |", "|---" * len(columns) + "|"]
    return head + ["| " + " | ".join(value(row) for _, value in columns) + " |" for row in rows]


def _text(key: str) -> Column:
    return key, lambda row: str(row[key])


def _number(title: str, key: str, form: str, scale: float = 1) -> Column:
    return title, lambda row: format(row[key] * scale, form) if key in row else ""


def _of(title: str, key: str) -> Column:
    return title, lambda row: f"{row[key][0]} of {row[key][1]}" if key in row else ""


def _limits(rows: list[Row]) -> list[str]:
    """What the device reached in each number format; the ratios are to these."""
    return list(
        dict.fromkeys(
            f"Measured limits, {row['format']}: {row['machine_flops'] / 1e12:.3g} TFLOP/s of matrix products, "
            f"{row['machine_bandwidth'] / 1e9:.0f} GB/s read."
            for row in rows
        )
    )


def _kernels(rows: list[Row]) -> list[str]:
    """The longest kernels of each profile; without a GPU, the longest operators."""
    lines = []
    for row in rows:
        longest = (row["kernels"] or row["operators"])[:6]
        parts = ", ".join(f"`{one['name'][:60]}` {one['ms']:.2f} ms ({one['count']})" for one in longest)
        lines.append(f"- {row['name']}: {parts}")
    return [*lines, ""] if lines else []


TABLES: dict[str, tuple[str, list[Column]]] = {
    "goldens": (
        "The published numbers, largest absolute differences",
        [
            _text("golden"),
            _text("format"),
            *(_number(key, key, ".1e") for key in ("encoder", "features", "logits")),
            _of("same argmax", "argmax"),
            _of("same best answers", "answers"),
            _of("by CUDA graphs", "graphs"),
            ("within 1e-4", lambda row: "yes" if row["near"] else "no"),
        ],
    ),
    "drawn": (
        "Drawn people, the small model",
        [
            _text("format"),
            _text("people"),
            _number("IoU >= 0.5", "box_hits", ".3f"),
            _number("OKS >= 0.5", "oks_hits", ".3f"),
            _number("mIoU", "miou", ".3f"),
            _number("numbers as float32's", "same_numbers", ".3f"),
            _number("labels as float32's", "same_labels", ".3f"),
        ],
    ),
    "paths": (
        "Paths",
        [
            _text("path"),
            _text("format"),
            _text("batch"),
            _text("beam"),
            ("graphs", lambda row: "yes" if row["graphs"] else ""),
            _number("ms", "seconds", ".2f", 1e3),
            _number("limit ms", "limit_s", ".3f", 1e3),
            ("ratio", lambda row: f"{row['seconds'] / row['limit_s']:.2f}"),
            ("answers/s", lambda row: f"{row['batch'] / row['seconds']:.1f}"),
            _number("first ms", "first_s", ".0f", 1e3),
            _number("peak GiB", "peak_bytes", ".2f", 1 / GIB),
        ],
    ),
    "profiles": (
        "One step of each path under the profiler",
        [
            _text("name"),
            _text("format"),
            _number("ms without profiler", "seconds", ".2f", 1e3),
            _number("ms in kernels", "kernel_s", ".2f", 1e3),
            _text("launches"),
            _text("waits"),
            _text("read_back"),
        ],
    ),
    "training": (
        "Training with train.py, REC",
        [
            _text("format"),
            _text("recomputed"),
            _text("batch"),
            _number("updates/s", "updates_per_s", ".2f"),
            ("pictures/s", lambda row: f"{row['updates_per_s'] * row['batch']:.1f}"),
            _number("stall s", "stall_s", ".3f"),
            _number("peak GiB", "peak_bytes", ".2f", 1 / GIB),
        ],
    ),
}
