"""Where the work runs: device, number format, and the ranks that `torchrun` started."""

import atexit
import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from .errors import UserError, reason_of

PATIENCE = timedelta(days=1)  # for the slowest rank; if one fails, torchrun ends them all


def pick_device(*, cpu: bool = False) -> torch.device:
    """This rank's GPU; the CPU if there is none or `cpu` asks for it."""
    if cpu or not torch.cuda.is_available():
        return torch.device("cpu")
    choose_kernels()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device


def choose_kernels() -> None:
    """Turns off cuDNN's attention: torch 2.11 plans it again for each shape, and every step of decoding has another."""
    torch.backends.cuda.enable_cudnn_sdp(False)


def pick_dtype(*, fp16: bool, bf16: bool) -> torch.dtype:
    """The network's number format."""
    if fp16 and bf16:
        raise UserError("--fp16 and --bf16 exclude each other")
    return torch.float16 if fp16 else torch.bfloat16 if bf16 else torch.float32


def ranks() -> tuple[int, int]:
    """(rank, number of ranks) from `torchrun`'s environment; (0, 1) without it."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def start_ranks(device: torch.device) -> tuple[int, int]:
    """Joins `torchrun`'s process group, if any; returns `ranks()`."""
    rank, world = ranks()
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
        atexit.register(dist.destroy_process_group)  # gloo's threads may abort a process that ends without
    return rank, world


def gather(items: list[Any]) -> list[Any]:
    """The items of all ranks, in rank order, on every rank. UserError if another rank has ended."""
    if not (dist.is_available() and dist.is_initialized()):
        return items
    parts: list[list[Any]] = [[] for _ in range(dist.get_world_size())]
    try:
        dist.all_gather_object(parts, items)
    except RuntimeError as error:  # a library's, of a connection that was closed
        raise UserError(f"another rank has ended, see its error ({reason_of(error)})") from error
    return [item for part in parts for item in part]


def move(value: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """A nested mapping with its tensors on `device`, floating-point ones as `dtype`; anything else unchanged."""
    if isinstance(value, Tensor):
        return value.to(device, dtype if value.is_floating_point() else None, non_blocking=True)
    if isinstance(value, Mapping):
        return {name: move(item, device, dtype) for name, item in value.items()}
    return value
