"""The run that measures a card: its budgets, what it reads and writes, and the whole of it on a small network."""

import json
import subprocess
import sys
import time

import pytest
import torch

from refhcm.benchmarks.card import goldens, wheels
from refhcm.benchmarks.card.page import page
from refhcm.benchmarks.card.settings import GOLDEN, SIZES, Part
from refhcm.benchmarks.card.training import numbers
from refhcm.utils.errors import UserError

CPU = torch.device("cpu")


def part_in(folder, seconds=60.0):
    return Part(SIZES["test"], CPU, seconds, folder / "part.json")


def test_a_failure_costs_one_row(tmp_path):
    def broken():
        raise MemoryError("too large")

    part_in(tmp_path).each({"a": lambda: {"x": 1}, "b": broken, "c": lambda: {"x": 3}})
    found = json.loads((tmp_path / "part.json").read_text())
    assert found["rows"] == [{"name": "a", "x": 1}, {"name": "c", "x": 3}]
    assert found["failed"] == {"b": "MemoryError: too large"}
    assert found["left_out"] == []


def test_results_are_saved_as_they_come_and_the_budget_ends_them(tmp_path):
    part = part_in(tmp_path, seconds=1.0)

    def second():
        assert len(json.loads(part.path.read_text())["rows"]) == 1
        time.sleep(1.05)
        return {}

    part.each({"a": dict, "b": second, "c": dict})
    found = json.loads(part.path.read_text())
    assert [row["name"] for row in found["rows"]] == ["a", "b"]
    assert found["left_out"] == ["c"]


def test_no_time_at_all(tmp_path):
    part_in(tmp_path, seconds=0.0).each({"a": dict})
    assert json.loads((tmp_path / "part.json").read_text())["left_out"] == ["a"]


def test_medians_of_a_log():
    line = '2026 | INFO | train_inner | {"epoch": 1, "ups": "%s", "stall": "%s"}'
    log = "\n".join(line % (ups, ups) for ups in (100, 100, 100, 2, 9, 4))  # the first three are warm-up
    assert numbers(log, CPU) == {"updates_per_s": 4, "stall_s": 4}
    with pytest.raises(UserError, match="logged 0 lines"):
        numbers("nothing", CPU)


def test_float32_is_near_and_bfloat16_is_not(tmp_path):
    file = GOLDEN / "model" / "model_refcoco.json"
    full, half = (goldens.compare(file, form, CPU, tmp_path) for form in ("float32", "bfloat16"))
    assert full["near"]
    for key in ("argmax", "answers"):
        same, count = full[key]
        assert same == count > 0
    assert not half["near"]
    assert half["logits"] > full["logits"]


def test_the_page_names_what_is_missing(tmp_path):
    machine = {"device": "cuda", "name": "H0", "torch": "2", "python": "3.12", "cpus": 1}
    parts = {"training": {"ended": "ok"}, "drawn": {"ended": "killed"}}
    (tmp_path / "run.json").write_text(json.dumps({"machine": machine, "size": "test", "seconds": 3, "parts": parts}))
    row = {"name": "autocast", "format": "autocast", "recomputed": False, "batch": 8}
    row |= {"updates_per_s": 2.5, "stall_s": 0.25, "peak_bytes": 3 * 2**30}
    content = {"rows": [row], "failed": {"bfloat16": "X:\nY"}, "left_out": ["float16"]}
    (tmp_path / "training.json").write_text(json.dumps(content))
    lines = page(tmp_path).splitlines()
    assert lines[0] == "# H0"
    assert "| autocast | False | 8 | 2.50 | 20.0 | 0.250 | 3.00 |" in lines
    assert "Failed: bfloat16: X: Y" in lines
    assert "Not measured, for want of time: float16." in lines
    assert "This part ended early: killed" in lines


def test_wheels_follow_the_project(tmp_path):
    assert wheels.requirement("timm") == "timm>=1.0,<2"
    assert wheels.requirement("fairseq-fixed") == "fairseq-fixed==0.12.3.1"
    assert wheels.requirement("cffi") == "cffi"
    with pytest.raises(SystemExit, match="no wheels there"):
        wheels.install(tmp_path, tmp_path / "venv")
    (tmp_path / "old.whl").touch()
    with pytest.raises(SystemExit, match="is not empty"):
        wheels.bundle(tmp_path, [], python_version="3.12")


def test_a_card_that_is_not_there(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    done = run("--device=cuda", f"--out={tmp_path}")
    assert done.returncode == 2
    assert done.stderr == "error: --device cuda: torch sees no GPU here\n"


def run(*arguments, before=()):
    command = [*before, sys.executable, "-m", "refhcm.benchmarks.card", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)


@pytest.mark.slow
def test_the_whole_run(tmp_path):
    """Where the system allows it, without any network."""
    offline = ["unshare", "--net"]
    try:
        subprocess.run([*offline, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        offline = []
    done = run("--device=cpu", "--size=test", "--seconds=600", f"--out={tmp_path}", before=offline)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {
        name: json.loads((tmp_path / f"{name}.json").read_text())["rows"]
        for name in ("goldens", "drawn", "paths", "profiles", "training")
    }
    assert all(row["near"] for row in rows["goldens"] if row["format"] == "float32")
    assert rows["drawn"][0]["same_numbers"] == rows["drawn"][0]["same_labels"] == 1  # compared with itself
    assert {(row["path"], row["batch"], row["beam"]) for row in rows["paths"]} >= {("rec", 1, 5), ("qpg", 2, 1)}
    assert all(row["seconds"] > row["limit_s"] > 0 for row in rows["paths"])
    assert all(row["operators"] for row in rows["profiles"])
    assert all(row["updates_per_s"] > 0 for row in rows["training"])
    assert "| rec |" in (tmp_path / "page.md").read_text()
