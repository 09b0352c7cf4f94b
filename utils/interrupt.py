"""Ending early: Ctrl-C during long work, and the end of the script or process that started this one."""

import multiprocessing
import os
import signal
import threading
import time
from functools import cache
from multiprocessing.util import register_after_fork
from pathlib import Path

SCRIPT = "REFHCM_SCRIPT"  # environment: process id of the outermost script of run_scripts/


class Interrupt:
    """Within this context, the first Ctrl-C only sets `asked`, and the second interrupts at once."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> "Interrupt":
        self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _ask(self, *_: object) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, self._before)


@cache
def end_with_script() -> None:
    """Ends this process by SIGTERM a second after the script that started it, however that ended.

    A script that is killed cannot end what it started, and the next run would train beside what is left. The same holds
    for forks of this process, such as torch's data workers: see `begin_worker`.
    """
    script = os.environ.get(SCRIPT, "")
    if script.isdecimal():
        _end_with(int(script), os.getppid())
    register_after_fork(begin_worker, lambda begin: begin())


def begin_worker() -> None:
    """Called in a process that multiprocessing started: it ignores Ctrl-C, and ends a second after its parent.

    Ctrl-C reaches every process, and the parent handles it for all. A parent that is killed ends nothing; torch's own
    watch begins too late when that happens during a fork, and pools have none.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if parent := multiprocessing.parent_process():
        _end_with(parent.pid or 0)


def _end_with(*processes: int) -> None:
    threading.Thread(target=_outlive, args=processes, daemon=True).start()


def _outlive(*processes: int) -> None:
    while all(map(_runs, processes)):
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(5)  # for a handler that cleans up
    os._exit(128 + signal.SIGTERM)


def _runs(process: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except ProcessLookupError:
        return False
    except OSError:  # another user's, or a system without /proc
        return True
