"""One path in a process of its own, so that its memory is its own: prints one line of JSON."""

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

BEGIN = time.perf_counter()  # importing torch is part of what a whole process takes

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
    """Loads the network as a user's program does. A training has float32 weights; its dtype is autocast's."""
    choose_kernels()
    device, dtype = torch.device(order["device"]), getattr(torch, order["dtype"])
    training = order["case"].startswith("train")
    weights_dtype = torch.float32 if training else dtype
    checkpoint = read_checkpoint(order["checkpoint"], mmap=True)
    flags = checkpoint.flags() | {"checkpoint_activations": order["case"] == "train_recompute"}
    checkpoint = replace(checkpoint, args=flags)
    network = load_network(checkpoint, order["symbols"], device=device, dtype=weights_dtype)
    network = network.train() if training else network.for_answers()
    if device.type == "cpu":
        keep_freed_memory()
    return Setting(network, order["size"], device, dtype)


def peak_bytes(device: torch.device) -> int:
    """Most memory so far: of the process on a CPU, of torch's allocator on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


def peak_of_tensors(step: Callable[[], object], network: Network) -> int:
    """Most bytes of weights, gradients and other tensors at once in a training step, as torch's allocator counts them.

    On a CPU a process holds more: libraries, scratch memory of products, and what glibc keeps between tensors.
    """
    network.zero_grad(set_to_none=True)
    start = sum(tensor.nbytes for tensor in {*network.parameters(), *network.buffers()})
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step()
    events = (event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]")
    sizes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return start + max(accumulate(sizes))


def run(order: dict[str, Any]) -> dict[str, Any]:
    """Seconds of the first call with all before it, then the median of `runs` more, and the limit."""
    torch.set_num_threads(order["threads"])
    torch.manual_seed(0)
    setting = setting_of(order)
    loaded = time.perf_counter() - BEGIN
    case = CASES[order["case"]](setting)
    timed(case.run, setting.device)
    found = {"loaded_s": loaded, "whole_s": time.perf_counter() - BEGIN, "peak_bytes": peak_bytes(setting.device)}
    times, baselines = [], []
    for _ in range(order["runs"]):  # in turn, so that a busy moment meets both
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
    """A network of this size with random weights, in a checkpoint's form."""
    torch.manual_seed(0)
    flags = {"arch": arch}
    network = Network(NetworkConfig.from_args(flags), symbols)
    torch.save({"args": flags, "model": network.state_dict()}, path)


def main() -> None:
    """The order comes as JSON in the first argument."""
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
