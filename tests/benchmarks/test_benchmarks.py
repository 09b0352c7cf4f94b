"""The benchmark command on a toy network: what it writes, and its message for a mistake."""

import json
import subprocess
import sys

from refhcm.benchmarks.flops import Work
from refhcm.benchmarks.machine import Machine
from refhcm.benchmarks.report import table

SMALL = ["--arch=refhcm_test", "--symbols=9500", "--patch-image-size=64", "--runs=1", "--threads=1", "--device=cpu"]


def run(*arguments):
    command = [sys.executable, "-m", "refhcm", "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_table_and_numbers(tmp_path):
    done = run("qpg", "four_questions", "train", "train_recompute", "--dtype=float32", *SMALL, "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    rows = {row["case"]: row for row in json.loads((tmp_path / "results.json").read_text())["rows"]}
    assert set(rows) == {"qpg", "four_questions", "train", "train_recompute"}
    for row in rows.values():
        assert row["seconds"] > row["limit_s"] > 0  # nothing is faster than the machine
        assert row["whole_s"] > row["loaded_s"] > 0
        assert row["peak_bytes"] > 2**27
    assert rows["four_questions"]["baseline_s"] > 0
    kept, again = (rows[name]["tensors_peak_bytes"] for name in ("train", "train_recompute"))
    assert kept > again > 2 * 4 * 9500 * 64  # weights and gradients, of the symbols alone
    table = (tmp_path / "results.md").read_text()
    assert "| qpg | float32 |" in table
    assert "GFLOP/s" in table


def test_the_limit_by_hand():
    """40 operations at 10/s and 10 reads of 2 bytes at 4/s: 4 s + 5 s."""
    assert Machine(flops=10, bandwidth=4).seconds(Work(flops=40, reads=10), 2) == 9


def test_a_line_of_the_table():
    row = {"case": "rec", "dtype": "float32", "seconds": 1.5, "limit_s": 0.5, "whole_s": 7.0, "loaded_s": 3.0}
    row |= {"peak_bytes": 2**31, "tensors_peak_bytes": 2**30, "baseline_s": 6.0, "machine_flops": 2e9}
    setting = {"arch": "refhcm", "size": 512, "batch": 1, "beam": 5, "device": "cpu", "threads": 2, "runs": 3}
    lines = table({"setting": setting, "rows": [row | {"machine_bandwidth": 3e9}]}).splitlines()
    assert lines[-2:] == ["", "Machine, float32: 2 GFLOP/s, 3.0 GB/s read."]
    assert "| rec | float32 | 1.500 | 0.500 | 3.00 | 7.0 | 3.0 | 2.00 | 1.00 | 4.00 |" in lines


def test_an_unknown_path_is_a_sentence(tmp_path):
    done = run("fly", *SMALL, "--out", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown path fly; choose from encoder, rec")
    assert not (tmp_path / "results.json").exists()
