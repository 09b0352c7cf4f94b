"""Running the real scripts: shared by the tests of training."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Of results.json, which scores the small model.
KEYS = {
    "rec.acc", "rec.invalid", "rkpt.box_acc", "rkpt.oks_share", "rkpt.oks_ap", "rpar.miou", "rpar.tokenizer_miou",
    "rpar_full_mask.miou", "rhrc.cider_d", "unseen.rec_acc",
    "rkpt_by_box.oks_share", "grec.pr_f1", "grec.n_acc", "grec.t_acc", "grec.blank", "grec.other",
    "rpar_by_box.miou", "rec.box_ece", "rec.box_auroc", "rkpt.keypoints_ece", "rkpt.keypoints_auroc", "rpar.parts_ece",
    "rpar.parts_auroc", "grec.found_ece", "grec.found_auroc",
}  # fmt: skip
TINY = ["--encoder-embed-dim=32", "--encoder-ffn-embed-dim=32", "--resnet-width=8"]


def run_script(script, *arguments, check=True, timeout=600, **environment):
    """A script of run_scripts/ in its small size on this interpreter; the finished process."""
    plain = {
        "SIZE": "test",
        "PYTHON": sys.executable,
        "NUM_WORKERS": "0",
    }
    environment = os.environ | plain | {name: str(value) for name, value in environment.items()}
    command = ["bash", str(ROOT / "run_scripts" / script), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout, check=False)
    assert not check or done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done


def run(command, *, check=True):
    """A command; the finished process."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert not check or done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done


def run_two(command):
    """The same in two processes; its log."""
    python, *rest = command
    two = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return run([python, *two, *rest]).stdout


def updates(log):
    """Statistics of each update, from a log with `--log-format json --log-interval 1`."""
    return [json.loads(line) for line in re.findall(r"train_inner \| (\{.*\})", log)]


def training_command(world, save_dir, *arguments):
    """A short REC training on the drawn world, in one process."""
    table = world / "rkpt" / "train.tsv"
    return [
        sys.executable,
        str(ROOT / "train.py"),
        f"{table},{world / 'rkpt' / 'val.tsv'}",
        *["--task=refcoco", "--arch=refhcm_test", "--selected-cols=0,5,2,3", *TINY],
        *[f"--bpe-dir={world / 'bpe'}", "--num-bins=100", "--code-dict-size=96", "--patch-image-size=64"],
        *["--criterion=adjust_label_smoothed_cross_entropy", "--label-smoothing=0.1", "--optimizer=adam"],
        *["--lr-scheduler=polynomial_decay", "--lr=1e-3", "--warmup-ratio=0.1", "--clip-norm=1", "--batch-size=2"],
        *["--max-epoch=2", "--log-format=json", "--log-interval=1", "--num-workers=0", "--disable-validation"],
        *[f"--save-dir={save_dir}", "--no-epoch-checkpoints", "--freeze-resnet", *arguments],
    ]
