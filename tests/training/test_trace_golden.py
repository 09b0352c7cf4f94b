"""The real train.py against the published trainer's updates (golden/trace)."""

import subprocess
import sys

import pytest
from golden_folder import names, numbers
from scripts import ROOT, updates
from trace_flags import trace_flags

pytest.importorskip("fairseq")
# up to update n: relative tolerance of the loss and of the gradient norm (golden/README.md)
TOLERANCES = [(3, 1e-5, 2e-3), (None, 6e-5, 8e-3)]
# Once rounding changes which of the worst positions are dropped, a run takes another course.
TOLERANCES_OF_DROPPING = [(6, 5e-5, 6e-3), (20, 2e-4, 7e-2), (None, 4e-4, 0.2)]


@pytest.mark.parametrize("trace", names("trace/trace_*.json"))
def test_trace(trace, text, golden_data, golden_checkpoint, bpe_dir, tmp_path):
    flags = trace_flags(trace, data=golden_data, text=text, checkpoint=golden_checkpoint)
    dropping = any(flag.startswith("--drop-worst-ratio") for flag in flags)
    start = golden_checkpoint("trace_init")
    command = [
        *[sys.executable, str(ROOT / "train.py"), *flags, "--arch=refhcm", f"--bpe-dir={bpe_dir}"],
        *["--criterion=adjust_label_smoothed_cross_entropy", "--optimizer=adam", "--lr-scheduler=polynomial_decay"],
        *["--curriculum=100", "--num-workers=0", "--log-format=json", "--log-interval=1"],
        *["--disable-validation", "--save-interval=100", "--no-epoch-checkpoints", "--seed=7"],
        *[f"--restore-file={start}", "--reset-optimizer", "--reset-dataloader", "--reset-meters"],
        *[f"--save-dir={tmp_path}"],
        *(["--checkpoint-activations"] if "full_mask" in trace else []),  # computing again changes no number
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    ours, theirs = updates(done.stdout), numbers(f"trace/trace_{trace}")["updates"]
    assert len(ours) == len(theirs)
    for number, (mine, published) in enumerate(zip(ours, theirs, strict=True), start=1):
        tolerances = TOLERANCES_OF_DROPPING if dropping else TOLERANCES
        loss, norm = next((loss, norm) for last, loss, norm in tolerances if last is None or number <= last)
        assert float(mine["loss"]) == pytest.approx(published["loss"], rel=loss + 5e-6), number  # logged to 6 digits
        assert float(mine["gnorm"]) == pytest.approx(published["gnorm"], rel=norm, abs=2e-3), number
        assert float(mine["sample_size"]) == published["sample_size"]
        assert float(mine["lr"]) == pytest.approx(published["lr_after"], rel=1e-5, abs=1e-12)
