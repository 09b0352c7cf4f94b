"""Memory of this process: glibc's heap and the pages of mapped files. Linux only; elsewhere nothing happens."""

from __future__ import annotations

import ctypes
import mmap
import sys
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # parameters of glibc's mallopt
ALIGNMENT = 64  # bytes, as torch allocates
GROWTH = 256 * 2**20  # bytes by which the heap grows each time
KEEPING = {MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: GROWTH}
DEFAULTS = {MMAP_MAX: 65536, TRIM_THRESHOLD: 128 * 1024, TOP_PAD: 128 * 1024}  # glibc's, of mallopt(3)
PAGEOUT = 21  # MADV_PAGEOUT of Linux 5.4


@cache
def _libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _set(parameters: dict[int, int]) -> None:
    mallopt = getattr(_libc(), "mallopt", None)  # not in musl
    if mallopt is not None:
        for parameter, value in parameters.items():
            mallopt(parameter, value)


def keep_freed_memory() -> None:
    """Makes glibc reuse freed memory.

    Otherwise the system clears new memory for each large tensor, which takes up to a third of a step on a CPU.
    The process then holds up to 2 GiB that it has freed.
    """
    _set(KEEPING)


def stop_keeping_freed_memory() -> None:
    """Undoes `keep_freed_memory`, for a process that is not ours alone: what is free goes back to the system."""
    _set(DEFAULTS)
    return_freed_memory()


def return_freed_memory() -> None:
    """Gives the system back what this process has freed, `keep_freed_memory` or not."""
    trim = getattr(_libc(), "malloc_trim", None)  # not in musl
    if trim is not None:
        trim(0)


def aligned(tensor: Tensor) -> Tensor:
    """The tensor, or a copy where torch allocates: elsewhere kernels are slower, and may round in another order."""
    return tensor.clone() if tensor.device.type == "cpu" and tensor.data_ptr() % ALIGNMENT else tensor


def page_out(tensor: Tensor) -> None:
    """Frees the memory of a tensor that was read from a mapped file, which is read again when needed.

    Safe for every tensor: the system keeps what no file holds.
    """
    madvise = getattr(_libc(), "madvise", None)
    if madvise is None or tensor.device.type != "cpu":
        return
    begin = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    end = (tensor.data_ptr() + tensor.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if end > begin:
        madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), PAGEOUT)
