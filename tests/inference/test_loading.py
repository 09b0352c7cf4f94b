"""`refhcm.load`: what lies beside a checkpoint is found, and mistakes are one clear line."""

import json
import shutil
import subprocess
import sys
import tomllib

import pytest
import torch

import refhcm
from refhcm.inference import loading
from refhcm.inference.predictor import Predictor
from refhcm.utils.checkpoints import read_checkpoint
from refhcm.utils.errors import UserError


@pytest.fixture
def shipped(golden, golden_checkpoint, bpe_dir, tmp_path, monkeypatch):
    """A folder with all that a checkpoint needs beside it; nothing else is to be found."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "ROOT", tmp_path)
    folder = tmp_path / "synthetic"
    folder.mkdir()
    (folder / "model.pt").symlink_to(golden_checkpoint("multitask"))
    (folder / "bpe").symlink_to(bpe_dir)
    shutil.copytree(golden / "vqgan", folder / "vqgan")
    return folder


def test_what_lies_beside_the_checkpoint_is_found(shipped, models, image, monkeypatch):
    monkeypatch.setattr(loading, "SHIPPED", shipped / "model.pt")
    model = refhcm.load(device="cpu")
    assert model.tokenizer is not None
    answer, named = (one.refer(image, "a man", parsing=True) for one in (model, models("multitask")))
    assert answer.to_dict() == named.to_dict()


def test_the_small_model_says_once_what_it_knows_unless_it_is_named(shipped, monkeypatch, caplog):
    monkeypatch.setattr(loading, "SHIPPED", shipped / "model.pt")
    loading._warn_once.cache_clear()
    assert refhcm.load(shipped / "model.pt", device="cpu").notes == ()
    assert caplog.text == ""
    models = [refhcm.load(device="cpu") for _ in range(2)]
    assert [model.notes for model in models] == [(loading.drawn_people_only(),)] * 2
    assert caplog.text.count(loading.drawn_people_only()) == 1


def test_sizes_come_from_the_checkpoint(models, golden_checkpoint):
    model, flags = models("refcoco"), read_checkpoint(golden_checkpoint("refcoco")).flags()
    for name in ("patch_image_size", "num_bins", "code_dict_size"):
        assert getattr(model.settings, name) == flags[name]
    assert next(model.network.parameters()).dtype == torch.float32
    assert model.batch_size >= 1


def test_parsing_needs_a_tokenizer(shipped, image):
    shutil.rmtree(shipped / "vqgan")
    model = refhcm.load(shipped / "model.pt", device="cpu")
    for ask in (lambda: model.refer(image, "a", parsing=True), lambda: model.chain(image, "a", parsing=True)):
        with pytest.raises(UserError, match=r"run: refhcm download tokenizer$"):
            ask()
    model.refer(image, "a")


def test_tokenizer_by_its_weights(shipped):
    vqgan = shipped / "vqgan"
    moved = vqgan.rename(shipped / "elsewhere")
    assert refhcm.load(shipped / "model.pt", tokenizer=moved / "model.ckpt").tokenizer is not None
    (moved / "model.yaml").unlink()
    with pytest.raises(UserError, match=r"tokenizer: .*model.yaml: no such file"):
        refhcm.load(shipped / "model.pt", tokenizer=moved)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"checkpoint": "no.pt"}, "no.pt: no such file"),
        ({"checkpoint": 3}, "checkpoint: needs a path, got int"),
        ({"tokenizer": "nowhere"}, "tokenizer: nowhere: no such file"),
        ({"bpe_dir": "nowhere"}, "nowhere"),
        ({"device": "moon"}, "device: 'moon' cannot be used here"),
        ({"dtype": "float64"}, "dtype: needs auto, float32, float16, bfloat16, got 'float64'"),
        ({"dtype": torch.int8}, "dtype: needs"),
        ({"batch_size": 0}, "batch_size: needs a whole number from 1 on, got 0"),
    ],
)
def test_loading_mistakes(options, message, shipped):
    with pytest.raises(UserError, match=message) as caught:
        refhcm.load(**{"checkpoint": shipped / "model.pt", "device": "cpu"} | options)
    assert "\n" not in str(caught.value)


def test_missing_vocabulary_and_model(shipped, monkeypatch):
    (shipped / "bpe").unlink()
    with pytest.raises(UserError, match="bpe_dir: found no dict"):
        refhcm.load(shipped / "model.pt")
    monkeypatch.setattr(loading, "SHIPPED", shipped / "other.pt")
    with pytest.raises(UserError, match="the shipped model is missing"):
        refhcm.load()


def test_the_package_names_what_it_has():
    assert {"load", "Answer", "Predictor", "draw_answer"} <= set(dir(refhcm))
    assert refhcm.Predictor is Predictor
    with pytest.raises(AttributeError, match="nothing"):
        refhcm.nothing  # noqa: B018


def test_the_version_is_known_without_an_installation(monkeypatch):
    project = tomllib.loads((loading.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert refhcm.__version__ == project["version"]
    monkeypatch.setattr(sys, "path", [])  # nothing is installed
    assert refhcm.__version__ == project["version"]


def test_asking_imports_no_training():
    """torch's compiler, torchvision and timm are 170 MB and two seconds of imports that no answer needs."""
    asking = """
import json, sys
import refhcm, torch
from PIL import Image
refhcm.load().refer(Image.new("RGB", (64, 48)), "the person", parsing=True)
heavy = ["torch._dynamo", "torchvision", "timm", "fairseq"]
heavy += ["sympy"] * (not torch.__version__.startswith("2.6."))  # 2.6 imports it for any tensor on `meta`
print(json.dumps([name for name in heavy if name in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", asking], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
