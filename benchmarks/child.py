"""Times one path in its own process, so that peak memory is its own. Prints one line of JSON."""

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

BEGIN = time.perf_counter()  # before torch: its import counts towards the time of the first answer

import torch  # noqa: E402

from ..models.refhcm.config import NetworkConfig  # noqa: E402
from ..models.refhcm.loading import load_network  # noqa: E402
from ..models.refhcm.network import Network  # noqa: E402
from ..utils.checkpoints import read_checkpoint  # noqa: E402
from ..utils.devices import choose_kernels  # noqa: E402
from ..utils.memory import keep_freed_memory  # noqa: E402
from . import dataset  # noqa: E402
from .cases import CASES, Setting  # noqa: E402
from .machine import measure, timed  # noqa: E402


def setting_of(order: dict[str, Any]) -> Setting:
    """Loads the network as a user's program does. Training has float32 weights and uses the dtype for autocast."""
    choose_kernels()
    device, dtype = torch.device(order["device"]), getattr(torch, order["dtype"])
    training = order["case"].startswith("train")
    checkpoint = read_checkpoint(order["checkpoint"], mmap=True)
    flags = checkpoint.flags() | {"checkpoint_activations": order["case"] == "train_recompute"}
    checkpoint = replace(checkpoint, args=flags)
    weights_dtype = torch.float32 if training else dtype
    network = load_network(checkpoint, order["symbols"], device=device, dtype=weights_dtype)
    network = network.train() if training else network.for_answers()
    if device.type == "cpu":
        keep_freed_memory()
    return Setting(network, order["size"], device, dtype, batch=order["batch"], beam=order["beam"])


def peak_bytes(device: torch.device) -> int:
    """Peak memory so far: of the process on a CPU, of torch's allocator on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


def peak_of_tensors(step: Callable[[], object], network: Network) -> int:
    """Peak bytes of weights, gradients and all other tensors in a training step, as torch's allocator counts them.

    A process on a CPU holds more: libraries, scratch memory of matrix products, and gaps in glibc's heap.
    """
    network.zero_grad(set_to_none=True)
    start = sum(tensor.nbytes for tensor in {*network.parameters(), *network.buffers()})
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step()
    events = (event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]")
    sizes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return start + max(accumulate(sizes))


def run(order: dict[str, Any]) -> dict[str, Any]:
    """Seconds up to the end of the first call, the median of `runs` more calls, and the limit."""
    torch.set_num_threads(order["threads"])
    torch.manual_seed(0)
    setting = setting_of(order)
    loaded = time.perf_counter() - BEGIN
    case = CASES[order["case"]](setting)
    timed(case.run, setting.device)
    found = {"loaded_s": loaded, "whole_s": time.perf_counter() - BEGIN, "peak_bytes": peak_bytes(setting.device)}
    times, baselines = [], []
    for _ in range(order["runs"]):  # alternately, so that a busy moment slows both
        times.append(timed(case.run, setting.device))
        if case.baseline is not None:
            baselines.append(timed(case.baseline, setting.device))
    found |= {"seconds": statistics.median(times), "fastest_s": min(times)}
    found["repeated_peak_bytes"] = peak_bytes(setting.device)
    if order["case"].startswith("train") and setting.device.type == "cpu":
        found["tensors_peak_bytes"] = peak_of_tensors(case.run, setting.network)
    if baselines:
        found["baseline_s"] = statistics.median(baselines)
    dtype = getattr(torch, order["dtype"])
    machine = measure(setting.device, dtype)
    found |= {"flops": case.work.flops, "reads_bytes": case.work.reads * dtype.itemsize}
    found["limit_s"] = machine.seconds(case.work, dtype.itemsize)
    return found | {"machine_flops": machine.flops, "machine_bandwidth": machine.bandwidth}


def write_checkpoint(path: Path, arch: str, symbols: int) -> None:
    """Writes a checkpoint of this size with random weights."""
    torch.manual_seed(0)
    flags = {"arch": arch}
    network = Network(NetworkConfig.from_args(flags), symbols)
    torch.save({"args": flags, "model": network.state_dict()}, path)


def main() -> None:
    """The first argument is the order as JSON: a path to time, or `write` or `dataset`."""
    order = json.loads(sys.argv[1])
    if order["case"] == "write":
        write_checkpoint(Path(order["checkpoint"]), order["arch"], order["symbols"])
        print(json.dumps({}))
    elif order["case"] == "dataset":
        print(json.dumps(dataset.rates(Path(order["folder"]), size=order["size"])))
    else:
        print(json.dumps(run(order)))


if __name__ == "__main__":
    main()
