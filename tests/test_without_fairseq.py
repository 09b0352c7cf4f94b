"""Asking a trained model needs no fairseq: everything on that side imports and answers without it."""

import argparse
import subprocess
import sys
from pathlib import Path

import pytest
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
ASK = """
import numpy as np, refhcm
model = refhcm.load(sys.argv[1], bpe_dir=sys.argv[2], device="cpu")
image = np.zeros((40, 50, 3), np.uint8)
few = refhcm.GenerationSettings(beam=2, max_len_b=8, min_len=1)
print(model.refer(image, "a man").box_xyxy is not None)
model.refer(image, ["a man", "a woman"], keypoints=True)
print(len(model.describe(image, [[1, 2, 30, 40]])))
print(type(model.instruct(image, "what is it?", generation=few)).__name__)
model.chain(image, "a man", keypoints=True, generation=few).to_json()
"""
LIGHT = """
import refhcm
print(sorted(name for name in ("torch", "numpy", "PIL") if name in sys.modules))
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
    return sorted(name.removesuffix(".__init__") for name in names | {"refhcm.evaluate", "refhcm.demo_s1"})


def test_only_the_adapters_need_fairseq(tmp_path):
    names = [name for name in modules() if name not in NEEDS_FAIRSEQ]
    assert {"refhcm.tasks", "refhcm.tasks.refcoco", "refhcm.models.generation", "refhcm.evaluate"} <= set(names)
    run_blocked(IMPORT, *names, folder=tmp_path)


@pytest.fixture(scope="module")
def checkpoint(world, tmp_path_factory):
    """A random network's."""
    task = ReferringComprehension.from_settings(TaskSettings(bpe_dir=str(world / "bpe")))
    size = {"arch": "refhcm_test", "resnet_width": 8, "patch_image_size": 64}
    network = Network(NetworkConfig.from_args(size), len(task.vocabulary))
    path = tmp_path_factory.mktemp("network") / "tiny.pt"
    torch.save({"cfg": {"model": argparse.Namespace(**size)}, "model": network.state_dict()}, path)
    return path


def test_questions_are_answered(world, checkpoint, tmp_path):
    out = run_blocked(ASK, checkpoint, world / "bpe", folder=tmp_path)
    assert out.splitlines()[1:] == ["1", "Answer"]


def test_the_package_is_light(tmp_path):
    assert run_blocked(LIGHT, folder=tmp_path) == "[]\n"


def test_a_file_is_answered(world, checkpoint, tmp_path):
    table = tmp_path / "one.tsv"
    rows = (world / "rkpt" / "val.tsv").read_text(encoding="utf-8").splitlines()
    table.write_text(rows[0] + "\n", encoding="utf-8")
    options = ["--task=refcoco", "--selected-cols=0,5,2,3", f"--bpe-dir={world / 'bpe'}", "--cpu", "--beam=2"]
    out = run_blocked(ANSWER, table, f"--path={checkpoint}", f"--results-path={tmp_path}", *options, folder=tmp_path)
    assert "'count': 1" in out
    assert (tmp_path / "one_predict.json").is_file()
