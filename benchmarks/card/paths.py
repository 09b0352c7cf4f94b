"""Every answering path by batch and beam, beside what the device could reach at best."""

import statistics
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import torch

from ..cases import CASES, Setting
from ..child import peak_bytes
from ..machine import Machine, measure, timed
from .settings import Part, answering, cuda_graphs, reset_peak

SECONDS, MOST = 2.0, 10  # of repeated calls
BEAMS = (5, 1)
WITHOUT_BEAM = {"encoder", "qpg"}


def run(part: Part) -> None:
    """One row for each path, batch, beam and number format, the formats one after the other.

    On a GPU, the first format comes without CUDA graphs and with them.
    """
    known: dict[str, tuple[Setting, Machine]] = {}

    def setting_of(form: str) -> tuple[Setting, Machine]:
        if form not in known:
            known.clear()  # before the next network needs the memory
            dtype = getattr(torch, form)
            known[form] = answering(part.size, part.device, dtype), measure(part.device, dtype)
        return known[form]

    def one(name: str, form: str, batch: int, beam: int, *, graphs: bool) -> dict[str, Any]:
        setting, machine = setting_of(form)
        row = {"path": name, "format": form, "batch": batch, "beam": beam, "graphs": graphs}
        with cuda_graphs(setting.network, graphs):
            return row | time_path(name, replace(setting, batch=batch, beam=beam), machine)

    jobs: dict[str, Callable[[], dict[str, Any]]] = {}
    for form in part.size.formats:
        for batch in part.size.batches:
            for name in part.size.cases:
                both = part.device.type == "cuda" and form == part.size.formats[0] and name != "encoder"
                beams, ways = (1,) if name in WITHOUT_BEAM else BEAMS, (False, True) if both else (False,)
                for beam, graphs in product(beams, ways):
                    title = f"{name}, {form}, batch {batch}, beam {beam}{', graphs' if graphs else ''}"
                    jobs[title] = partial(one, name, form, batch, beam, graphs=graphs)
    part.each(jobs)


def time_path(name: str, setting: Setting, machine: Machine) -> dict[str, Any]:
    """Median seconds of a call, its least time here, and peak memory."""
    case, device = CASES[name](setting), setting.device
    first = timed(case.run, device)
    reset_peak(device)
    times = [timed(case.run, device)]
    while sum(times) < SECONDS and len(times) < MOST:
        times.append(timed(case.run, device))
    number_bytes = setting.dtype.itemsize
    return {
        "first_s": first,
        "seconds": statistics.median(times),
        "runs": len(times),
        "limit_s": machine.seconds(case.work, number_bytes),
        "flops": case.work.flops,
        "reads_bytes": case.work.reads * number_bytes,
        "peak_bytes": peak_bytes(device),
        "machine_flops": machine.flops,
        "machine_bandwidth": machine.bandwidth,
    }
