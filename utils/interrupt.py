"""Ending early: Ctrl-C during long work, and the end of the script that started this process."""

import os
import signal
import threading
import time
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


def end_with_script() -> None:
    """Ends this process by SIGTERM a second after the script that started it, however that ended.

    A script that is killed cannot end what it started, and the next run would train beside what is left.
    """
    script = os.environ.get(SCRIPT, "")
    if script.isdecimal():
        threading.Thread(target=_outlive, args=(int(script), os.getppid()), daemon=True).start()


def _outlive(script: int, parent: int) -> None:
    while _runs(script) and os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(5)  # for a handler that cleans up
    os._exit(128 + signal.SIGTERM)


def _runs(process: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        os.kill(process, 0)
        state = Path(f"/proc/{process}/stat")
        return not state.exists() or state.read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
