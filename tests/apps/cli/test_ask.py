"""`refhcm ask` with a model that knows its answers, and once with a real, untrained one."""

import argparse
import fcntl
import json
import os
import re
import sys

import numpy as np
import pytest
import torch
from asking import Model, failed, lines, run
from PIL import Image

from refhcm.apps.cli.ask import answering
from refhcm.apps.cli.ask.exports import coco_rows
from refhcm.apps.cli.ask.lines import answer_of
from refhcm.apps.cli.ask.records import content_mark
from refhcm.data.pictures import open_picture
from refhcm.inference import loading
from refhcm.inference.exports import image_id
from refhcm.models.refhcm import Network, NetworkConfig
from refhcm.utils.parsing import CLASS_NAMES

# pycocotools' decoder with numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_a_folder_is_answered_once(model, photos, tmp_path, capsys):
    out = tmp_path / "new" / "answers.jsonl"
    assert run(photos, "--text", "the woman in red", "--text", "a man", "--out", out) == 0
    assert [(line["image"], line["question"]) for line in lines(out)] == [
        (str(photos / name), {"refer": text})
        for name in ("a.png", "b.jpg", "deep/c.JPG")
        for text in ("the woman in red", "a man")
    ]
    assert lines(out)[0]["box"] == [0, 0, 21, 30]
    (name,) = {line["model"] for line in lines(out)}
    assert re.fullmatch(r"shipped#[0-9a-f]{16}\+[0-9a-f]{16}", name)
    assert [len(asked) for _, asked in model.calls] == [4, 2]
    before = out.read_bytes()
    assert run(photos, "--text", "a man", "--text", "the woman in red", "--out", out) == 0
    assert len(model.calls) == 2
    assert out.read_bytes() == before
    assert "0 answered, 6 skipped (already done), 0 failed" in capsys.readouterr().err


def test_other_questions_and_models_are_asked(model, photos, tmp_path):
    out = tmp_path / "a.jsonl"
    assert run(photos / "a.png", "--text", "a man", "--out", out) == 0
    assert run(photos / "a.png", "--text", "a man", "--keypoints", "--out", out) == 0
    assert run(photos / "a.png", "--text", "a man", "--checkpoint", "b.pt", "--out", out) == 0
    assert [line["question"] for line in lines(out)] == [
        {"refer": "a man"},
        {"refer": "a man", "keypoints": True},
        {"refer": "a man"},
    ]
    assert [line["model"].partition("#")[0] for line in lines(out)] == ["shipped", "shipped", "b.pt"]


def test_a_torn_line_is_asked_again(model, photos, tmp_path):
    out = tmp_path / "a.jsonl"
    assert run(photos, "--text", "a man", "--out", out) == 0
    whole = out.read_bytes()
    for size in (len(whole) - 1, len(whole) - 40, len(whole) - len(whole.splitlines(True)[-1]) + 3):
        out.write_bytes(whole[:size])
        model.calls.clear()
        assert run(photos, "--text", "a man", "--out", out) == 0
        assert len(model.calls) == 1
        assert out.read_bytes() == whole


def test_broken_pictures_and_questions_do_not_stop_a_run(model, photos, tmp_path, capsys):
    (photos / "b.jpg").write_bytes((photos / "b.jpg").read_bytes()[:200])
    out = tmp_path / "a.jsonl"
    assert run(photos, "--text", "a man", "--text", "a bad one", "--out", out) == 1
    found = {(line["image"].rpartition("/")[2], line["question"]["refer"]): line.get("error") for line in lines(out)}
    assert found[("a.png", "a man")] is None
    assert found[("c.JPG", "a man")] is None
    assert "b.jpg" in found[("b.jpg", "a man")]
    assert found[("a.png", "a bad one")] == "expression: is bad"
    assert "2 answered, 0 skipped (already done), 4 failed" in capsys.readouterr().err
    before = out.read_bytes()
    assert run(photos, "--text", "a man", "--text", "a bad one", "--out", out) == 1
    assert out.read_bytes() == before
    Image.new("RGB", (20, 30)).save(photos / "b.jpg")
    assert run(photos, "--text", "a man", "--out", out) == 0
    assert lines(out)[-1]["image"] == str(photos / "b.jpg")
    assert "error" not in lines(out)[-1]


def test_a_batch_that_is_too_large_is_asked_one_by_one(model, photos, tmp_path, monkeypatch):
    def note(method, images, asked):
        model.calls.append((method, list(asked)))
        if len(asked) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate ...")

    monkeypatch.setattr(model, "note", note)
    assert run(photos, "--text", "a man", "--out", tmp_path / "a.jsonl") == 0
    assert [len(asked) for _, asked in model.calls] == [3, 1, 1, 1]


def test_a_batch_ends_where_its_pictures_are_large(model, photos, tmp_path, monkeypatch):
    """a.png is 21 px wide and b.jpg 20, each 30 high; z.png is no picture. Each picture is opened once."""
    (photos / "z.png").write_bytes(b"none")
    opened = []
    monkeypatch.setattr(answering, "open_picture", lambda path: opened.append(path) or open_picture(path))
    monkeypatch.setattr(answering, "HELD_BYTES", 3 * 30 * 41)
    model.batch_size = 8
    assert run(photos, "--text", "a man", "--text", "a woman", "--out", tmp_path / "a.jsonl") == 1
    assert [len(asked) for _, asked in model.calls] == [4, 2]
    assert [path.rpartition("/")[2] for path in opened] == ["a.png", "b.jpg", "c.JPG", "z.png"]


def test_captions_boxes_and_instructions(model, photos, tmp_path):
    out = tmp_path / "a.jsonl"
    assert run(photos / "a.png", "--text", "a man", "--caption", "--out", out) == 0
    assert lines(out)[0]["caption"] == "at [0.0, 0.0, 21.0, 30.0]"
    assert lines(out)[0]["box"] == [0, 0, 21, 30]
    assert run(photos / "a.png", "--box", "1,2,3,4.5", "--out", out) == 0
    assert lines(out)[1]["question"] == {"describe": [1, 2, 3, 4.5]}
    assert lines(out)[1]["caption"] == "at [1.0, 2.0, 3.0, 4.5]"
    assert run(photos / "a.png", "--instruct", "--text", "which region?", "--out", out) == 0
    assert lines(out)[2]["question"] == {"instruct": "which region?"}
    assert run(photos / "a.png", "--text", "a man", "--box", "1,2,3,4", "--out", out) == 0
    assert [method for method, _ in model.calls] == ["refer", "describe", "instruct", "refer", "describe"]


def test_answers_are_printed_without_a_file(model, photos, capfdbinary):
    assert run(photos / "a.png", "--text", "a man") == 0
    out, err = capfdbinary.readouterr()
    assert json.loads(out)["box"] == [0, 0, 21, 30]
    assert b"1/1" in err  # the progress


def test_nothing_stands_between_lines_on_a_terminal(model, photos, monkeypatch, capsys):
    shown, terminal = os.openpty()
    with open(terminal, "w") as stdout, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)
        assert run(photos / "a.png", "--text", "a man") == 0
    assert json.loads(os.read(shown, 10_000).splitlines()[0])["box"] == [0, 0, 21, 30]
    os.close(shown)
    assert "1/1" not in capsys.readouterr().err


def test_exports_are_of_all_answers(model, photos, tmp_path, capsys):
    Image.new("RGB", (9, 9)).save(photos / "deep" / "000012.png")
    Image.new("RGB", (9, 9)).save(photos / "deep" / "a.png")
    out = tmp_path / "a.jsonl"
    assert run(photos, "--text", "The man!", "--keypoints", "--parsing", "--out", out) == 0
    calls = len(model.calls)
    exports = {name: tmp_path / name for name in ("openpose", "masks", "drawn")}
    given = ("--openpose", exports["openpose"], "--masks", exports["masks"], "--save-images", exports["drawn"])
    options = ("--text", "The man!", "--keypoints", "--parsing", "--out", out, "--coco", tmp_path / "results.json")
    assert run(photos, *options, *given) == 0
    assert len(model.calls) == calls
    boxes = json.loads((tmp_path / "results.bbox.json").read_text())
    assert len(boxes) == 5
    assert {"image_id": 12, "category_id": 1, "bbox": [0, 0, 9, 9], "score": 0.5} in boxes
    assert len(json.loads((tmp_path / "results.keypoints.json").read_text())) == 5
    assert json.loads((tmp_path / "results.segm.json").read_text())[0]["category_id"] == CLASS_NAMES.index("hair")
    pose = json.loads((exports["openpose"] / "b_keypoints.json").read_text())
    assert (pose["canvas_width"], pose["canvas_height"]) == (20, 30)
    assert pose["people"][0]["pose_keypoints_2d"][:3] == [2, 3, 1]
    with Image.open(exports["masks"] / "b-0-the-man.png") as label_map:
        assert np.asarray(label_map)[1, 1] == CLASS_NAMES.index("hair")
    assert (exports["masks"] / "b-0-the-man_hair.png").is_file()
    drawn = sorted(path.name for path in exports["drawn"].iterdir())
    assert drawn[0] == "000012-0-the-man.jpg"
    assert len(drawn) == 5  # the two pictures called a.png, too
    with Image.open(exports["drawn"] / "b-0-the-man.jpg") as image:
        assert image.size == (20, 30)


def test_a_picture_that_is_gone_is_not_drawn_and_the_others_are(model, photos, tmp_path, capsys):
    out, folder = tmp_path / "a.jsonl", tmp_path / "drawn"
    assert run(photos, "--text", "a man", "--out", out) == 0
    (photos / "a.png").unlink()
    assert run(photos / "b.jpg", "--text", "a man", "--out", out, "--save-images", folder) == 2
    assert "a.png: not drawn" in failed(capsys)
    assert sorted(path.name for path in folder.iterdir()) == ["b-0-a-man.jpg", "c-0-a-man.jpg"]


def test_a_retrained_model_is_another_model(model, photos, tmp_path):
    weights, out = tmp_path / "b.pt", tmp_path / "a.jsonl"
    ask_for = (photos / "a.png", "--text", "a man", "--checkpoint", weights, "--out", out)
    for content in (b"1", b"1", b"2" * 3_000_000, b"2" * 2_999_999 + b"3"):
        weights.write_bytes(content)
        assert run(*ask_for, "--coco", tmp_path / "c.json") == 0
        assert len(json.loads((tmp_path / "c.bbox.json").read_text())) == 1
    assert len(model.calls) == 3


def test_another_picture_of_one_name_is_asked_about(model, photos, tmp_path, monkeypatch, capsys):
    """In another folder, or in its place; the old answer is left out of the files."""
    out, drawn = tmp_path / "a.jsonl", tmp_path / "drawn"
    for day in ("one", "two"):
        (tmp_path / day).mkdir()
        Image.new("RGB", (20, 30), "red" if day == "one" else "blue").save(tmp_path / day / "a.png")
        monkeypatch.chdir(tmp_path / day)
        assert run("a.png", "--text", "a man", "--out", out) == 0
    assert len(model.calls) == 2
    Image.new("RGB", (20, 30), "green").save("a.png")
    assert run(photos / "a.png", "--text", "a man", "--out", out, "--save-images", drawn) == 0
    assert len(os.listdir(drawn)) == 1
    assert "left out of the files, as it has changed: a.png\n" in capsys.readouterr().err
    assert run("a.png", "--text", "a man", "--out", out) == 0
    assert len(model.calls) == 4
    (tmp_path / "two" / "a.png").unlink()
    os.mkfifo(tmp_path / "two" / "pipe.png")
    assert content_mark(str(tmp_path / "two" / "pipe.png")) is None
    monkeypatch.chdir(tmp_path)
    table = tmp_path / "pairs.csv"
    table.write_text("a.png,a man\n")
    assert run("--pairs", table, "--out", out) == 1
    assert len(model.calls) == 4


def test_another_tokenizer_is_another_model(model, photos, tmp_path):
    tokenizer, out = tmp_path / "model.ckpt", tmp_path / "a.jsonl"
    (tmp_path / "model.yaml").touch()
    parts = (photos / "a.png", "--text", "a man", "--parsing", "--tokenizer", tokenizer, "--out", out)
    box = (photos / "a.png", "--text", "a man", "--tokenizer", tokenizer, "--out", out)
    for content, calls in ((b"1", 2), (b"1", 2), (b"2", 4)):
        tokenizer.write_bytes(content)
        assert run(*parts) == run(*box) == 0
        assert len(model.calls) == calls


def test_pictures_of_coco_and_of_one_number():
    assert image_id("t/COCO_train2014_000000581857.jpg") == 581857
    assert image_id("COCO_train2014_000000581857_16.jpg") == 581857
    assert image_id("1" * 5000 + ".jpg") == "1" * 5000 + ".jpg"  # no program reads such a number
    assert image_id("COCO_mine_7.jpg") == "COCO_mine_7.jpg"
    assert image_id("000012.png") == 12
    assert image_id("a/12b.png") == "a/12b.png"
    boxes = Model.person(Image.new("RGB", (9, 9))).to_dict()
    records = [{"image": image, **boxes} for image in ("a/0001.png", "b/0001.png", "a/0001.png", "2.png")]
    results = [record["image_id"] for record in coco_rows(records)["bbox"]]
    assert results == ["a/0001.png", "b/0001.png", "a/0001.png", 2]


def test_a_line_is_the_whole_answer():
    answer = Model.person(Image.new("RGB", (20, 30)), keypoints=True, parsing=True)
    record = json.loads(json.dumps(answer.to_dict()))
    back = answer_of(record)
    assert back.to_dict() == answer.to_dict()
    assert (back.label_map == answer.label_map).all()
    assert back.keypoints["nose"] == (2, 3)


def test_parsing_needs_a_tokenizer(monkeypatch, photos, capsys):
    monkeypatch.setattr(loading, "load", lambda checkpoint, **options: Model(tokenizer=None))
    assert run(photos, "--text", "a man", "--parsing") == 2
    assert "--parsing needs the parsing-map tokenizer" in failed(capsys)


def test_files_that_are_not_overwritten(model, photos, tmp_path, capsys):
    for number, content in enumerate((b"my notes", b"my notes\n", b'{"a": 1}\n', b"[1]\n", b"\xff\xfe\n")):
        out = tmp_path / f"{number}.txt"
        out.write_bytes(content)
        assert run(photos, "--text", "a man", "--out", out) == 2
        assert "name another" in failed(capsys)
        assert out.read_bytes() == content
    assert run(photos, "--text", "a man", "--out", photos) == 2
    assert "Is a directory" in failed(capsys)
    assert run(photos, "--text", "a man", "--out", photos / "a.png" / "a.jsonl") == 2
    assert "a.png" in failed(capsys)
    assert not model.calls


def test_two_runs_do_not_write_one_file(model, photos, tmp_path, capsys):
    with open(tmp_path / "a.jsonl", "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert run(photos, "--text", "a man", "--out", tmp_path / "a.jsonl") == 2
    assert "another run is writing it" in failed(capsys)


def test_exports_that_cannot_be_written(model, photos, tmp_path, capsys):
    for option in ("--coco", "--save-images"):
        assert run(photos / "a.png", "--text", "a man", "--out", tmp_path / "a.jsonl", option, photos / "b.jpg/x") == 2
        assert "b.jpg" in failed(capsys)


def test_an_untrained_network(world, golden, tmp_path):
    torch.manual_seed(0)
    size = {"arch": "refhcm_test", "resnet_width": 8, "patch_image_size": 64, "num_bins": 100, "code_dict_size": 96}
    network = Network(NetworkConfig.from_args(size), 4 + 256 + 1 + 96 + 100)
    torch.save({"cfg": {"model": argparse.Namespace(**size)}, "model": network.state_dict()}, tmp_path / "tiny.pt")
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    given = ["--checkpoint", tmp_path / "tiny.pt", "--bpe-dir", world / "bpe", "--tokenizer", golden / "vqgan"]
    out = tmp_path / "answers.jsonl"
    ask_for = [tmp_path / "a.png", "--text", "the man", "--device", "cpu", "--batch-size", 2, "--out", out, *given]
    assert run(*ask_for, "--parsing", "--parallel", "--caption", "--coco", tmp_path / "c.json") == 0
    (line,) = lines(out)
    assert line["size"] == [30, 20]
    assert line["question"] == {"refer": "the man", "parsing": True, "parallel": True, "caption": True}
    assert len(line["symbols"]) >= 48
