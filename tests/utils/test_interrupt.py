"""What a killed process has started ends, too."""

import os
import signal
import subprocess
import sys
import time

import pytest
from scripts import ROOT

from refhcm.utils import interrupt

STARTS = """
import multiprocessing, os, sys, time
from refhcm.utils.interrupt import end_with_script
from refhcm.utils.processes import processes

def work():
    print(os.getpid(), flush=True)
    time.sleep(60)

if __name__ == "__main__":
    end_with_script()
    if sys.argv[1] == "pool":
        with processes(1) as pool:
            pool.submit(work).result()
    multiprocessing.get_context("fork").Process(target=work).start()
    time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["fork", "pool"])
def test_workers_ignore_ctrl_c_and_end_with_their_parent(kind, tmp_path):
    (tmp_path / "starts.py").write_text(STARTS)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment.pop(interrupt.SCRIPT, None)
    command = [sys.executable, tmp_path / "starts.py", kind]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        os.kill(worker, signal.SIGINT)
        time.sleep(0.2)
        assert interrupt._runs(worker)
        parent.kill()
    for _ in range(50):
        if interrupt._runs(worker):
            time.sleep(0.1)
    assert not interrupt._runs(worker)


def test_which_processes_run(monkeypatch):
    child = subprocess.Popen(["sleep", "60"])
    assert interrupt._runs(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not interrupt._runs(child.pid)  # it has ended, and is not waited for
    child.wait()
    assert not interrupt._runs(child.pid)

    def refuse(process, number):
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)  # another user's
    assert interrupt._runs(1)
