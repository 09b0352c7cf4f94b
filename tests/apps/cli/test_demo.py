"""`make demo`: every kind of answer of the shipped model, drawn and as data."""

import json

import pytest
from commands import refhcm
from PIL import Image

from refhcm.apps.cli.demo import drawn_questions


def test_every_kind_of_answer(tmp_path, capsys):
    assert refhcm("demo", "--pictures=1", "--out", tmp_path) == 0
    answers = {path.stem for path in tmp_path.glob("*.json")}
    kinds = ["box", "keypoints", "parsing", "parsing_in_parallel", "all_in_one_instruction"]
    (name,) = {path.stem for path in tmp_path.glob("*.jpg")}
    assert {f"{name}_{kind}" for kind in kinds} <= answers
    assert answers == {path.stem for path in tmp_path.glob(f"{name}*.png")}
    assert all(json.loads((tmp_path / f"{stem}.json").read_text())["valid"] for stem in answers)
    with Image.open(tmp_path / "contact_sheet.png") as sheet:
        assert sheet.width > 6 * 520
    assert f"{tmp_path}/contact_sheet.png" in capsys.readouterr().out


def test_pictures_of_one_s_own_are_left_as_they_are(tmp_path):
    """In their own folder, with one name, and asked about twice."""
    for folder, shade in (("a", 40), ("b", 200)):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (40, 30), (shade, shade, shade)).save(tmp_path / folder / "me.jpg")
    own = [tmp_path / "a" / "me.jpg", tmp_path / "b" / "me.jpg", tmp_path / "a" / "me.jpg"]
    before = own[0].read_bytes()
    flags = [flag for k, path in enumerate(own) for flag in ("--image", str(path), "--text", f"person {k}")]
    assert refhcm("demo", *flags, "--out", tmp_path / "a") == 0
    assert own[0].read_bytes() == before
    assert [path.name for path in (tmp_path / "a").glob("*.jpg")] == ["me.jpg"]
    assert {path.name for path in (tmp_path / "a").glob("*_box.json")} == {f"{k}_me_box.json" for k in (1, 2, 3)}


def test_pictures_hold_a_choice_and_are_always_the_same():
    one, two = drawn_questions(7, 2), drawn_questions(7, 2)
    assert [(q.name, q.expression, q.image.tobytes()) for q in one] == [
        (q.name, q.expression, q.image.tobytes()) for q in two
    ]


@pytest.mark.parametrize(
    ("arguments", "message"), [(["--image", "a.jpg"], "a --text for each --image"), (["--pictures", "0"], "--pictures")]
)
def test_mistakes_are_one_line(arguments, message, tmp_path, capsys):
    assert refhcm("demo", *arguments, "--out", tmp_path / "out") == 2
    assert message in capsys.readouterr().err
