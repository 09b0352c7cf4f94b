"""What every part of the run needs: sizes, the time left, results on disk, a network with random weights."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ...models.refhcm.config import NetworkConfig
from ...models.refhcm.cuda_graphs import StepGraphs
from ...models.refhcm.network import Network
from ...utils.devices import choose_kernels
from ...utils.files import atomic_write
from ..cases import Setting
from ..dataset import BPE


@dataclass(frozen=True)
class Size:
    """What is measured. side: of the canvas, px; drawn: pictures of the drawn world that are asked about."""

    arch: str
    symbols: int
    side: int
    batches: tuple[int, ...]
    formats: tuple[str, ...]
    cases: tuple[str, ...]
    training_batch: int
    updates: int
    drawn: int
    vocabulary: Path
    bins: int
    codes: int


ROOT = Path(__file__).resolve().parents[2]
GOLDEN, PAPER_VOCABULARY = ROOT / "tests" / "golden", ROOT / "tests" / "bpe"
PATHS = ("encoder", "rec", "sentence", "rpar", "qpg")
SIZES = {
    "paper": Size(
        arch="refhcm",
        symbols=59457,
        side=512,
        batches=(1, 32, 128, 8),
        formats=("bfloat16", "float16", "float32"),
        cases=PATHS,
        training_batch=8,
        updates=30,
        drawn=96,
        vocabulary=PAPER_VOCABULARY,
        bins=1000,
        codes=8192,
    ),
    "test": Size(
        arch="refhcm_test",
        symbols=9500,
        side=64,
        batches=(1, 2),
        formats=("float32", "bfloat16"),
        cases=("rec", "qpg"),
        training_batch=2,
        updates=10,
        drawn=2,
        vocabulary=BPE,
        bins=128,
        codes=96,
    ),
}


@dataclass(frozen=True)
class Part:
    """One part of the run, in its own process. seconds: its budget, after which it starts nothing new."""

    size: Size
    device: torch.device
    seconds: float
    path: Path
    begin: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        """Seconds of the budget that are left, below 0 when it is spent."""
        return self.seconds - (time.monotonic() - self.begin)

    def save(self, content: dict[str, Any]) -> None:
        """Writes what is known so far, so that a run that is cut off keeps it."""
        with atomic_write(self.path) as path:
            path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def each(self, jobs: dict[str, Callable[[], dict[str, Any]]]) -> None:
        """Runs jobs while there is time, saving after each one: `rows`, what `failed` and why, what was `left_out`."""
        rows: list[dict[str, Any]] = []
        failed: dict[str, str] = {}
        names = list(jobs)
        for done, (name, job) in enumerate(jobs.items()):
            if self.left() <= 0:
                break
            try:
                rows.append({"name": name} | job())
            except Exception as error:  # most likely out of memory: the other measurements still count
                failed[name] = f"{type(error).__name__}: {error}"[:500]
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self.save({"rows": rows, "failed": failed, "left_out": names[done + 1 :]})
        else:
            return
        self.save({"rows": rows, "failed": failed, "left_out": names[done:]})


def random_network(size: Size, device: torch.device, *, recompute: bool = False) -> Network:
    """The network with random float32 weights, drawn on the device: on a CPU that takes much longer."""
    choose_kernels()
    torch.manual_seed(0)
    config = NetworkConfig.from_args({"arch": size.arch, "checkpoint_activations": recompute})
    with torch.device(device):
        return Network(config, size.symbols)


def answering(size: Size, device: torch.device, dtype: torch.dtype) -> Setting:
    """Weights of this format, made ready for answers."""
    network = random_network(size, device).to(dtype).requires_grad_(False)
    return Setting(network.for_answers(), size.side, device, dtype)


@contextmanager
def cuda_graphs(network: Network, wanted: bool) -> Iterator[None]:
    """Decodes by recorded steps, if they are wanted."""
    network.decoder.graphs = StepGraphs(network.decoder.step) if wanted else None
    try:
        yield
    finally:
        network.decoder.graphs = None


def reset_peak(device: torch.device) -> None:
    """Begins to measure peak memory anew on a GPU; on a CPU it is the process's, which cannot be reset."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def formats(device: torch.device) -> tuple[str, ...]:
    """Number formats whose answers are compared; a CPU has no TF32, and float16 is slow there."""
    return ("float32", "tf32", "bfloat16", "float16") if device.type == "cuda" else ("float32", "bfloat16")


def allow_tf32(allowed: bool) -> None:
    """Whether float32 products and convolutions may be computed in TF32 on a GPU."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
