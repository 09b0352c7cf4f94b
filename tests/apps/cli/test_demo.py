"""`refhcm demo`: every kind of answer of the small model, drawn and as data."""

import json

import pytest
from commands import refhcm
from PIL import Image

from refhcm.apps.cli.demo import drawn_pictures


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


def test_your_own_pictures_are_left_as_they_are(tmp_path):
    """In the folder of the answers, with the same name as another, and asked about twice."""
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


def test_a_seed_always_draws_the_same_pictures():
    one, two = ([(name, image.tobytes(), text) for name, image, text in drawn_pictures(7, 2)] for _ in range(2))
    assert one == two


def test_mistakes_are_one_line(tmp_path, capsys):
    assert refhcm("demo", "--image", "a.jpg", "--out", tmp_path / "out") == 2
    assert "a --text for each --image" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        refhcm("demo", "--pictures", "0")
    assert "--pictures" in capsys.readouterr().err
