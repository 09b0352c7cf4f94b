"""Scripts that are ended: nothing that they started runs on, and a rank's end by a signal is explained."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import refhcm
from scripts import ROOT

TRAINS = """
import os, sys, time
sys.path.insert(0, {root!r})
from refhcm.utils.interrupt import end_with_script
end_with_script()
if os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "1":
    sys.exit(print("resumed"))
open(sys.argv[1] + os.environ.get("RANK", "0"), "w").write(str(os.getpid()))
time.sleep(60)
"""


@pytest.fixture
def trains(tmp_path):
    """A stand-in for train.py that notes its process id and sleeps."""
    path = tmp_path / "trains.py"
    path.write_text(TRAINS.format(root=str(ROOT)))
    return path


def script(tmp_path, trains, *, gpus, under=(), restarts=0):
    """A running script that starts `trains` as the published ones start train.py. under: a command that starts it."""
    (tmp_path / "script.sh").write_text(
        f"source {ROOT}/run_scripts/common.sh\nlaunch $TRAINS {tmp_path}/rank\necho went on\n"
    )
    relative = os.path.relpath(trains, ROOT)
    environment = os.environ | {"PYTHON": sys.executable, "GPUS": str(gpus), "TRAINS": relative}
    environment |= {"RESTARTS": str(restarts)}
    environment.pop("REFHCM_SCRIPT", None)
    return subprocess.Popen(
        [*under, "bash", tmp_path / "script.sh"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def started(tmp_path, count):
    """Process ids of all ranks."""
    for _ in range(600):
        files = [path for path in tmp_path.glob("rank*") if path.read_text()]
        if len(files) == count:
            return [int(path.read_text()) for path in files]
        time.sleep(0.1)
    raise AssertionError("the ranks did not start")


def gone(processes, seconds):
    """Whether all have ended within so many seconds."""
    end = time.monotonic() + seconds
    while any(Path(f"/proc/{process}").exists() for process in processes):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.parametrize(("gpus", "sent"), [(1, signal.SIGKILL), (1, signal.SIGTERM), (2, signal.SIGKILL)])
def test_nothing_outlives_the_script(gpus, sent, trains, tmp_path):
    running = script(tmp_path, trains, gpus=gpus)
    processes = started(tmp_path, gpus)
    running.send_signal(sent)
    assert gone(processes, 10)
    assert "went on" not in running.communicate(timeout=10)[0]


def test_ctrl_c_is_one_line(trains, tmp_path):
    """A terminal sends it to the whole group, but ranks have groups of their own."""
    running = script(tmp_path, trains, gpus=2)
    processes = started(tmp_path, 2)
    os.killpg(running.pid, signal.SIGINT)
    _, err = running.communicate(timeout=40)
    assert running.returncode == 130
    assert [line for line in err.splitlines() if "interrupted" in line] == [
        "interrupted; run the same command again to resume"
    ]
    assert gone(processes, 10)


def test_nohup_lasts(trains, tmp_path):
    """torchrun would end with the terminal."""
    running = script(tmp_path, trains, gpus=2, under=["nohup"])
    processes = started(tmp_path, 2)
    os.killpg(running.pid, signal.SIGHUP)
    time.sleep(2)
    assert running.poll() is None
    running.terminate()
    assert gone(processes, 10)
    running.communicate(timeout=10)


def test_a_single_process_that_is_killed(trains, tmp_path):
    running = script(tmp_path, trains, gpus=1)
    os.kill(*started(tmp_path, 1), signal.SIGKILL)
    out, err = running.communicate(timeout=10)
    assert running.returncode == 128 + signal.SIGKILL
    assert err.splitlines()[-1].startswith("error: ended by SIGKILL: the machine probably ran out of memory")
    assert "went on" not in out


@pytest.mark.parametrize(
    ("sent", "cause"),
    [
        ("SIGKILL", "ran out of memory"),
        ("SIGBUS", "/dev/shm may be full"),
        ("SIGABRT", "run the same command again to resume"),
    ],
)
def test_a_killed_rank_is_named(sent, cause, tmp_path):
    dies = tmp_path / "dies.py"
    dies.write_text(
        f"import os, signal, time\nos.kill(os.getpid(), signal.{sent}) if os.environ['RANK'] == '1' else time.sleep(60)"
    )
    launch = [sys.executable, ROOT / "run_scripts" / "launch.py", "--standalone", "--nproc-per-node=2", dies]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(launch, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 128 + signal.Signals[sent]
    line = done.stderr.splitlines()[-1]
    assert line.startswith(f"error: rank 1 was ended by {sent}: ")
    assert cause in line


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "rows.tsv", "--path=none.pt", "--task=refcoco", "--results-path=file/results"],
        ["evaluate", "rows.tsv", "--path=none.pt", "--task=refcoco", "--results-path=.", "--metrics-path=file/m.json"],
        ["bench", "rec", "--out=file/bench"],
        ["demo", "--out=file/demo"],
        ["chain", "--image_path=none.jpg", "--text=a man", "--out=file/answer.png"],
        ["tokenizer", "encode", "--data=rows.tsv", "--vq-config=a", "--vq-ckpt=b", "--out=file/codes.tsv"],
        ["tokenizer", "score", "--data=rows.tsv", "--vq-config=a", "--vq-ckpt=b", "--out=file/score.json"],
    ],
)
def test_places_that_cannot_be_written_to_are_named_before_the_work(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert refhcm(*arguments) == 2
    assert "cannot be written to" in capsys.readouterr().err


def test_all_ranks_start_anew_when_one_has_failed(trains, tmp_path):
    running = script(tmp_path, trains, gpus=2, restarts=1)
    first, _ = started(tmp_path, 2)
    os.kill(first, signal.SIGKILL)
    out, _ = running.communicate(timeout=60)
    assert running.returncode == 0
    assert out.count("resumed") == 2
    assert "went on" in out
