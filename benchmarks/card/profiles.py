"""Where the time of one step goes: kernels, launches and waits of each path, by torch's profiler."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch._C._autograd import DeviceType  # torch.autograd has it, but does not export it to type checkers
from torch.profiler import ProfilerActivity, profile

from ..cases import CASES, Setting
from ..machine import timed
from .settings import Part, answering, cuda_graphs, random_network

TOP = 20
BATCHES = (1, 32)
LAUNCHES = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx", "cudaGraphLaunch")
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")


def run(part: Part) -> None:
    """One row for each path at batch 1 and 32 in the first number format, and for a training step."""
    form = part.size.formats[0]
    dtype = getattr(torch, form)
    known: list[Setting] = []

    def answer(name: str, batch: int, *, graphs: bool = False) -> dict[str, Any]:
        if not known:
            known.append(answering(part.size, part.device, dtype))
        with cuda_graphs(known[0].network, graphs):
            return {"format": form, "batch": batch} | profiled(name, replace(known[0], batch=batch))

    def train() -> dict[str, Any]:
        known.clear()
        batch = part.size.training_batch
        network = random_network(part.size, part.device).train()
        setting = Setting(network, part.size.side, part.device, torch.bfloat16, batch=batch)
        return {"format": "autocast", "batch": batch} | profiled("train", setting)

    jobs: dict[str, Callable[[], dict[str, Any]]] = {}
    for batch in dict.fromkeys(min(batch, max(part.size.batches)) for batch in BATCHES):
        jobs |= {f"{name}, batch {batch}": partial(answer, name, batch) for name in part.size.cases}
        if part.device.type == "cuda":
            jobs[f"rec, batch {batch}, CUDA graphs"] = partial(answer, "rec", batch, graphs=True)
    part.each(jobs | {"train": train})


def profiled(name: str, setting: Setting) -> dict[str, Any]:
    """Seconds without the profiler, and what it saw in one call: counts, and the longest operations."""
    case, device = CASES[name](setting), setting.device
    timed(case.run, device)
    seconds = timed(case.run, device)
    gpu = [ProfilerActivity.CUDA] if device.type == "cuda" else []
    with profile(activities=[ProfilerActivity.CPU, *gpu], acc_events=True) as found:
        timed(case.run, device)
    events = found.key_averages()
    on_gpu = [event for event in events if event.device_type != DeviceType.CPU and not event.is_user_annotation]

    def times(names: tuple[str, ...]) -> int:
        return sum(event.count for event in events if event.key in names)

    return {
        "path": name,
        "seconds": seconds,
        "kernel_s": sum(event.self_device_time_total for event in on_gpu) / 1e6,
        "launches": times(LAUNCHES),
        "waits": times(WAITS),
        "read_back": times(("aten::_local_scalar_dense",)),  # `.item()`, `bool(...)`: each waits for the GPU
        "kernels": _longest(on_gpu, "self_device_time_total"),
        "operators": _longest(events, "self_cpu_time_total"),
    }


def _longest(events: Any, field: str) -> list[dict[str, Any]]:
    ordered = sorted(events, key=lambda event: -getattr(event, field))[:TOP]
    return [{"name": e.key[:120], "ms": getattr(e, field) / 1e3, "count": e.count} for e in ordered]
