"""Times every path against its limit: a table, and JSON beside it."""

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
from .cases import CASES
from .report import table

logger = logging.getLogger(__name__)
PAPER_SYMBOLS = 59457
DTYPES = ("float32", "bfloat16", "float16")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("cases", nargs="*", metavar="PATH", help=f"of {', '.join([*CASES, 'dataset'])} (default: all)")
    parser.add_argument("--arch", default="refhcm", help="size of the network: refhcm, refhcm_base, refhcm_small, ...")
    parser.add_argument("--symbols", type=int, default=PAPER_SYMBOLS, help="size of the vocabulary")
    parser.add_argument("--patch-image-size", type=int, default=512, help="side of the canvas, px")
    parser.add_argument("--device", default=None, help="cpu or cuda (default: a GPU where there is one)")
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"], choices=DTYPES)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of torch on the CPU")
    parser.add_argument("--runs", type=int, default=5, help="how often each path is timed; the median counts")
    parser.add_argument("--checkpoint", help="time this network (its --arch and --symbols must be given, too)")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"), help="folder of results.json and .md")


def ask(order: dict[str, Any]) -> dict[str, Any]:
    """Runs one case in a process of its own. Raises UserError with the end of what it said when it fails."""
    command = [sys.executable, "-m", f"{__package__}.child", json.dumps(order)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"benchmark {order['case']}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All asked cases in all dtypes, as a dict that JSON can hold."""
    names = args.cases or [*CASES, "dataset"]
    unknown = set(names) - {*CASES, "dataset"}
    if unknown:
        raise UserError(f"no path {', '.join(sorted(unknown))}; there are {', '.join([*CASES, 'dataset'])}")
    device = args.device or str(pick_device())
    with tempfile.TemporaryDirectory() as folder:
        order = {
            "checkpoint": args.checkpoint or f"{folder}/model.pt",
            "folder": folder,
            "arch": args.arch,
            "symbols": args.symbols,
            "size": args.patch_image_size,
            "device": device,
            "threads": args.threads,
            "runs": args.runs,
        }
        jobs = [(name, dtype) for name in names if name != "dataset" for dtype in args.dtype]
        if jobs and args.checkpoint is None:
            ask(order | {"case": "write"})
        rows = []
        for name, dtype in tqdm(jobs, unit="path", disable=None):
            rows.append({"case": name, "dtype": dtype} | ask(order | {"case": name, "dtype": dtype}))
        found: dict[str, Any] = {"setting": {**order, "checkpoint": args.checkpoint or "random"}, "rows": rows}
        del found["setting"]["folder"]
        if "dataset" in names:
            found["dataset"] = ask(order | {"case": "dataset"})
    return found


def run(args: argparse.Namespace) -> None:
    """Prints the table and writes it beside the numbers."""
    found = measure(args)
    args.out.mkdir(parents=True, exist_ok=True)
    text = table(found)
    (args.out / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    (args.out / "results.md").write_text(text)
    print(f"{text}\nwritten to {args.out}")
