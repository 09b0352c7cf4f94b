"""Processes that share work."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

from .interrupt import begin_worker


@contextmanager
def processes(workers: int, begin: Callable[[], None] = begin_worker) -> Iterator[Executor]:
    """New processes that end with this one. If one is killed, so is the work: see `errors.exit_status`.

    begin: called in each of them; it calls `begin_worker`.
    """
    # spawn: a fork of a process with threads (progress bars and torch have some) may hang
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=begin)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
