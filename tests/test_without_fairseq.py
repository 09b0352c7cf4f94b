"""Asking a trained model needs no fairseq: everything on that side imports and answers without it."""

import argparse
import subprocess
import sys
from pathlib import Path

import torch

from refhcm.models.refhcm import Network, NetworkConfig
from refhcm.tasks.refcoco import ReferringComprehension
from refhcm.tasks.settings import TaskSettings

ROOT = Path(__file__).resolve().parent.parent
NEEDS_FAIRSEQ = {
    "refhcm.models.refhcm.fairseq_model",
    "refhcm.criterions.adjust_label_smoothed_cross_entropy",
    "refhcm.tasks.fairseq_adapter",
    "refhcm.tasks.training",
    "refhcm.tasks.checkpointing",
    "refhcm.train",
}
BLOCKED = """
import importlib, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("fairseq", "torchaudio", "hydra", "omegaconf"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
"""
IMPORT = """
for name in sys.argv[1:]:
    importlib.import_module(name)
"""
ANSWER = """
from refhcm.evaluate import make_parser, run
print(run(make_parser().parse_args(sys.argv[1:])))
"""


def run_blocked(code, *arguments, folder):
    command = [sys.executable, "-W", "error::ImportWarning", "-c", BLOCKED + code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def modules():
    """All modules of the packages and the evaluation script, as imported."""
    packages = ("data", "models", "tasks", "utils", "criterions")
    files = [path for package in packages for path in (ROOT / package).rglob("*.py") if path.name != "__main__.py"]
    names = {".".join(("refhcm", *path.relative_to(ROOT).with_suffix("").parts)) for path in files}
    return sorted(name.removesuffix(".__init__") for name in names | {"refhcm.evaluate"})


def test_only_the_adapters_need_fairseq(tmp_path):
    names = [name for name in modules() if name not in NEEDS_FAIRSEQ]
    assert {"refhcm.tasks", "refhcm.tasks.refcoco", "refhcm.models.generation", "refhcm.evaluate"} <= set(names)
    run_blocked(IMPORT, *names, folder=tmp_path)


def test_a_file_is_answered(world, tmp_path):
    task = ReferringComprehension.from_settings(TaskSettings(bpe_dir=str(world / "bpe")))
    size = {"arch": "refhcm_test", "resnet_width": 8, "patch_image_size": 64}
    network = Network(NetworkConfig.from_args(size), len(task.vocabulary))
    checkpoint = {"cfg": {"model": argparse.Namespace(**size)}, "model": network.state_dict()}
    torch.save(checkpoint, tmp_path / "tiny.pt")
    table = tmp_path / "one.tsv"
    rows = (world / "rkpt" / "val.tsv").read_text(encoding="utf-8").splitlines()
    table.write_text(rows[0] + "\n", encoding="utf-8")
    options = ["--task=refcoco", "--selected-cols=0,5,2,3", f"--bpe-dir={world / 'bpe'}", "--cpu", "--beam=2"]
    out = run_blocked(
        ANSWER, table, f"--path={tmp_path / 'tiny.pt'}", f"--results-path={tmp_path}", *options, folder=tmp_path
    )
    assert "'count': 1" in out
    assert (tmp_path / "one_predict.json").is_file()
