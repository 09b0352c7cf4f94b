"""`refhcm ask` with a model that knows its answers, and once with a real, untrained one."""

import argparse
import fcntl
import json

import numpy as np
import pytest
import torch
from PIL import Image

from refhcm.models.refhcm import Network, NetworkConfig
from refhcm.tasks import cli, loading
from refhcm.tasks.answers import Answer, Keypoints, Scores
from refhcm.tasks.ask_questions import pictures, read_pairs
from refhcm.tasks.ask_records import answer_of
from refhcm.utils.errors import DataError, UserError
from refhcm.utils.parsing import CLASS_NAMES

# pycocotools' decoder with numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


class Model:
    """Answers with a box that is the picture, and all that is asked for. It refuses what has the word "bad" in it."""

    def __init__(self, batch_size=4, tokenizer="a tokenizer"):
        self.batch_size, self.tokenizer, self.calls = batch_size, tokenizer, []

    def refer(self, images, texts, *, keypoints, parsing, parallel):
        self.note("refer", images, texts)
        return [self.person(image, keypoints=keypoints, parsing=parsing) for image in images]

    def instruct(self, images, texts):
        self.note("instruct", images, texts)
        return [self.person(image) for image in images]

    def describe(self, images, boxes):
        self.note("describe", images, boxes)
        return [
            Answer(image.size, True, (), f"a person {image.width} wide", caption=f"at {box}")
            for image, box in zip(images, boxes, strict=True)
        ]

    def note(self, method, images, asked):
        assert 0 < len(images) == len(asked) <= self.batch_size
        self.calls.append((method, list(asked)))
        if any("bad" in str(text) for text in asked):
            raise UserError("expression: is bad")

    @staticmethod
    def person(image, *, keypoints=False, parsing=False):
        width, height = image.size
        points = np.zeros((17, 2), np.float32)
        points[0] = (2, 3)
        label_map = np.zeros((height, width), np.uint8)
        label_map[1:3, 1:4] = CLASS_NAMES.index("hair")
        return Answer(
            image.size,
            True,
            ("<bin_0>",),
            "a box",
            np.array([0, 0, width, height], np.float32),
            Keypoints(points, points.any(axis=1)) if keypoints else None,
            label_map if parsing else None,
            None,
            Scores(box=0.5),
        )


@pytest.fixture
def model(monkeypatch):
    model = Model()
    monkeypatch.setattr(loading, "load", lambda checkpoint, **options: model)
    return model


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for k, name in enumerate(("b.jpg", "a.png", "deep/c.JPG")):
        Image.new("RGB", (20 + k, 30), (k, 0, 0)).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.jpg").write_text("no picture")
    return folder


def run(*arguments):
    return cli.main(["ask", *map(str, arguments)])


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def failed(capsys):
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("error: ")
    return message


def test_a_folder_is_answered_once(model, photos, tmp_path, capsys):
    out = tmp_path / "new" / "answers.jsonl"
    assert run(photos, "--text", "the woman in red", "--text", "a man", "--out", out) == 0
    assert [(line["image"], line["question"]) for line in lines(out)] == [
        (str(photos / name), {"refer": text})
        for name in ("a.png", "b.jpg", "deep/c.JPG")
        for text in ("the woman in red", "a man")
    ]
    assert lines(out)[0]["box"] == [0, 0, 21, 30]
    assert {line["model"] for line in lines(out)} == {"shipped"}
    assert [len(asked) for _, asked in model.calls] == [4, 2]
    before = out.read_bytes()
    assert run(photos, "--text", "a man", "--text", "the woman in red", "--out", out) == 0
    assert len(model.calls) == 2
    assert out.read_bytes() == before
    assert "0 answered, 6 were there" in capsys.readouterr().err


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
    assert [line["model"] for line in lines(out)] == ["shipped", "shipped", "b.pt"]


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


def test_broken_pictures_and_questions_are_not_the_end(model, photos, tmp_path, capsys):
    (photos / "b.jpg").write_bytes((photos / "b.jpg").read_bytes()[:200])
    out = tmp_path / "a.jsonl"
    assert run(photos, "--text", "a man", "--text", "a bad one", "--out", out) == 1
    found = {(line["image"].rpartition("/")[2], line["question"]["refer"]): line.get("error") for line in lines(out)}
    assert found[("a.png", "a man")] is None
    assert found[("c.JPG", "a man")] is None
    assert "b.jpg" in found[("b.jpg", "a man")]
    assert found[("a.png", "a bad one")] == "expression: is bad"
    assert "2 answered, 0 were there, 4 without an answer" in capsys.readouterr().err
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
    assert [method for method, _ in model.calls] == ["refer", "describe", "describe", "instruct", "refer", "describe"]


def test_answers_are_printed_without_a_file(model, photos, capfdbinary):
    assert run(photos / "a.png", "--text", "a man") == 0
    assert json.loads(capfdbinary.readouterr().out)["box"] == [0, 0, 21, 30]


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


def test_a_line_is_the_whole_answer():
    answer = Model.person(Image.new("RGB", (20, 30)), keypoints=True, parsing=True)
    record = json.loads(json.dumps(answer.to_dict()))
    back = answer_of(record)
    assert back.to_dict() == answer.to_dict()
    assert (back.label_map == answer.label_map).all()
    assert back.keypoints["nose"] == (2, 3)


@pytest.mark.parametrize(
    ("name", "text", "pairs"),
    [
        ("a.csv", "image,expression\nx.jpg,the man\n", [("x.jpg", "the man")]),
        ("a.csv", 'x.jpg,the man\ny.jpg,"red, tall"\n', [("x.jpg", "the man"), ("y.jpg", "red, tall")]),
        ("a.csv", "\ufeffid,Text,File\n1,the man,x.jpg\n\n", [("x.jpg", "the man")]),
        ("a.tsv", "x.jpg\tred, tall\r\n", [("x.jpg", "red, tall")]),
        ("a.txt", "x.jpg\tred, tall\n", [("x.jpg", "red, tall")]),
        ("a.txt", "x.jpg,größer\n", [("x.jpg", "größer")]),
    ],
)
def test_tables(tmp_path, name, text, pairs):
    (tmp_path / name).write_bytes(text.encode())
    assert read_pairs(tmp_path / name) == [(str(tmp_path / image), text) for image, text in pairs]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "holds no line"),
        (b"image,expression\n", "holds a header and no line below it"),
        (b"x.jpg\ny.jpg\n", r"a.csv:1: needs two columns, picture and text, got 'x.jpg'"),
        (b"image,note\nx.jpg,1\n", r"a.csv:1: the header names no column of the text, got 'image', 'note'"),
        (b"id,text\n1,a\n", r"the header names no column of the picture"),
        (b"x.jpg,a\n\ny.jpg, \n", r"a.csv:3: the text is empty"),
        (b",a\n", r"a.csv:1: the picture is empty"),
        (b"x.jpg,caf\xe9\n", "is not UTF-8"),
        (b"x.jpg,a\0\n" + b'"' + b"x" * 200_000, "is no table|needs two columns"),
    ],
)
def test_tables_that_are_none(tmp_path, text, message):
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
    assert "none.csv: can not be read: No such file" in failed(capsys)


def test_a_pictures_path_may_start_at_the_working_folder(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(photos)
    (tmp_path / "a.csv").write_text("deep/c.JPG,a\n")
    assert read_pairs(tmp_path / "a.csv") == [("deep/c.JPG", "a")]


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
        (["--pairs", "a.csv", "--text", "a"], "--text and --box go with pictures"),
        ([".", "--text", "a", "--instruct", "--caption"], "--caption: go with --text that describes a person"),
        ([".", "--box", "1,2,3,4", "--keypoints"], "--keypoints: go with --text"),
        ([".", "--text", "a", "--parallel"], "--parallel: is a way to answer --parsing"),
        ([".", "--text", " "], "--text: is empty"),
    ],
)
def test_what_does_not_go_together(model, arguments, message, capsys):
    assert run(*arguments) == 2
    assert message in failed(capsys)


@pytest.mark.parametrize(
    "option", ["--box=1,2,3", "--box=3,0,1,9", "--box=a,b,c,d", "--box=nan,0,1,1", "--batch-size=0"]
)
def test_options_that_are_none(model, option, capsys):
    with pytest.raises(SystemExit, match="2"):
        run("a.png", option)
    assert "needs" in capsys.readouterr().err


def test_parsing_needs_a_tokenizer(monkeypatch, photos, capsys):
    monkeypatch.setattr(loading, "load", lambda checkpoint, **options: Model(tokenizer=None))
    assert run(photos, "--text", "a man", "--parsing") == 2
    assert "--parsing: needs the tokenizer" in failed(capsys)


def test_files_that_are_not_written_over(model, photos, tmp_path, capsys):
    for number, content in enumerate((b"my notes", b"my notes\n", b'{"a": 1}\n', b"[1]\n", b"\xff\xfe\n")):
        out = tmp_path / f"{number}.txt"
        out.write_bytes(content)
        assert run(photos, "--text", "a man", "--out", out) == 2
        assert "name another" in failed(capsys)
        assert out.read_bytes() == content
    assert run(photos, "--text", "a man", "--out", photos) == 2
    assert "can not be written: Is a directory" in failed(capsys)
    assert run(photos, "--text", "a man", "--out", photos / "a.png" / "a.jsonl") == 2
    assert "can not be written" in failed(capsys)
    assert not model.calls


def test_two_runs_do_not_write_one_file(model, photos, tmp_path, capsys):
    with open(tmp_path / "a.jsonl", "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert run(photos, "--text", "a man", "--out", tmp_path / "a.jsonl") == 2
    assert "another run writes it" in failed(capsys)


def test_exports_that_can_not_be_written(model, photos, tmp_path, capsys):
    for option in ("--coco", "--save-images"):
        assert run(photos / "a.png", "--text", "a man", "--out", tmp_path / "a.jsonl", option, photos / "b.jpg/x") == 2
        assert "can not be written" in failed(capsys)


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
