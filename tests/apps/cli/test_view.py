"""`refhcm view` on the drawn world."""

import base64
import io
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from commands import refhcm
from PIL import Image

from refhcm.apps.cli import view
from refhcm.tasks.settings import TaskSettings
from refhcm.utils.drawing import PREDICTION, TRUTH
from refhcm.utils.errors import DataError, UserError


def rows_of(path):
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]


def numbers(text):
    return [float(number) for number in text.split(",")]


@pytest.fixture
def perfect(world, tmp_path):
    """A result file that answers every row of the keypoint table correctly."""
    records = [
        {"uniq_id": row[0], "box": numbers(row[3]), "keypoints": numbers(row[4]), "oks_score": 1.0}
        for row in rows_of(world / "rkpt" / "val.tsv")
    ]
    path = tmp_path / "predict.json"
    path.write_text(json.dumps(records), encoding="utf-8")
    return path


def read(world, task, *, file="rkpt/val.tsv", rows=slice(0, 2), results=None, **settings):
    settings = TaskSettings(annotation_root=str(world / "rpar" / "annos"), **settings)
    return view.read_rows(view.reading_task(task, settings), world / file, rows=rows, results=results)


def run(*arguments):
    return refhcm("view", *arguments)


@pytest.mark.parametrize(
    ("task", "file", "options"),
    [
        ("refcoco", "rkpt/val.tsv", ["--selected-cols", "0,5,2,3"]),
        ("rkpt", "rkpt/val.tsv", []),
        ("rpar", "rpar/val.tsv", []),
        ("rpar_full_mask", "rpar/val.tsv", []),
        ("rhrc", "rhrc/val.tsv", []),
        ("grec", "grec/val.tsv", []),
    ],
)
def test_every_task_has_a_sheet(world, tmp_path, capsys, task, file, options):
    out = tmp_path / "new" / "sheet.png"
    root = world / "rpar" / "annos"
    assert run(world / file, "--task", task, "--out", out, "--rows", "0:3", "--annotation-root", root, *options) == 0
    assert capsys.readouterr().out == f"{out}: 3 rows\n"
    with Image.open(out) as sheet:
        assert sheet.width > 3 * view.PICTURE_WH[0]
    assert [path.name for path in out.parent.iterdir()] == ["sheet.png"]


def test_rows_may_be_named_one_by_one(world, tmp_path, capsys):
    assert [row.annotation.id for row in read(world, "rkpt", rows=[2, 0])] == [
        rows_of(world / "rkpt" / "val.tsv")[k][0] for k in (2, 0)
    ]
    out = tmp_path / "sheet.png"
    assert run(world / "rkpt" / "val.tsv", "--task", "rkpt", "--out", out, "--rows", "0,2") == 0
    assert capsys.readouterr().out == f"{out}: 2 rows\n"


def test_the_box_of_the_truth_is_on_the_tile(world):
    (row,) = read(world, "refcoco", rows=slice(0, 1), selected_cols="0,5,2,3")
    width, height = row.annotation.image.size
    scale = min(view.PICTURE_WH[0] / width, view.PICTURE_WH[1] / height)
    x0, y0, x1, y1 = row.annotation.box_xyxy * scale
    pixels = np.asarray(view.tile(row))[: round(height * scale)]
    found = np.argwhere((pixels == TRUTH).all(-1))  # [N, 2] y, x
    assert found.min(0) == pytest.approx((y0, x0), abs=2)
    assert found.max(0) == pytest.approx((y1, x1), abs=2)


def test_a_right_answer_scores_one_and_stands_beside_the_truth(world, perfect):
    row, _ = read(world, "rkpt", results=perfect)
    assert view.scores(row) == {"IoU": pytest.approx(1, abs=1e-5), "OKS": pytest.approx(1)}
    pixels = np.asarray(view.tile(row))
    middle = view.PAIRED_WH[0] + 2
    assert (pixels[:, :middle] == TRUTH).all(-1).sum() > 100
    assert (pixels[:, middle:] == PREDICTION).all(-1).sum() > 100
    assert not (pixels[:, middle:] == TRUTH).all(-1).any()


def test_boxes_alone_share_a_picture(world, tmp_path):
    records = [{"uniq_id": row[0], "box": [0, 0, 40, 50]} for row in rows_of(world / "rkpt" / "val.tsv")]
    path = tmp_path / "predict.json"
    path.write_text(json.dumps(records))
    row, _ = read(world, "refcoco", results=path, selected_cols="0,5,2,3")
    tile = view.tile(row)
    assert tile.width == view.PICTURE_WH[0]
    pixels = np.asarray(tile)
    assert (pixels == TRUTH).all(-1).any()
    assert (pixels == PREDICTION).all(-1).any()


def test_unreadable_box_is_not_drawn(world, perfect):
    records = json.loads(perfect.read_text())
    records[0] |= {"box": [0, 0, 0, 0], "keypoints": [0] * 34}
    perfect.write_text(json.dumps(records))
    row, _ = read(world, "rkpt", results=perfect)
    assert view.scores(row) == {"IoU": 0, "OKS": pytest.approx(0, abs=1e-3)}
    assert not (np.asarray(view.tile(row)) == PREDICTION).all(-1).any()


def test_codes_are_decoded_into_the_box(world, tmp_path):
    class Faces:
        @staticmethod
        def decode(codes):
            assert codes.shape == (1, 48)
            return torch.full((1, 16, 12), 13)

    task = view.reading_task("rpar", TaskSettings(annotation_root=str(world / "rpar" / "annos")))
    task.tokenizer = Faces()
    rows = rows_of(world / "rpar" / "val.tsv")
    records = [{"uniq_id": row[0], "bbox": [2, 3, 10, 20], "image_code": [-5] * 48} for row in rows]
    path = tmp_path / "predict.json"
    path.write_text(json.dumps(records))
    row, _ = view.read_rows(task, world / "rpar" / "val.tsv", rows=slice(0, 2), results=path)
    assert row.prediction.label_map.shape == row.truth.label_map.shape
    assert np.unique(row.prediction.label_map[3:20, 2:10]).tolist() == [13]
    assert row.prediction.label_map.sum() == 13 * 8 * 17
    assert set(view.scores(row)) == {"IoU", "mIoU"}


def test_ignored_pixels_are_neither_drawn_nor_scored(world, tmp_path):
    rows = rows_of(world / "rpar" / "val.tsv")
    mask = np.load(world / "rpar" / "annos" / "gts" / rows[0][4])
    np.save(world / "rpar" / "annos" / "gts" / "ignored.npy", np.where(mask > 0, 255, 0))
    (tmp_path / "rows.tsv").write_text("\t".join([*rows[0][:4], "ignored.npy", rows[0][5]]) + "\n")
    (row,) = read(world, "rpar", file=tmp_path / "rows.tsv", rows=slice(0, 1))
    (plain,) = read(world, "rpar", file="rpar/val.tsv", rows=slice(0, 1))
    assert (np.asarray(view.tile(row)) != np.asarray(view.tile(plain))).any()
    view.sheet([row], 1)
    guess = torch.where(torch.from_numpy(mask) > 0, 13, 0)
    answered = view.Row(row.annotation, row.truth, view.Shown(row.truth.box_xyxy, label_map=guess))
    assert view.scores(answered)["mIoU"] == 1


def test_a_turned_picture_is_remarked(world, tmp_path, caplog):
    row = rows_of(world / "rkpt" / "val.tsv")[0]
    exif = Image.Exif()
    exif[0x0112] = 3
    file = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(row[5]))).save(file, "PNG", exif=exif)
    lines = ["\t".join([*row[:5], base64.b64encode(file.getvalue()).decode()]) + "\n"] * 2
    (tmp_path / "rows.tsv").write_text("".join(lines))
    read(world, "rkpt", file=tmp_path / "rows.tsv")
    (message,) = caplog.messages
    assert message.startswith(f"{tmp_path / 'rows.tsv'}:1: the picture is turned upright by its EXIF orientation")


def test_codes_need_a_tokenizer(world, tmp_path):
    rows = rows_of(world / "rpar" / "val.tsv")
    path = tmp_path / "predict.json"
    path.write_text(json.dumps([{"uniq_id": row[0], "bbox": [2, 3, 10, 20], "image_code": [0] * 48} for row in rows]))
    with pytest.raises(UserError, match="--vq-config"):
        read(world, "rpar", file="rpar/val.tsv", results=path)


def test_captions_are_compared_in_words(world, tmp_path):
    rows = rows_of(world / "rhrc" / "val.tsv")
    path = tmp_path / "predict.json"
    path.write_text(json.dumps([{"image_id": r[0], "region": numbers(r[2]), "caption": "a person"} for r in rows]))
    row, _ = read(world, "rhrc", file="rhrc/val.tsv", results=path)
    assert view.scores(row) == {}
    colours = {line.text: line.colour for line in view._lines(row)}
    assert colours["a person"] == PREDICTION
    assert colours[rows[0][1].split("&&")[0]] == TRUTH


def test_a_result_file_of_another_length_is_an_error(world, perfect):
    perfect.write_text(json.dumps(json.loads(perfect.read_text())[:-1]))
    with pytest.raises(DataError, match=r"records, .*val\.tsv has \d+ rows"):
        read(world, "rkpt", results=perfect)


def test_a_result_file_of_other_rows_is_an_error(world, perfect):
    perfect.write_text(json.dumps(json.loads(perfect.read_text())[::-1]))
    with pytest.raises(DataError, match="record 0: answers"):
        read(world, "rkpt", results=perfect)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"box": [1, 2, 3]}, "box: needs 4 finite numbers"),
        ({"box": [1, 2, 3, float("nan")]}, "box: needs 4 finite numbers"),
        ({"box": "left"}, "box: needs 4 finite numbers"),
        ({"keypoints": None}, "keypoints: needs 34 finite numbers"),
    ],
)
def test_a_broken_record_is_named(world, perfect, change, message):
    records = json.loads(perfect.read_text())
    records[1] |= change
    perfect.write_text(json.dumps(records))
    with pytest.raises(DataError, match=f"record 1: {message}"):
        read(world, "rkpt", results=perfect)


@pytest.mark.parametrize("content", ["", "{}", "[1]", "[" * 3])
def test_a_file_without_results_is_named(world, perfect, content):
    perfect.write_text(content)
    with pytest.raises(DataError, match=r"predict\.json"):
        read(world, "rkpt", results=perfect)


def test_mistakes_are_one_line_and_status_2(world, tmp_path, capsys):
    data, out = world / "rkpt" / "val.tsv", tmp_path / "sheet.png"
    for arguments in (
        [tmp_path / "none.tsv", "--task", "rkpt", "--out", out],
        [data, "--task", "rkpt", "--out", tmp_path / "sheet.txt"],
        [data, "--task", "rkpt", "--out", out, "--rows", "900:901"],
        [data, "--task", "rkpt", "--out", out, "--results", tmp_path / "none.json"],
    ):
        assert run(*arguments) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert not list(tmp_path.iterdir())
    with pytest.raises(SystemExit, match="2"):
        run(data, "--task", "rkpt", "--out", out, "--rows", "first")


@pytest.mark.slow
def test_the_command_needs_no_fairseq(world, tmp_path):
    code = "import sys; sys.modules['fairseq'] = None; from refhcm.apps.cli.main import main; sys.exit(main())"
    out = tmp_path / "sheet.jpg"
    arguments = ["view", str(world / "rkpt" / "val.tsv"), "--task", "rkpt", "--out", str(out), "--rows", "0:1"]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, timeout=120)
    with Image.open(out) as sheet:
        assert sheet.format == "JPEG"


def test_several_answered_boxes(world, tmp_path):
    """F1 of the row: one right box of those there are, and one that is wrong; nobody for nobody."""
    rows = read(world, "grec", file="grec/train.tsv", rows=slice(0, None))
    several = next(k for k, row in enumerate(rows) if len(row.truth.boxes_xyxy) == 2)
    nobody = next(k for k, row in enumerate(rows) if not len(row.truth.boxes_xyxy))
    records = [{"uniq_id": row.annotation.id, "boxes": row.truth.boxes_xyxy.tolist()} for row in rows]
    records[several]["boxes"][1] = [0, 0, 1, 1]
    (tmp_path / "answers.json").write_text(json.dumps(records))
    found = read(world, "grec", file="grec/train.tsv", rows=slice(0, None), results=tmp_path / "answers.json")
    assert view.scores(found[several]) == {"F1": 0.5}
    assert view.scores(found[nobody]) == {"F1": 1}
    assert view.tile(found[several]).size == view.tile(rows[several]).size
    for boxes in (None, [1, 2, 3, 4], [[1, 2, 3]]):
        records[0]["boxes"] = boxes
        (tmp_path / "answers.json").write_text(json.dumps(records))
        with pytest.raises(DataError, match=r"record 0: boxes: needs"):
            read(world, "grec", file="grec/train.tsv", results=tmp_path / "answers.json")
