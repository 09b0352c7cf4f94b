"""`refhcm calibrate`, and what evaluation says of confidences."""

import contextlib
import json
import shutil

import pytest
from commands import refhcm
from PIL import Image

import refhcm as package
from refhcm.apps.cli.calibrate import PAUSE_S, _alone
from refhcm.inference import calibration
from refhcm.inference.calibration import calibration_of, calibration_path

TABLES = {"refcoco": "rkpt_rec.tsv", "rkpt": "rkpt_rec.tsv", "rhrc": "rhrc.tsv"}


@pytest.fixture
def checkpoint(golden_checkpoint, golden, tmp_path):
    """The tiny multitask network, with its tokenizer beside it."""
    path = tmp_path / "model" / "tiny.pt"
    path.parent.mkdir()
    shutil.copy(golden_checkpoint("multitask"), path)
    shutil.copytree(golden / "vqgan", path.parent / "vqgan")
    return path


@pytest.fixture
def calibrate(checkpoint, bpe_dir, golden_data, capsys):
    """`calibrate("rkpt")`: status, and what was said on stdout and stderr."""

    def run(task, *flags, table=None):
        table = table or golden_data / TABLES[task]
        flags = ("--task", task, "--bpe-dir", bpe_dir, "--device", "cpu", "--batch-size", 8, *flags)
        status = refhcm("calibrate", checkpoint, table, *flags)
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


@pytest.fixture
def easy(monkeypatch):
    """The tiny network is never right: two points are enough to learn from, even if all are wrong."""
    monkeypatch.setattr(calibration, "LEAST", 2)
    monkeypatch.setattr(calibration, "LEAST_OF_EACH", 0)


def test_each_task_adds_its_curves(calibrate, checkpoint, easy, bpe_dir):
    status, out, err = calibrate("refcoco", "--rows", 6, "--selected-cols", "0,5,2,3")
    assert status == 0, err
    assert out.startswith("box")
    assert set(calibration_of(checkpoint).tasks) == {"refcoco"}
    status, out, err = calibrate("rkpt", "--rows", 6)
    assert status == 0, err
    found = calibration_of(checkpoint).tasks
    assert set(found) == {"refcoco", "rkpt"}
    model = package.load(checkpoint, bpe_dir=bpe_dir, device="cpu")
    answer = model.refer(Image.new("RGB", (60, 80)), "a man", keypoints=True)
    top = max(found["rkpt"]["box"].curve.probability)
    assert answer.confidence.box is None or answer.confidence.box <= top


def test_what_another_run_adds_meanwhile_is_kept(calibrate, checkpoint, easy, monkeypatch):
    assert calibrate("refcoco", "--rows", 6, "--selected-cols", "0,5,2,3")[0] == 0
    first = calibration_of(checkpoint)
    calibration_path(checkpoint).unlink()
    fit = calibration.fit_fields

    def slow(judged, *, where):
        calibration.write_calibration(first, checkpoint)
        return fit(judged, where=where)

    monkeypatch.setattr(calibration, "fit_fields", slow)
    assert calibrate("rkpt", "--rows", 6)[0] == 0
    found = calibration_of(checkpoint).tasks
    assert set(found) == {"refcoco", "rkpt"}
    assert found["refcoco"] == first.tasks["refcoco"]


def test_two_runs_write_one_after_the_other(checkpoint, monkeypatch):
    path, waits = calibration_path(checkpoint), []
    with contextlib.ExitStack() as other:
        other.enter_context(_alone(path))
        monkeypatch.setattr("time.sleep", lambda seconds: (waits.append(seconds), other.close()))
        with _alone(path):
            assert waits == [PAUSE_S]


def test_a_single_class_is_refused(calibrate, checkpoint):
    status, _, err = calibrate("rkpt", "--rows", 4)
    assert status == 2
    assert "right and" in err.splitlines()[-1]
    assert not calibration_path(checkpoint).exists()


def test_the_table_of_another_task_is_refused(calibrate, checkpoint, golden_data):
    status, _, err = calibrate("rkpt", table=golden_data / TABLES["rhrc"])
    assert status == 2
    assert err.splitlines()[-1].startswith(f"error: {golden_data / 'rhrc.tsv'}:1: has 4 columns")
    assert not calibration_path(checkpoint).exists()


def test_a_foreign_and_a_damaged_file_are_named_and_kept(calibrate, checkpoint):
    path = calibration_path(checkpoint)
    path.write_text(json.dumps({"version": 1, "weights": "others", "tasks": {}}))
    status, _, err = calibrate("rkpt")
    assert (status, err.splitlines()[-1].split(": ")[1:3]) == (
        2,
        [str(path), f"belongs to other weights than {checkpoint}; delete it, or move it to its weights"],
    )
    path.write_text("{")
    status, _, err = calibrate("rkpt")
    assert status == 2
    assert "is no calibration" in err.splitlines()[-1]
    assert path.read_text() == "{"


def test_a_missing_checkpoint_is_named(tmp_path, golden_data, capsys):
    assert refhcm("calibrate", tmp_path / "no.pt", golden_data / TABLES["rkpt"], "--task", "rkpt") == 2
    assert "no.pt" in capsys.readouterr().err


def test_evaluation_draws_reliability(checkpoint, bpe_dir, golden_data, tmp_path, capsys):
    out = tmp_path / "drawn" / "reliability.png"
    data = golden_data / TABLES["rhrc"]
    flags = ("--bpe-dir", bpe_dir, "--cpu", "--results-path", tmp_path, "--batch-size", 8, "--max-len-b", 12)
    assert refhcm("evaluate", data, "--path", checkpoint, "--task", "rhrc", *flags, "--reliability", out) == 0
    with_figures = json.loads(capsys.readouterr().out)
    assert refhcm("evaluate", data, "--path", checkpoint, "--task", "rhrc", *flags) == 0
    plain = json.loads(capsys.readouterr().out)
    ece, ranks = with_figures.pop("ece"), with_figures.pop("auroc")
    assert with_figures == plain
    assert 0 <= ece["caption"] <= 1
    assert set(ranks) == {"caption"}
    with Image.open(out) as image:
        assert image.format == "PNG"
        assert min(image.size) > 300
