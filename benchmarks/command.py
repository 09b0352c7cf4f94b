"""Times every path against its limit, and writes a table and JSON.

refhcm bench rec rpar --device cpu --dtype float32
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..utils.devices import pick_device
from ..utils.errors import UserError
from ..utils.files import check_writable
from ..utils.flags import positive
from .cases import CASES
from .report import table

logger = logging.getLogger(__name__)
PAPER_SYMBOLS = 59457
DTYPES = ("float32", "bfloat16", "float16")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `refhcm bench`."""
    parser.add_argument(
        "cases",
        nargs="*",
        metavar="PATH",
        help=f"Time these paths, of {', '.join([*CASES, 'dataset'])} (default: all).",
    )
    parser.add_argument(
        "--arch",
        default="refhcm",
        help="Take a network of this size, such as refhcm_base or refhcm_small (default: refhcm).",
    )
    parser.add_argument(
        "--symbols", type=int, default=PAPER_SYMBOLS, help="Take a vocabulary of this size (default: %(default)s)."
    )
    parser.add_argument(
        "--patch-image-size", type=int, default=512, help="Set the side of the canvas, px (default: 512)."
    )
    parser.add_argument("--device", default=None, help="Compute on cpu or cuda (default: a GPU if there is one).")
    parser.add_argument(
        "--dtype",
        nargs="+",
        default=["float32", "bfloat16"],
        choices=DTYPES,
        help="Time these number formats (default: float32 bfloat16).",
    )
    parser.add_argument(
        "--threads",
        type=positive,
        default=os.cpu_count(),
        help="Give torch this many threads on the CPU (default: one a core).",
    )
    parser.add_argument(
        "--runs", type=positive, default=5, help="Time each path this many times, and report the median (default: 5)."
    )
    parser.add_argument("--checkpoint", help="Time this network; give its --symbols, too (default: random weights).")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("results/benchmarks"),
        help="Write results.json and .md into this folder (default: results/benchmarks).",
    )
    parser.add_argument(
        "--batch",
        type=positive,
        default=1,
        help="Ask this many questions together, each about its own picture (default: 1).",
    )
    parser.add_argument("--beam", type=positive, default=5, help="Follow this many answers at once (default: 5).")


def run_child(order: dict[str, Any]) -> dict[str, Any]:
    """Runs one case in its own process. UserError with the end of its output when it fails."""
    command = [sys.executable, "-m", f"{__package__}.child", json.dumps(order)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"benchmark {order['case']}: {done.stderr.strip()[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """The settings and, for each path and dtype, the numbers, ready for JSON."""
    known = [*CASES, "dataset"]
    names = args.cases or known
    if unknown := set(names) - {*known}:
        raise UserError(f"unknown path {', '.join(sorted(unknown))}; choose from {', '.join(known)}")
    device = args.device or str(pick_device())
    with tempfile.TemporaryDirectory() as folder:
        order = {
            "checkpoint": args.checkpoint or f"{folder}/model.pt",
            "folder": folder,
            "arch": args.arch,
            "symbols": args.symbols,
            "size": args.patch_image_size,
            "batch": args.batch,
            "beam": args.beam,
            "device": device,
            "threads": args.threads,
            "runs": args.runs,
        }
        jobs = [(name, dtype) for name in names if name != "dataset" for dtype in args.dtype]
        if jobs and args.checkpoint is None:
            run_child(order | {"case": "write"})
        rows = []
        for name, dtype in tqdm(jobs, unit="path", disable=None):
            rows.append({"case": name, "dtype": dtype} | run_child(order | {"case": name, "dtype": dtype}))
        found: dict[str, Any] = {"setting": {**order, "checkpoint": args.checkpoint or "random"}, "rows": rows}
        del found["setting"]["folder"]
        if "dataset" in names:
            found["dataset"] = run_child(order | {"case": "dataset"})
    return found


def run(args: argparse.Namespace) -> None:
    """Prints the table, and writes it and the numbers to `--out`."""
    check_writable(args.out)
    found = measure(args)
    text = table(found)
    (args.out / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    (args.out / "results.md").write_text(text)
    print(f"{text}\nwritten to {args.out}")
