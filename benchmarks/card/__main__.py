"""One command that measures a card within minutes: each part in its own process, within its share of the time.

Parts write JSON after every measurement, so that a run that is cut off keeps what it has; `page.md` is made at the end.
"""

import argparse
import json
import logging
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from ...utils.devices import pick_device
from ...utils.errors import UserError, exit_status
from ...utils.files import check_writable
from . import drawn, goldens, page, paths, profiles, training
from .settings import SIZES, Part

logger = logging.getLogger(__name__)
PARTS: dict[str, tuple[Callable[[Part], None], float]] = {  # and their shares of the time
    "goldens": (goldens.run, 0.12),
    "drawn": (drawn.run, 0.08),
    "paths": (paths.run, 0.38),
    "profiles": (profiles.run, 0.12),
    "training": (training.run, 0.30),
}
GRACE = 20.0  # seconds that a part may take to end what it has begun, before it is killed


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m refhcm.benchmarks.card", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/card"), help="folder of the results")
    parser.add_argument("--device", default=None, help="cpu or cuda (default: a GPU if there is one)")
    parser.add_argument("--size", choices=SIZES, default="paper", help="test: a small network, to try the script")
    parser.add_argument("--seconds", type=float, default=520, help="time for everything")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="default: all")
    parser.add_argument("--only", choices=PARTS, help=argparse.SUPPRESS)  # the process of one part
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    return exit_status(lambda: _part(args) if args.only else run(args))


def _part(args: argparse.Namespace) -> int:
    device = torch.device(args.device)
    PARTS[args.only][0](Part(SIZES[args.size], device, args.seconds, args.out / f"{args.only}.json"))
    return 0


def run(args: argparse.Namespace) -> int:
    """Runs the parts one after the other; what one leaves of its time goes to the others. 1 if one failed."""
    begin = time.monotonic()
    check_writable(args.out)
    device = str(pick_device()) if args.device is None else args.device
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"--device {device}: torch sees no GPU here")
    notes: dict[str, Any] = {"machine": machine(device), "size": args.size, "parts": {}}
    for number, name in enumerate(args.parts):
        shares = [PARTS[later][1] for later in args.parts[number:]]
        left = args.seconds - GRACE - (time.monotonic() - begin)
        seconds = max(left * shares[0] / sum(shares), 0.0)
        logger.info("%s: %.0f s", name, seconds)
        notes["parts"][name] = _in_process(args, name, device, seconds)
        notes["seconds"] = time.monotonic() - begin
        (args.out / "run.json").write_text(json.dumps(notes, indent=1) + "\n", encoding="utf-8")
    text = page.page(args.out)
    (args.out / "page.md").write_text(text, encoding="utf-8")
    logger.info("%s\nwritten to %s", text, args.out)
    return int(any(part["ended"] != "ok" for part in notes["parts"].values()))


def _in_process(args: argparse.Namespace, name: str, device: str, seconds: float) -> dict[str, Any]:
    """How a part ended: `ok`, `killed` or its last lines; and its seconds."""
    (args.out / f"{name}.json").unlink(missing_ok=True)  # of an earlier run
    begin, log, killed = time.monotonic(), args.out / "log.txt", False
    command = [sys.executable, "-m", f"{__package__}", f"--only={name}", f"--device={device}", f"--size={args.size}"]
    command += [f"--out={args.out}", f"--seconds={seconds}"]
    with log.open("ab") as file:
        start = file.tell()
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
        try:
            process.wait(seconds + GRACE)
        except subprocess.TimeoutExpired:
            killed = True
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with what it has started
            process.wait()
    ended = "killed" if killed else "ok"
    if process.returncode and not killed:
        ended = log.read_bytes()[start:].decode(errors="replace").strip()[-600:]
    return {"ended": ended, "seconds": time.monotonic() - begin, "budget_s": seconds}


def machine(device: str) -> dict[str, Any]:
    """What was measured on."""
    found = {"device": device, "python": platform.python_version(), "torch": torch.__version__, "cpus": os.cpu_count()}
    if device.startswith("cuda"):
        facts = torch.cuda.get_device_properties(torch.device(device))
        found |= {"name": facts.name, "memory_bytes": facts.total_memory, "cuda": torch.version.cuda}
    return found


if __name__ == "__main__":
    sys.exit(main())
