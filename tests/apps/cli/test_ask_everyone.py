"""`refhcm ask --all`: several people in a line and in files; who is not sure enough; what is said in plain words."""

import argparse
import json
import os
from dataclasses import replace

import pytest
from asking import Model, failed, lines, run
from PIL import Image

from refhcm.apps.cli.ask.summary import is_plain, outcome, sentences
from refhcm.apps.cli.model_flags import add_model_flags, load_model
from refhcm.data.columns import MOST_BOXES
from refhcm.inference import loading
from refhcm.inference.answers import Confidence

# pycocotools' decoder with numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_a_line_holds_everyone(model, photos, tmp_path, capsys):
    out = tmp_path / "a.jsonl"
    asked = (photos / "a.png", "--text", "3 men", "--text", "0 women", "--text", "1 cat", "--all", "--out", out)
    assert run(*asked) == 0
    three, nobody, one = lines(out)
    assert three["question"] == {"find": "3 men"}
    assert [person["confidence"]["box"] for person in three["people"]] == pytest.approx([0.9, 0.8, 0.7])
    assert (nobody["people"], len(one["people"])) == ([], 1)
    said = capsys.readouterr().err
    for words in ('a.png: 3 people fit "3 men"', 'a.png: nobody fits "0 women"', 'a.png: 1 person fits "1 cat"'):
        assert words in said
    assert run(*asked) == 0
    assert len(model.calls) == 1
    assert "0 answered, 3 skipped" in capsys.readouterr().err


def test_thresholds_belong_to_the_question(model, photos, tmp_path, capsys):
    out = tmp_path / "a.jsonl"
    asked = (photos / "a.png", "--text", "3 men", "--all", "--out", out)
    assert run(*asked, "--min-confidence", "0.75", "--keypoints") == 0
    assert run(*asked, "--min-confidence", "1", "--keypoints") == 0
    some, nobody = lines(out)
    assert some["question"] == {"find": "3 men", "keypoints": True, "min_confidence": 0.75}
    assert (len(some["people"]), len(nobody["people"])) == (2, 0)
    assert "with a confidence of 1 or more" in capsys.readouterr().err
    assert run(*asked, "--min-confidence", "1", "--keypoints") == 0
    assert len(model.calls) == 2


def test_one_person_who_is_not_sure_enough(model, photos, tmp_path, capsys):
    """The stub's boxes have a confidence of one half."""
    out, coco = tmp_path / "a.jsonl", tmp_path / "c.json"
    asked = (photos / "a.png", "--text", "a man", "--keypoints", "--parsing", "--out", out)
    assert run(*asked, "--min-confidence", "0.5", "--coco", coco) == 0
    assert len(json.loads((tmp_path / "c.bbox.json").read_text())) == 1
    out.unlink()
    assert run(*asked, "--min-confidence", "0.6", "--coco", coco) == 0
    (line,) = lines(out)
    assert (line["box"], line["keypoints"], line["parts"], line["valid"]) == (None, None, None, False)
    assert line["confidence"]["box"] == 0.5
    assert line["text"] == "a box"
    assert "nobody is sure enough: the box's confidence is 0.50, below 0.6" in capsys.readouterr().err
    assert not list(tmp_path.glob("c.*"))


def test_files_of_several_people(model, photos, tmp_path):
    places = {name: tmp_path / name for name in ("masks", "openpose", "save-images")}
    given = [part for name, place in places.items() for part in (f"--{name}", place)]
    out = tmp_path / "a.jsonl"
    asked = (photos / "a.png", "--all", "--keypoints", "--parsing", "--out", out)
    assert run(*asked, "--text", "3 men", "--text", "0 men", *given, "--coco", tmp_path / "c.json") == 0
    boxes, poses = (json.loads((tmp_path / f"c.{kind}.json").read_text()) for kind in ("bbox", "keypoints"))
    assert [box["score"] for box in boxes] == pytest.approx([0.9, 0.8, 0.7])
    assert len(poses) == 3
    assert len(json.loads((places["openpose"] / "a_keypoints.json").read_text())["people"]) == 3
    each = [f"a-0-3-men_{k}{part}.png" for k in (1, 2, 3) for part in ("", "_hair", "_person", "_cutout")]
    assert sorted(os.listdir(places["masks"])) == sorted(each)
    assert sorted(os.listdir(places["save-images"])) == ["a-0-3-men.jpg", "a-1-0-men.jpg"]
    with Image.open(places["save-images"] / "a-1-0-men.jpg") as nobody:
        assert nobody.width >= 320  # the picture, which is 21 x 30, and words below it
        assert nobody.height > 30


def test_files_hold_nobody_of_an_earlier_answer(model, photos, tmp_path, monkeypatch):
    masks, out = tmp_path / "masks", tmp_path / "a.jsonl"
    asked = (photos / "a.png", "--text", "3 men", "--all", "--parsing", "--masks", masks)
    assert run(*asked, "--out", out) == 0
    out.unlink()
    (masks / "mine_1.png").touch()
    (masks / f"a-0-3-men_{MOST_BOXES}.png").touch()
    monkeypatch.setattr(model, "find", lambda images, texts, **_: [[Model.person(images[0], parsing=True)]])
    assert run(*asked, "--out", out) == 0
    ends = (".png", "_cutout.png", "_hair.png", "_person.png")
    assert sorted(os.listdir(masks)) == [*(f"a-0-3-men_1{end}" for end in ends), "mine_1.png"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--text", "?!"), "--text '?!' has no words; say whom you mean"),
        (("--text", " "), "--text is empty; say whom you mean"),
        (("--text", "a", "--all", "--parsing", "--parallel"), "--parallel: with --all, parts are asked by each one's"),
        (("--box", "1,2,3,4", "--all"), "--all: needs a --text that describes a person"),
        (("--text", "a", "--instruct", "--all"), "--all: needs a --text that describes a person"),
        (("--box", "1,2,3,4", "--min-confidence", "0.5"), "--min-confidence: needs a --text that describes a person"),
    ],
)
def test_flags_that_do_not_go_together(model, photos, capsys, options, message):
    assert run(photos / "a.png", *options) == 2
    assert failed(capsys).startswith(f"error: {message}")
    assert not model.calls


@pytest.mark.parametrize("value", ["-0.1", "1.5", "nan", "much", ""])
def test_thresholds_are_probabilities(model, photos, capsys, value):
    with pytest.raises(SystemExit) as ended:
        run(photos / "a.png", "--text", "a", "--min-confidence", value)
    assert ended.value.code == 2
    assert f"--min-confidence: needs a number from 0 to 1, got {value!r}" in capsys.readouterr().err


def test_what_a_model_has_not_learned_is_said_before_anything_is_asked(model, photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(model, "learned", ("grec",), raising=False)
    asked = (photos / "a.png", "--text", "2 men", "--all", "--out", tmp_path / "a.jsonl")
    assert run(*asked, "--keypoints") == 2
    assert "has not learned keypoints by box" in failed(capsys)
    assert run(*asked) == 0
    monkeypatch.setattr(model, "learned", (), raising=False)
    assert run(*asked, "--parsing") == 2
    assert "without --all" in failed(capsys)
    assert len(model.calls) == 1


def test_lines_carry_what_the_model_says_of_itself(model, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(model, "notes", ("drawings only",), raising=False)
    out = tmp_path / "a.jsonl"
    assert run(photos / "a.png", "--text", "2 men", "--all", "--out", out) == 0
    assert run(photos / "a.png", "--text", "a man", "--out", out) == 0
    everyone, one = lines(out)
    assert everyone["notes"] == one["notes"] == ["drawings only"]
    assert one["valid"]
    assert all(person["notes"] == [] for person in everyone["people"])


@pytest.mark.parametrize(
    "wrong",
    [{"people": None}, {"people": [1]}, {"people": [{}]}, {"people": "two"}, {"notes": None}, {"notes": [1]}],
)
def test_lines_that_hold_no_people(model, photos, tmp_path, capsys, wrong):
    out = tmp_path / "a.jsonl"
    asked = (photos / "a.png", "--text", "2 men", "--all", "--out", out)
    assert run(*asked) == 0
    out.write_text(json.dumps(lines(out)[0] | wrong) + "\n")
    assert run(*asked) == 2
    assert f"--out {out}:1: is not an answer" in failed(capsys)


def record(question, answer):
    return {"image": "a.png", "question": question, **answer.to_dict()}


def test_sentences():
    person = Model.person(Image.new("RGB", (20, 30)), keypoints=True, parsing=True)
    whole = replace(person, confidence=Confidence(box=0.93))
    sure = "with 1 keypoint and 1 part, confidence 0.93"
    assert outcome(record({"refer": "a man"}, whole)) == f'"a man" is in the box 0, 0, 20, 30, {sure}'
    unlikely = outcome(record({"refer": "a cat"}, replace(whole, found=0.03)))
    assert unlikely.endswith("found 0.03: probably nobody here fits")
    note = "parsing map: left out"
    assert outcome(record({"refer": "a man"}, replace(whole, valid=False, notes=(note,)))).endswith(f"({note})")
    for odd in ({"notes": (note,)}, {"valid": False}):  # a note about what is right, and nothing to say
        assert outcome(record({"refer": "a man"}, replace(whole, **odd))).endswith(sure)
    unread = replace(whole, valid=False, notes=("box 1: torn",), box_xyxy=None).to_dict()
    everyone = {"image": "a.png", "question": {"find": "men"}, "people": [unread], "notes": []}
    assert outcome(everyone) == "the answer cannot be read (box 1: torn)"
    assert outcome(record({"describe": [1, 2, 3, 4]}, replace(whole, caption="a man in red"))) == "a man in red"
    assert outcome(record({"instruct": "which region?"}, whole)) == "a box"
    assert outcome({"image": "a", "question": {"refer": "x"}, "error": "is bad"}) == "not answered: is bad"
    assert sentences([everyone] * 12)[-1] == "... and 2 more"


def test_words_are_drawn_where_anybody_is_in_doubt():
    person = Model.person(Image.new("RGB", (20, 30)))
    for other, plain in (({}, True), ({"valid": False}, False), ({"found": 0.49}, False), ({"found": 0.5}, True)):
        people = [person.to_dict(), replace(person, **other).to_dict()]
        assert is_plain({"image": "a.png", "question": {"find": "men"}, "people": people}) == plain
    assert not is_plain({"image": "a.png", "question": {"find": "men"}, "people": []})


def test_drawn_demos_are_not_told_that_the_model_knows_drawings(monkeypatch):
    asked = []
    monkeypatch.setattr(loading, "load", lambda checkpoint, **_: asked.append(checkpoint))
    parser = argparse.ArgumentParser()
    add_model_flags(parser)
    for arguments, drawn in (([], True), ([], False), (["--checkpoint", "b.pt"], True)):
        load_model(parser.parse_args(arguments), drawn=drawn)
    assert asked == [loading.SHIPPED, None, "b.pt"]
