"""Thirty updates of the real train.py against the published trainer's (golden/trace)."""

import json
import subprocess
import sys

import pytest
from scripts import ROOT, updates

pytest.importorskip("fairseq")
# up to update n: relative tolerance of the loss and of the gradient norm (golden/README.md)
TOLERANCES = {
    "refcoco": [(3, 1e-5, 2e-3), (30, 6e-5, 8e-3)],
    "rpar_full_mask": [(3, 1e-5, 2e-3), (30, 6e-5, 8e-3)],
    "rhrc": [(6, 5e-5, 6e-3), (20, 2e-4, 5e-2), (30, 4e-4, 0.2)],
}
FLAGS = {
    "refcoco": ["rkpt_rec.tsv", "--selected-cols=0,5,2,3", "--lr=3e-4", "--warmup-ratio=0.06"],
    # Recomputing changes no number.
    "rpar_full_mask": ["rpar.tsv", "--lr=1e-3", "--warmup-ratio=0.2", "--checkpoint-activations"],
    "rhrc": [
        *["rhrc.tsv", "--lr=5e-4", "--warmup-ratio=0.1", "--drop-worst-ratio=0.2", "--drop-worst-after=10"],
        *["--max-tgt-length=50", "--freeze-encoder-embedding", "--freeze-decoder-embedding"],
    ],
}


@pytest.mark.parametrize("task", FLAGS)
def test_trace(task, golden, golden_data, golden_checkpoint, bpe_dir, tmp_path):
    table, *flags = FLAGS[task]
    start = golden_checkpoint("trace_init")
    command = [
        *[sys.executable, str(ROOT / "train.py"), str(golden_data / table), f"--task={task}", *flags],
        *["--arch=refhcm_test", f"--bpe-dir={bpe_dir}", "--patch-image-size=128", "--dropout=0"],
        *["--encoder-drop-path-rate=0", "--decoder-drop-path-rate=0", "--label-smoothing=0.1", "--clip-norm=1"],
        *["--criterion=adjust_label_smoothed_cross_entropy", "--optimizer=adam", "--adam-betas=(0.9,0.999)"],
        *["--weight-decay=0.01", "--lr-scheduler=polynomial_decay", "--batch-size=2", "--update-freq=2"],
        *["--max-epoch=10", "--curriculum=100", "--num-workers=0", "--log-format=json", "--log-interval=1"],
        *[f"--annotation-root={golden_data / 'rpar_annos'}", "--disable-validation", "--save-interval=100"],
        *[f"--restore-file={start}", "--reset-optimizer", "--reset-dataloader", "--reset-meters"],
        *[f"--save-dir={tmp_path}", "--no-epoch-checkpoints", "--seed=7"],
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    ours, theirs = updates(done.stdout), json.loads((golden / "trace" / f"trace_{task}.json").read_text())["updates"]
    assert len(ours) == len(theirs) == 30
    for number, (mine, published) in enumerate(zip(ours, theirs, strict=True), start=1):
        loss, norm = next((loss, norm) for last, loss, norm in TOLERANCES[task] if number <= last)
        assert float(mine["loss"]) == pytest.approx(published["loss"], rel=loss + 5e-6), number  # logged to 6 digits
        assert float(mine["gnorm"]) == pytest.approx(published["gnorm"], rel=norm, abs=2e-3), number
        assert float(mine["sample_size"]) == published["sample_size"]
        assert float(mine["lr"]) == pytest.approx(published["lr_after"], rel=1e-5, abs=1e-12)
