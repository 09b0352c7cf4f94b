"""Measures the machine: operations of matrix products a second, and bytes read a second."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from ..models.refhcm.cpu.linear import Output
from .flops import Work

REPEATS = 7
PRODUCTS = ((1024, 1024, 4096), (1024, 4096, 1024), (2048, 2048, 2048), (4096, 4096, 4096))  # [m, k] @ [k, n]
GPU_PRODUCTS = ((8192, 8192, 8192),)  # smaller ones do not fill a large GPU
READ_BYTES = 2**30  # far more than caches hold


@dataclass(frozen=True)
class Machine:
    """flops: operations a second of the best matrix product of a dtype; bandwidth: bytes read a second."""

    flops: float
    bandwidth: float

    def seconds(self, work: Work, number_bytes: int) -> float:
        """The least time that this work takes."""
        return work.flops / self.flops + work.reads * number_bytes / self.bandwidth


def synchronise(device: torch.device) -> None:
    """Waits for the GPU; does nothing on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(function: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call."""
    synchronise(device)
    begin = time.perf_counter()
    function()
    synchronise(device)
    return time.perf_counter() - begin


def measure(device: torch.device, dtype: torch.dtype) -> Machine:
    """The best of several products and reads, with torch's current number of threads."""
    return Machine(_flops(device, dtype), _bandwidth(device))


def _flops(device: torch.device, dtype: torch.dtype) -> float:
    best = 0.0
    for m, k, n in PRODUCTS + (GPU_PRODUCTS if device.type == "cuda" else ()):
        a, b = (torch.randn(shape, device=device).to(dtype) for shape in ((m, k), (n, k)))
        for product in (partial(torch.nn.functional.linear, weight=b), Output(b)):  # torch's own, and oneDNN's
            seconds = min(timed(partial(product, a), device) for _ in range(REPEATS))
            best = max(best, 2 * m * k * n / seconds)
    return best


def _bandwidth(device: torch.device) -> float:
    numbers = torch.ones(READ_BYTES // 4, device=device)
    return READ_BYTES / min(timed(numbers.sum, device) for _ in range(REPEATS))
