"""The files of `refhcm ask`: names that fit and differ, exports that do not end one another, and hostile lines."""

import json
import os
import unicodedata

import pytest
from asking import Model, failed, lines, run
from PIL import Image

from refhcm.apps.cli.ask import command
from refhcm.apps.cli.ask.exports import named, stems
from refhcm.apps.cli.ask.lines import parsed
from refhcm.data.pictures import MAX_PIXELS

# pycocotools' decoder with numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.mark.parametrize("stem", ["a" * 230, "a" * 251, "é" * 125, "人" * 83])
def test_long_names_are_exported_with_all_others(model, photos, tmp_path, stem):
    long, longer = photos / f"{stem}.png", photos / "deep" / f"{stem}.png"
    for path in (long, longer):
        Image.new("RGB", (9, 9)).save(path, "PNG")
    masks, drawn, poses = (tmp_path / name for name in ("masks", "drawn", "poses"))
    places = ("--masks", masks, "--save-images", drawn, "--openpose", poses, "--coco", tmp_path / "c.json")
    asked = (photos, "--text", "a man " * 99, "--keypoints", "--parsing")
    assert run(*asked, "--out", tmp_path / "a.jsonl", *places) == 0
    assert [len(list(folder.iterdir())) for folder in (masks, drawn, poses)] == [20, 5, 5]
    assert len(json.loads((tmp_path / "c.keypoints.json").read_text())) == 5
    first = sorted(os.listdir(drawn))
    assert run(*asked, "--out", tmp_path / "a.jsonl", *places) == 0
    assert sorted(os.listdir(drawn)) == first


def records(*questions):
    return [{"image": image, "question": {"refer": text}} for image, text in questions]


@pytest.mark.parametrize(
    "questions",
    [
        [("a.jpg", "0 man"), ("a-0.jpg", "man")],
        [("a.jpg", "x"), ("a-0.jpg", "0 x"), ("a-0-0.jpg", "x")],
        [("A.jpg", "man"), ("a.jpg", "man")],
        [("d/a.jpg", "man"), ("e/a.jpg", "man"), ("a.jpg", "man"), ("a.png", "man")],
        [("a.jpg", "人"), ("a.png", "人"), ("a-0.jpg", "!")],
        [("x" * 300 + ".jpg", "man"), ("x" * 299 + "y.jpg", "man")],
        [("\u00e9.jpg", "man"), ("e\u0301.jpg", "man")],
        [("a\0.jpg", "man"), ("a.jpg", "man"), ("\0", "man"), ("..", "man"), ("", "man")],
    ],
)
def test_no_two_answers_share_a_file(questions):
    asked = records(*questions)
    for names in ([name for name, _ in named(asked)], list(stems(asked).values())):
        assert len({unicodedata.normalize("NFC", name).casefold() for name in names}) == len(asked)
        assert all(len(os.fsencode(name)) <= 220 and not {"/", "\0"} & set(name) for name in names)


def test_a_name_that_looks_like_a_hashed_one():
    twins = records(("d/a.jpg", "m"), ("e/a.jpg", "m"))
    taken = stems(twins)["d/a.jpg"]
    asked = [*twins, *records((f"{taken}.jpg", "m"), (f"{taken.upper()}.png", "m"))]
    assert len({stem.casefold() for stem in stems(asked).values()}) == 4


def test_two_pictures_are_drawn_into_two_files(model, tmp_path):
    for name in ("a.png", "a-0.png"):
        Image.new("RGB", (9, 9)).save(tmp_path / name)
    (tmp_path / "t.csv").write_text("a.png,0 man\na-0.png,man\n")
    assert run("--pairs", tmp_path / "t.csv", "--out", tmp_path / "a.jsonl", "--save-images", tmp_path / "drawn") == 0
    assert len(os.listdir(tmp_path / "drawn")) == 2


PLACES = ["--masks", "--openpose", "--coco", "--save-images"]


@pytest.mark.parametrize("flag", PLACES)
def test_a_place_that_cannot_be_written_is_named_before_anything_is_asked(model, photos, tmp_path, capsys, flag):
    place, out = photos / "b.jpg" / "x", tmp_path / "a.jsonl"
    assert run(photos, "--text", "a man", "--keypoints", "--parsing", "--out", out, flag, place) == 2
    assert "b.jpg" in failed(capsys)
    assert model.calls == []
    assert not out.exists()


@pytest.mark.parametrize("broken", PLACES)
def test_an_export_that_fails_does_not_end_the_others(model, photos, tmp_path, capsys, monkeypatch, broken):
    for check in ("check_output", "check_writable"):  # the place is lost after they have seen it
        monkeypatch.setattr(command, check, lambda place: None)
    places = {flag: tmp_path / flag[2:] for flag in ("--masks", "--openpose", "--save-images")}
    places["--coco"] = tmp_path / "coco" / "c.json"
    places[broken] = photos / "b.jpg" / "x"
    given = [part for flag, place in places.items() for part in (flag, place)]
    asked = (photos, "--text", "a man", "--keypoints", "--parsing", "--out", tmp_path / "a.jsonl")
    assert run(*asked, *given) == 2
    assert "b.jpg" in failed(capsys)
    places["--coco"] = places["--coco"].parent
    assert all(os.listdir(place) for flag, place in places.items() if flag != broken)


def test_files_hold_no_answer_about_a_picture_that_has_changed(model, photos, tmp_path, capsys):
    out, poses, masks = tmp_path / "a.jsonl", tmp_path / "poses", tmp_path / "masks"
    parts = ("--keypoints", "--parsing", "--out", out)
    assert run(photos / "a.png", photos / "b.jpg", "--text", "a man", *parts) == 0
    Image.new("RGB", (50, 10), "blue").save(photos / "a.png")
    places = ("--coco", tmp_path / "c.json", "--openpose", poses, "--masks", masks)
    assert run(photos / "b.jpg", "--text", "a man", *parts, *places) == 0
    assert f"left out of the files, as it has changed: {photos / 'a.png'}\n" in capsys.readouterr().err
    assert len(json.loads((tmp_path / "c.bbox.json").read_text())) == 1
    assert os.listdir(poses) == ["b_keypoints.json"]
    assert all(name.startswith("b-0-a-man") for name in os.listdir(masks))
    assert run(photos / "a.png", "--text", "a woman", *parts, *places) == 0  # of another size than the old answer
    assert json.loads((poses / "a_keypoints.json").read_text())["canvas_width"] == 50
    assert len(json.loads((tmp_path / "c.bbox.json").read_text())) == 2


def test_exports_hold_nothing_of_an_earlier_answer(model, photos, tmp_path, monkeypatch):
    """A part, or a kind of answer, that the new one lacks."""
    out, masks, poses, coco = (tmp_path / name for name in ("a.jsonl", "masks", "poses", "c.json"))
    places = ("--out", out, "--masks", masks, "--openpose", poses, "--coco", coco)
    asked = (photos / "a.png", "--text", "a man")
    assert run(*asked, "--parsing", "--keypoints", *places) == 0
    made = {path.name for path in (*masks.iterdir(), *poses.iterdir())}
    ends = ("", "_hair", "_person", "_cutout")
    assert made == {*(f"a-0-a-man{end}.png" for end in ends), "a_keypoints.json"}
    (masks / "mine.png").touch()
    assert run(*asked, "--checkpoint", "b.pt", *places) == 0  # asks for a box only: it leaves other files alone
    assert {path.name for path in (*masks.iterdir(), *poses.iterdir())} == made | {"mine.png"}
    monkeypatch.setattr(model, "person", lambda image, **_: Model.person(image))
    assert run(*asked, "--parsing", "--keypoints", "--checkpoint", "c.pt", *places) == 0
    assert {path.name for path in (*masks.iterdir(), *poses.iterdir())} == {"mine.png"}
    assert sorted(path.name for path in tmp_path.glob("c.*")) == ["c.bbox.json"]


@pytest.fixture
def line(model, photos, tmp_path):
    """A whole line of --out."""
    asked = (photos / "a.png", "--text", "a man", "--keypoints", "--parsing")
    assert run(*asked, "--out", tmp_path / "line.jsonl") == 0
    return lines(tmp_path / "line.jsonl")[0]


WRONG = {
    "image": [None, 7, [], "\ud800"],
    "question": [None, "a", [], {}, {"refer": None}, {"describe": [1, 2]}, {"describe": {"a": 1}}],
    "model": [None, 1],
    "picture": [1, []],
    "error": [None, 7],
    "valid": [None, 1, "yes"],
    "notes": [None, "a", [1]],
    "size": [None, [1], [0, 3], [1.5, 2], [True, True], [10**6, 10**6], ["1", "2"], [10**400, 1]],
    "box": [[1, 2, 3], "box", [1, 2, 3, None], [1, 2, 3, 1e300], [float("nan")] * 4, [float("inf")] * 4],
    "keypoints": [[], {}, "a", [None] * 17, [{}] * 17, [{"x": 1, "y": "2", "visible": True}] * 17],
    "parts": [[], {"wing": {}}, {"hair": None}, *({"hair": {"size": size}} for size in ([30, 20], [9, 9]))],
    "caption": [7, []],
    "confidence": [
        None,
        [],
        {"luck": 1},
        {"box": 0.5},
        *(
            dict.fromkeys(("box", "keypoints", "parts", "caption")) | wrong
            for wrong in (
                {"box": "high"},
                {"box": float("nan")},
                {"box": 1.5},
                {"keypoints": {"tail": 0.5}},
                {"keypoints": [0.5]},
                {"parts": {"hair": "much"}},
                {"caption": {"a": 1}},
                {"caption": [2]},
            )
        ),
    ],
    "text": [None, 7],
    "symbols": [None, "abc", [None]],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values])
def test_a_line_that_is_no_answer_is_named(line, photos, tmp_path, capsys, field, value):
    refused(photos, tmp_path / "a.jsonl", json.dumps(line), json.dumps(line | {field: value}), capsys)


@pytest.mark.parametrize("sure", [0, 0.0, 1])
def test_the_ends_of_a_confidence_are_read(line, sure):
    line["found"] = line["confidence"]["box"] = line["question"]["min_confidence"] = sure
    assert parsed(json.dumps(line).encode() + b"\n") == line
    line |= {"size": [MAX_PIXELS // 8000, 8000], "parts": None}  # as large as a picture may be
    assert parsed(json.dumps(line).encode() + b"\n") == line
    for size in ([0, 3], [3, 0], [-2, -2], [MAX_PIXELS // 8000 + 1, 8000]):
        assert parsed(json.dumps(line | {"size": size}).encode() + b"\n") is None


@pytest.mark.parametrize("text", ["", "[" * 10**5, '{"a":' * 10**5, "null", '"a"', '{"image": "a"}', "1" * 5000])
def test_lines_that_are_no_record(line, photos, tmp_path, capsys, text):
    refused(photos, tmp_path / "a.jsonl", json.dumps(line), text, capsys)


def refused(photos, out, good, bad, capsys):
    content = f"{good}\n{bad}\n{good}\n"
    out.write_text(content)
    assert run(photos / "b.jpg", "--text", "a man", "--out", out, "--coco", out.with_name("c.json")) == 2
    assert f"--out {out}:2: is not an answer" in failed(capsys)
    assert out.read_text() == content


@pytest.mark.parametrize("missing", ["image", "question", "model", "valid", "size", "box", "parts", "confidence"])
def test_a_line_without_a_field(line, photos, tmp_path, capsys, missing):
    bad = {name: value for name, value in line.items() if name != missing}
    refused(photos, tmp_path / "a.jsonl", json.dumps(line), json.dumps(bad), capsys)


@pytest.mark.parametrize("counts", ["", "1", "o" * 13, "\ud800"])
def test_a_mask_that_cannot_be_decoded(line, photos, tmp_path, capsys, counts):
    """Of no pixels, of fewer than the picture has, and of none that is a run; files of other pictures are written."""
    line["parts"]["hair"]["counts"] = counts
    (tmp_path / "a.jsonl").write_text(json.dumps(line) + "\n")
    folders = [tmp_path / name for name in ("masks", "openpose", "save-images")]
    given = [part for folder in folders for part in (f"--{folder.name}", folder)]
    asked = (photos / "a.png", photos / "b.jpg", "--text", "a man", "--keypoints", "--parsing")
    assert run(*asked, "--out", tmp_path / "a.jsonl", *given) == 2
    assert failed(capsys).count("a.png: hair in its line of --out is no mask; remove the line") == 3
    for folder in folders:
        names = os.listdir(folder)
        assert names
        assert all(name.startswith("b") for name in names)


def test_answers_about_two_pictures_of_one_name_do_not_stop_the_others(model, photos, tmp_path, capsys):
    """Both are gone, so it cannot be told which answer is out of date."""
    out, poses = tmp_path / "a.jsonl", tmp_path / "poses"
    for width, text in ((20, "a man"), (30, "a woman")):
        Image.new("RGB", (width, 30)).save(photos / "a.png")
        assert run(photos / "a.png", "--text", text, "--keypoints", "--out", out) == 0
    (photos / "a.png").unlink()
    assert run(photos / "b.jpg", "--text", "a man", "--keypoints", "--out", out, "--openpose", poses) == 2
    assert "a.png: no file a_keypoints.json (openpose: needs answers about one picture" in failed(capsys)
    assert os.listdir(poses) == ["b_keypoints.json"]


def test_lines_of_other_programs_are_kept(line, photos, tmp_path, model):
    """Compact JSON, Windows' line ends, more fields, no mark of the picture."""
    out, calls = tmp_path / "a.jsonl", len(model.calls)
    del line["picture"]
    out.write_bytes(json.dumps(line | {"note": [1]}, separators=(",", ":")).encode() + b"\r\n")
    asked = (photos / "a.png", "--text", "a man", "--keypoints", "--parsing", "--out", out)
    assert run(*asked, "--coco", tmp_path / "c.json") == 0
    assert len(model.calls) == calls
