"""fairseq's own `fairseq-train` with the repository as `--user-dir`, beside `train.py`."""

import subprocess
import sys

import pytest
from scripts import ROOT, run, training_command, updates

pytest.importorskip("fairseq")
MODULE = ["-m", "fairseq_cli.train"]  # what `fairseq-train` runs


@pytest.mark.slow
def test_fairseq_train_has_the_losses_of_train_py(world, tmp_path):
    """Over 20 updates, which reach the second epoch, with dropout; also from a clone of another name."""
    clone = tmp_path / "RefHCM-main"
    clone.symlink_to(ROOT)
    flags = ["--task=rkpt", "--dropout=0.1", "--optimizer=fused_adam"]
    flags += ["--warmup-updates=2", "--total-num-update=20", "--max-update=20", "--no-last-checkpoints"]
    _, _, *arguments = training_command(world, tmp_path / "run", *flags)
    arguments = [flag for flag in arguments if not flag.startswith(("--warmup-ratio", "--selected-cols"))]
    ours = updates(run([sys.executable, ROOT / "train.py", *arguments]).stdout)
    assert len(ours) == 20
    command = [sys.executable, *MODULE, f"--user-dir={ROOT}", *arguments]
    halves = [flag for flag in command if not flag.startswith(("--no-last-checkpoints", "--save-dir", "--max-update"))]
    halves += [f"--save-dir={tmp_path / 'halves'}"]
    found = [updates(run([*halves, f"--max-update={count}"]).stdout) for count in (10, 20)]
    assert [u["loss"] for half in found for u in half] == [u["loss"] for u in ours]  # it resumes
    for user_dir in (ROOT, clone):
        found = updates(run([sys.executable, *MODULE, f"--user-dir={user_dir}", *arguments]).stdout)
        assert [(u["loss"], u["lr"]) for u in found] == [(u["loss"], u["lr"]) for u in ours]


@pytest.mark.slow
def test_fairseq_train_names_a_bad_row(world, tmp_path):
    table = tmp_path / "train.tsv"
    first, *rows = (world / "rkpt" / "train.tsv").read_text().splitlines(keepends=True)
    cells = first.split("\t")
    cells[3] = "1,2,3"  # the box
    table.write_text("".join(["\t".join(cells), *rows]))
    python, _, _, *arguments = training_command(world, tmp_path / "run", "--task=rkpt", "--max-update=20")
    arguments = [flag for flag in arguments if not flag.startswith(("--warmup-ratio", "--selected-cols"))]
    command = [python, *MODULE, str(table), f"--user-dir={ROOT}", *arguments, "--total-num-update=20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode != 0
    assert f"{table}:1: column box: " in done.stdout + done.stderr
