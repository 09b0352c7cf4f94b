"""What `refhcm ask` asks: pictures in folders, tables of pairs, and options that do not go together."""

import io
import json
import os
from pathlib import Path

import pytest
from asking import failed, lines, run
from PIL import Image

from refhcm.apps.cli.ask.questions import pictures, read_pairs
from refhcm.data.pictures import open_picture
from refhcm.utils.errors import DataError


@pytest.mark.parametrize(
    ("name", "text", "pairs"),
    [
        ("a.csv", "image,expression\nx.jpg,the man\n", [("x.jpg", "the man")]),
        ("a.csv", 'x.jpg,the man\ny.jpg,"red, tall"\n', [("x.jpg", "the man"), ("y.jpg", "red, tall")]),
        ("a.csv", "\ufeffid,Text,File\n1,the man,x.jpg\n\n", [("x.jpg", "the man")]),
        ("a.tsv", "x.jpg\tred, tall\r\n", [("x.jpg", "red, tall")]),
        ("a.txt", "x.jpg\tred, tall\n", [("x.jpg", "red, tall")]),
        ("a.tsv", "\ufeff\n \r\nx.jpg\tred, tall\n", [("x.jpg", "red, tall")]),
        ("a.csv", "x.jpg,the man,\n", [("x.jpg", "the man")]),
        ("a.txt", "x.jpg,größer\n", [("x.jpg", "größer")]),
        # between tabs a quote is a letter
        ("a.tsv", 'x.jpg\t"the tall\ny.jpg\ta man\n', [("x.jpg", '"the tall'), ("y.jpg", "a man")]),
        ("a.txt", 'image\ttext\nx.jpg\t"left" man\ny.jpg\t"b"\n', [("x.jpg", '"left" man'), ("y.jpg", '"b"')]),
        ("a.tsv", 'x.jpg\t6\'2" tall\ny.jpg\t""\n', [("x.jpg", "6'2\" tall"), ("y.jpg", '""')]),
        ("a.csv", 'x.jpg,"a ""tall"" man"\ny.jpg,6\'2" tall\n', [("x.jpg", 'a "tall" man'), ("y.jpg", "6'2\" tall")]),
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
        (b"x.jpg,a\0\n" + b'"' + b"x" * 200_000, "a.csv:2: cannot be read as CSV .*field larger"),
        (b'x.jpg,a\ny.jpg,"the tall\nz.jpg,b\nz.jpg,c\n', "a.csv:2: cannot be read as CSV .* is never closed"),
        (b'x.jpg,"the tall\ny.jpg,"the short"\nz.jpg,b\n', "a.csv:1: cannot be read as CSV .* is never closed"),
        (b'x.jpg,"left" man\n', "a.csv:1: cannot be read as CSV .* is never closed"),
        (b'id,image,text\n"1\n2",x.jpg,a\n3,y.jpg,\n', "a.csv:4: .*the text is missing"),
        (b'id,image,text\n3,y.jpg,"\n\n"\n', "a.csv:2: .*the text is missing"),
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
    assert "none.csv: no such file" in failed(capsys)


def test_names_that_are_too_long_are_errors_of_their_own(model, photos, tmp_path, capsys):
    out, long = tmp_path / "a.jsonl", "n" * 300
    (photos / "pairs.csv").write_text(f"a.png,a man\n{long}.png,a man\n{long}/{long}.png,a man\nb.jpg,a man\n")
    assert run("--pairs", photos / "pairs.csv", "--out", out) == 1
    assert ["error" in line for line in lines(out)] == [False, True, True, False]
    assert "too long" in lines(out)[1]["error"]
    assert run(photos / long, "--text", "a man") == 2
    assert "no such file or folder" in failed(capsys)


def test_only_regular_files_of_bounded_size_are_read(model, photos, tmp_path, capsys):
    os.mkfifo(photos / "pipe.png")
    (photos / "sparse.png").touch()
    os.truncate(photos / "sparse.png", 12 * 2**30)
    out = tmp_path / "a.jsonl"
    asked = (photos / "pipe.png", photos / "sparse.png", "/dev/zero", photos / "b.jpg")
    assert run(*asked, "--text", "a man", "--out", out) == 1
    messages = [line.get("error", "answered") for line in lines(out)]
    expected = ("no regular file", "holds more than", "no regular file", "answered")
    assert all(word in message for word, message in zip(expected, messages, strict=True))
    for table in (photos / "pipe.png", photos):
        assert run("--pairs", table, "--out", out) == 2
        assert "is no regular file" in failed(capsys)
    assert run("--pairs", photos / "sparse.png", "--out", out) == 2
    assert "expected at most" in failed(capsys)
    assert run(photos / "a.png", "--text", "a", "--out", photos / "sparse.png") == 2
    assert "sparse.png:1: is not an answer" in failed(capsys)


def test_linked_folders(model, tmp_path, capsys):
    """They are followed; a loop is walked once, a broken link is no picture."""
    inside, elsewhere = tmp_path / "inside", tmp_path / "elsewhere"
    for folder in (inside / "deep", elsewhere / "more"):
        folder.mkdir(parents=True)
        Image.new("RGB", (9, 9)).save(folder / "a.png")
    (inside / "linked").symlink_to(elsewhere)
    (inside / "deep" / "loop").symlink_to(inside)
    (elsewhere / "back").symlink_to("../elsewhere")
    (elsewhere / "broken.png").symlink_to("gone.png")
    (elsewhere / "self").symlink_to("self")
    (elsewhere / "b.png").symlink_to("more/a.png")
    found = [Path(path).relative_to(inside).as_posix() for path in pictures([str(inside)])]
    assert found == ["deep/a.png", "linked/b.png", "linked/more/a.png"]
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "linked").symlink_to(inside / "deep")
    found = [Path(path).relative_to(tmp_path).as_posix() for path in pictures([str(tmp_path / "only")])]
    assert found[0] == "only/linked/a.png"
    assert len(found) == 3  # the loop leads to `inside`, whose `deep` is the linked folder itself


def test_a_folder_that_cannot_be_listed(model, photos, capsys, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert run(photos, "--text", "a man") == 2
    assert "deep: cannot be listed (Permission denied)" in failed(capsys)


HEIC = b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + b"\0" * 99


@pytest.mark.parametrize("head", [HEIC, HEIC.replace(b"mif1", b"heic", 1), HEIC.replace(b"mif1heic", b"heixmsf1")])
def test_heic_without_its_reader(model, photos, tmp_path, monkeypatch, head):
    monkeypatch.setattr("refhcm.data.pictures.picture_formats", lambda: ("JPEG", "PNG"))
    for name in ("IMG_1.HEIC", "b.heif", "c.jpg"):
        (photos / name).write_bytes(head)
    out = tmp_path / "a.jsonl"
    assert run(photos, "--text", "a man", "--out", out) == 1
    errors = {Path(line["image"]).name: line["error"] for line in lines(out) if "error" in line}
    assert sorted(errors) == ["IMG_1.HEIC", "b.heif", "c.jpg"]
    assert all(error.endswith("HEIC: pip install pillow-heif") for error in errors.values())


def test_an_avif_is_no_heic():
    data = io.BytesIO()
    Image.new("RGB", (16, 8), "red").save(data, "AVIF")
    assert open_picture(data.getvalue()).size == (16, 8)


def test_avif_without_its_reader(model, photos, tmp_path, monkeypatch):
    Image.new("RGB", (16, 8), "red").save(photos / "new.AVIF", "AVIF")
    monkeypatch.setattr("refhcm.data.pictures.picture_formats", lambda: ("JPEG", "PNG"))
    out = tmp_path / "a.jsonl"
    assert run(photos, "--text", "a man", "--out", out) == 1
    (error,) = [line["error"] for line in lines(out) if "error" in line]
    assert error.endswith("new.AVIF: AVIF: pip install 'Pillow>=11.3'")


def test_heic_with_its_reader(model, photos, tmp_path):
    heif = pytest.importorskip("pillow_heif")
    heif.from_pillow(Image.new("RGB", (64, 32), "red")).save(photos / "IMG_1.HEIC")
    out = tmp_path / "a.jsonl"
    assert run(photos / "IMG_1.HEIC", "--text", "a man", "--out", out) == 0
    assert lines(out)[0]["size"] == [64, 32]


def test_coco_ids_of_an_annotation_file(model, photos, tmp_path, capsys):
    truth = tmp_path / "truth.json"
    truth.write_text(json.dumps({"images": [{"id": 70, "file_name": "a.png"}, {"id": 71, "file_name": "b.jpg"}]}))
    asked = ("--text", "a man", "--coco", tmp_path / "c.json", "--coco-ids", truth)
    assert run(photos / "a.png", photos / "b.jpg", *asked) == 0
    assert [row["image_id"] for row in json.loads((tmp_path / "c.bbox.json").read_text())] == [70, 71]
    calls = len(model.calls)
    assert run(photos / "deep", *asked) == 2
    assert "no image of this name among 2" in failed(capsys)
    assert run(photos / "a.png", "--text", "a man", "--coco-ids", truth) == 2
    assert failed(capsys) == "error: --coco-ids: needs --coco"
    truth.write_text("{}")
    assert run(photos / "a.png", *asked) == 2
    assert "expected COCO-style JSON" in failed(capsys)
    assert len(model.calls) == calls + 1


@pytest.mark.parametrize("box", ["-5,10,200,250", "-5.5,-.5,20,30", "-.5,1,2e1,3", "-1e1,-2,3,4", "5,-6,7,8"])
@pytest.mark.parametrize("form", [("--box", "{}"), ("--box={}",)])
def test_negative_boxes(model, photos, tmp_path, box, form):
    out = tmp_path / "a.jsonl"
    assert run(photos / "a.png", *(part.format(box) for part in form), "--out", out) == 0
    assert lines(out)[0]["question"] == {"describe": [float(number) for number in box.split(",")]}


def test_a_pictures_path_may_start_at_the_working_folder(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(photos)
    (tmp_path / "a.csv").write_text("deep/c.JPG,a\n")
    assert read_pairs(tmp_path / "a.csv") == [("deep/c.JPG", "a")]
    (tmp_path / "deep").mkdir(exist_ok=True)
    (tmp_path / "deep" / "c.JPG").touch()  # a picture at the table's folder goes first
    assert read_pairs(tmp_path / "a.csv") == [(str(tmp_path / "deep" / "c.JPG"), "a")]


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
    assert run("https://host/a.jpg", "--text", "a man") == 2
    assert "https://host/a.jpg: is an address" in failed(capsys)
    (tmp_path / "t.csv").write_text("https://host/a.jpg,a man\n")
    assert run("--pairs", tmp_path / "t.csv", "--out", tmp_path / "a.jsonl") == 1
    assert "https://host/a.jpg: is an address" in lines(tmp_path / "a.jsonl")[0]["error"]
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


@pytest.mark.parametrize("box", ["1,2,3", "-1,2,3", "3,0,1,9", "3,0,3,9", "0,9,3,9", "a,b,c,d", "nan,0,1,1", None])
def test_wrong_options(model, box, capsys):
    with pytest.raises(SystemExit, match="2"):
        run("a.png", "--batch-size=0" if box is None else f"--box={box}")
    assert "needs" in capsys.readouterr().err
