"""Files that nobody should trust: one line each, within a second and 200 MB of a process that has done its imports."""

import os
import resource
import signal
import sys
import time
import traceback
from pathlib import Path

import pytest
from hostile import GOOD, World, cases

from refhcm.apps.cli import main as cli

SECONDS, MEGABYTES = 1.0, 200


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("hostile"))


def ask(world):
    """Status, output, CPU seconds and MB above idle of `refhcm ask`, in a fork that has done its imports."""
    err = world.folder / "err"
    wall = time.monotonic()
    child = os.fork()
    if child == 0:
        out = os.open(err, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 2), os.dup2(out, 1)
        sys.stderr = os.fdopen(2, "w")
        sys.stdout = os.fdopen(1, "w")
        signal.alarm(60)
        before, status = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 99
        try:
            files = ["--checkpoint", str(world.model), "--bpe-dir", str(world.bpe), "--tokenizer", str(world.vqgan)]
            status = cli.main(["ask", str(world.folder / "a.png"), "--text", "a man", "--device", "cpu", *files])
        except Exception:
            traceback.print_exc()
        finally:
            used = resource.getrusage(resource.RUSAGE_SELF)
            (world.folder / "used").write_text(f"{used.ru_utime + used.ru_stime} {(used.ru_maxrss - before) / 1024}")
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(status)
    _, status = os.waitpid(child, 0)
    cpu, memory = map(float, (world.folder / "used").read_text().split())
    lines = Path(err).read_text(errors="replace").splitlines()
    return os.waitstatus_to_exitcode(status), lines, min(cpu, time.monotonic() - wall), memory


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's, of sparse and quantized weights
def test_two_hundred_bad_files(world, capfd):
    ask(world)
    failed, worst, count = [], [0.0, 0.0], 0
    for name, spoil in cases():
        world.write()
        spoil(world)
        status, lines, seconds, memory = ask(world)
        count += 1
        worst = [max(pair) for pair in zip(worst, (seconds, memory), strict=True)]
        fine = status == 2 and len(lines) == 1 and lines[0].startswith("error: ") and len(lines[0]) < 700
        if not fine or seconds > SECONDS or memory > MEGABYTES:
            failed.append(f"{name}: status {status}, {seconds:.2f} s, {memory:.0f} MB: {lines[-1:]}")
    with capfd.disabled():
        print(f"\n{count} files: at most {worst[0]:.2f} s and {worst[1]:.0f} MB")
    assert count >= 200
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("name", GOOD)
def test_odd_files_that_can_be_used(world, name):
    world.write()
    GOOD[name](world)
    status, lines, _, _ = ask(world)
    assert status == 0, lines
