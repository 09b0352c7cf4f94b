"""The S1 demo: one picture and one text in, an answer and a drawing out."""

import base64
import json

import numpy as np
import pytest
from commands import refhcm
from PIL import Image


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def run(golden, golden_checkpoint, bpe_dir, picture, tmp_path, monkeypatch):
    """`run("--kpt", ...)`: exit status of the demo with the tiny network."""
    monkeypatch.chdir(tmp_path)

    def demo(*options, text="a man", image=picture):
        given = ["--checkpoint", golden_checkpoint("multitask"), "--tokenizer", golden / "vqgan", "--bpe-dir", bpe_dir]
        given += ["--image_path", image, "--text", text, "--device", "cpu", *options]
        return refhcm("chain", *given)

    return demo


def test_answer_and_drawing(run, capsys, tmp_path):
    assert run("--kpt", "--par", "--out", "out/answer.png") == 0
    out, err = capsys.readouterr()
    answer, summary = out.splitlines()
    assert answer
    assert list(json.loads(summary)) == ["valid", "box", "parts"]
    assert json.loads(summary)["valid"] != ("note: " in err)  # what could not be read is said
    with Image.open(tmp_path / "out" / "answer.png") as drawn:
        assert drawn.width > 640


def test_the_shipped_model_answers(world, capsys, tmp_path):
    row = (world / "rkpt" / "train.tsv").read_text(encoding="utf-8").splitlines()[0].split("\t")
    picture, out = tmp_path / "picture.jpg", tmp_path / "answer.png"
    picture.write_bytes(base64.b64decode(row[-1]))
    given = ["--image_path", picture, "--text", row[2], "--device", "cpu", "--out", out]
    assert refhcm("chain", *given, "--kpt", "--par") == 0
    answer, summary = capsys.readouterr().out.splitlines()
    assert answer.startswith("<bin_")
    summary = json.loads(summary)
    assert summary["valid"]
    assert len(summary["box"]) == 4
    assert summary["parts"]


def test_json(run, capsys):
    assert run("--kpt", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["size"] == [120, 90]
    assert answer["symbols"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image": "nowhere.png"}, "--image_path: nowhere.png: cannot be read"),
        ({"text": " "}, "text: is empty"),
        ({"options": ["--out", "answer.txt"]}, "--out answer.txt: expected a name that ends in .png"),
        ({"options": ["--checkpoint", "none.pt"]}, "none.pt: no such file"),
        ({"options": ["--device", "moon"]}, "device: 'moon'"),
    ],
)
def test_mistakes_are_one_line(options, message, run, capsys):
    options = dict(options)
    assert run(*options.pop("options", []), **options) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
