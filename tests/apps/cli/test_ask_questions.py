"""What `refhcm ask` asks: pictures in folders, tables of pairs, and options that do not go together."""

from pathlib import Path

import pytest
from asking import Model, failed, lines, run

from refhcm.apps.cli.ask.questions import pictures, read_pairs
from refhcm.inference import loading
from refhcm.utils.errors import DataError


@pytest.fixture
def model(monkeypatch):
    model = Model()
    monkeypatch.setattr(loading, "load", lambda checkpoint, **options: model)
    return model


@pytest.mark.parametrize(
    ("name", "text", "pairs"),
    [
        ("a.csv", "image,expression\nx.jpg,the man\n", [("x.jpg", "the man")]),
        ("a.csv", 'x.jpg,the man\ny.jpg,"red, tall"\n', [("x.jpg", "the man"), ("y.jpg", "red, tall")]),
        ("a.csv", "\ufeffid,Text,File\n1,the man,x.jpg\n\n", [("x.jpg", "the man")]),
        ("a.tsv", "x.jpg\tred, tall\r\n", [("x.jpg", "red, tall")]),
        ("a.txt", "x.jpg\tred, tall\n", [("x.jpg", "red, tall")]),
        ("a.csv", "x.jpg,the man,\n", [("x.jpg", "the man")]),
        ("a.txt", "x.jpg,größer\n", [("x.jpg", "größer")]),
    ],
)
def test_tables(tmp_path, name, text, pairs):
    (tmp_path / name).write_bytes(text.encode())
    assert read_pairs(tmp_path / name) == [(str(tmp_path / image), text) for image, text in pairs]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "a.csv: is empty"),
        (b"image,expression\n", "has a header and nothing below it"),
        (b"x.jpg\ny.jpg\n", r"a.csv:1: expected picture, text; got 'x.jpg': the text is missing"),
        (b"image,note\nx.jpg,1\n", r"the header names no text column \(expression, text, .*got image, note"),
        (b"id,text\n1,a\n", r"the header names no picture column"),
        (b"x.jpg,a\n\ny.jpg, \n", r"a.csv:3: .*: the text is missing"),
        (b",a\n", r"a.csv:1: .*: the picture is missing"),
        (b"x.jpg,a\ny.jpg,the man, in red\n", r"a.csv:2: expected picture, text; got .* Put quotes around a text"),
        (b"image,text\nx.jpg,the man, in red\n", r"a.csv:2: expected image, text; got 'x.jpg', 'the man', ' in red'"),
        (b"id,image,text\n1,x.jpg,the man, in red\n", r"a.csv:2: expected id, image, text; got"),
        (b"x.jpg,caf\xe9\n", "is not a table in UTF-8"),
        (b"x.jpg,a\0\n" + b'"' + b"x" * 200_000, "is not a table|the text is missing"),
    ],
)
def test_broken_tables(tmp_path, text, message):
    (tmp_path / "a.csv").write_bytes(text)
    with pytest.raises(DataError, match=message):
        read_pairs(tmp_path / "a.csv")


def test_a_table_is_asked(model, photos, tmp_path, capsys):
    (photos / "pairs.csv").write_text("image,expression\na.png,the man\ngone.png,the man\na.png,the man\n")
    out = tmp_path / "a.jsonl"
    assert run("--pairs", photos / "pairs.csv", "--out", out) == 1
    assert [line["image"] for line in lines(out)] == [str(photos / "a.png"), str(photos / "gone.png")]
    assert "gone.png" in lines(out)[1]["error"]
    assert run("--pairs", tmp_path / "none.csv", "--out", out) == 2
    assert "none.csv: cannot be read: No such file" in failed(capsys)


def test_a_pictures_path_may_start_at_the_working_folder(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(photos)
    (tmp_path / "a.csv").write_text("deep/c.JPG,a\n")
    assert read_pairs(tmp_path / "a.csv") == [("deep/c.JPG", "a")]


def test_pictures_of_a_folder_are_all_that_can_be_opened(tmp_path):
    for name in ("a.jfif", "b.PNG", "c.ppm", "d.pdf", "e.txt", ".hidden.png"):
        (tmp_path / name).touch()
    assert [Path(found).name for found in pictures([str(tmp_path)])] == ["a.jfif", "b.PNG", "c.ppm"]


def test_places_without_pictures(model, photos, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty", "--text", "a man") == 2
    assert "empty: holds no picture" in failed(capsys)
    assert run(tmp_path / "none.jpg", "--text", "a man") == 2
    assert "none.jpg: no such file or folder" in failed(capsys)
    assert pictures([str(photos), str(photos / "a.png")]) == [
        str(photos / name) for name in ("a.png", "b.jpg", "deep/c.JPG")
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name pictures or folders, or a table"),
        (["."], "nothing is asked"),
        ([".", "--pairs", "a.csv"], "name pictures or folders, or a table"),
        (["--pairs", "a.csv", "--text", "a"], "leave out --text and --box"),
        ([".", "--text", "a", "--instruct", "--caption"], "--caption: needs a --text that describes a person"),
        ([".", "--box", "1,2,3,4", "--keypoints"], "--keypoints: needs a --text"),
        ([".", "--text", "a", "--parallel"], "--parallel needs --parsing"),
        ([".", "--text", " "], "--text is empty"),
        ([".", "--text", "a", "--coco", "."], "--coco .: expected the name of a file"),
    ],
)
def test_what_does_not_go_together(model, arguments, message, capsys):
    assert run(*arguments) == 2
    assert message in failed(capsys)


@pytest.mark.parametrize(
    "option", ["--box=1,2,3", "--box=3,0,1,9", "--box=a,b,c,d", "--box=nan,0,1,1", "--batch-size=0"]
)
def test_wrong_options(model, option, capsys):
    with pytest.raises(SystemExit, match="2"):
        run("a.png", option)
    assert "needs" in capsys.readouterr().err
