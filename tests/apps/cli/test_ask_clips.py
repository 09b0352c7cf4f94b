"""`refhcm ask --video`: a line a frame, resuming, files for other programs, and the shipped model on a drawn clip."""

import json
import os
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from asking import Model, failed, lines, run
from PIL import Image

from refhcm.inference import loading
from refhcm.inference.video import clip_at, frames, write_clip
from refhcm.utils.boxes import iou

pytest.importorskip("av")
# pycocotools' decoder with numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def clip(tmp_path):
    """Six grey frames of 32 x 48 px."""
    path = tmp_path / "dance.mp4"
    write_clip(path, (Image.new("RGB", (32, 48), (20 * k,) * 3) for k in range(6)), rate=Fraction(10))
    return path


@pytest.fixture
def model(monkeypatch):
    model = Model(batch_size=64)
    monkeypatch.setattr(loading, "load", lambda checkpoint, **options: model)
    return model


def test_a_line_for_each_frame(model, clip, tmp_path, capsys):
    out, drawn, poses, masks = (tmp_path / name for name in ("a.jsonl", "drawn", "poses", "masks"))
    asked = ("--video", clip, "--text", "the dancer", "--keypoints", "--parsing", "--out", out)
    places = ("--save-images", drawn, "--openpose", poses, "--masks", masks, "--coco", tmp_path / "c.json")
    assert run(*asked, *places) == 0
    found = lines(out)
    assert [line["image"] for line in found] == [f"{clip}/dance_{k:06d}" for k in range(6)]
    assert found[0]["question"] == {"refer": "the dancer", "keypoints": True, "parsing": True, "followed": True}
    assert len({line["picture"] for line in found}) == 1
    assert found[0]["picture"] is not None
    said = capsys.readouterr().err
    assert '"the dancer" is followed through 6 of 6 frames' in said
    assert "6 answered, 0 skipped (already done), 0 failed" in said
    assert sorted(os.listdir(poses)) == [f"dance_{k:06d}_keypoints.json" for k in range(6)]
    assert sorted(os.listdir(masks))[:3] == [f"dance_000000-0-the-dancer{end}.png" for end in ("", "_hair", "_person")]
    assert len(json.loads((tmp_path / "c.keypoints.json").read_text())) == 6
    assert os.listdir(drawn) == ["dance_000000-0-the-dancer.mp4"]
    shown = clip_at(drawn / "dance_000000-0-the-dancer.mp4")
    assert (shown.frames, shown.rate) == (6, 10)
    first = np.array(next(frames(shown))).astype(int)
    assert (first.max(-1) - first.min(-1)).max() > 60  # something is drawn in colour


def test_a_run_that_was_stopped_goes_on_where_the_person_was(model, clip, tmp_path, monkeypatch, capsys):
    """In the last two, lighter frames the words fit somebody else, on the right: the person is lost in both."""
    refer, out = model.refer, tmp_path / "a.jsonl"

    def of_the_left(images, texts, **parts):
        left, right = (np.array([x, 0, x + 10, 40], np.float32) for x in (0, 20))
        boxes = [right if np.asarray(image).mean() > 70 else left for image in images]
        return [
            replace(one, box_xyxy=box if image.width == 32 else None, valid=image.width == 32)  # else a window
            for one, box, image in zip(refer(images, texts, **parts), boxes, images, strict=True)
        ]

    monkeypatch.setattr(model, "refer", of_the_left)
    asked = ("--video", clip, "--text", "the dancer", "--out", out)
    assert run(*asked) == 0
    whole = out.read_bytes()
    assert [line["box"] is None for line in lines(out)] == [False] * 4 + [True] * 2
    out.write_bytes(b"".join(whole.splitlines(keepends=True)[:4]))
    model.calls.clear()
    assert run(*asked) == 0
    assert out.read_bytes() == whole
    assert [len(texts) for _, texts in model.calls] == [2, 1, 1]  # the frames, and a window of each
    capsys.readouterr()
    assert run(*asked) == 0
    assert len(model.calls) == 3
    said = capsys.readouterr().err
    assert "through 4 of 6 frames" in said
    assert "0 answered, 6 skipped (already done), 0 failed" in said


def test_who_jumps_is_lost_and_has_no_pose(model, clip, tmp_path, monkeypatch, capsys):
    refer, boxes = model.refer, iter([[0, 0, 10, 40]] * 3 + [[20, 0, 30, 40]] * 3)

    def jumping(images, texts, **parts):
        found = refer(images, texts, **parts)
        if images[0].size != (32, 48):  # the window, in which nobody is found
            return [replace(one, box_xyxy=None, keypoints=None, valid=False) for one in found]
        return [replace(one, box_xyxy=np.array(next(boxes), np.float32)) for one in found]

    monkeypatch.setattr(model, "refer", jumping)
    out = tmp_path / "a.jsonl"
    assert run("--video", clip, "--text", "the dancer", "--keypoints", "--out", out) == 0
    assert [line["box"] is not None for line in lines(out)] == [True] * 3 + [False] * 3
    assert lines(out)[4]["keypoints"] is None
    assert "is followed through 3 of 6 frames" in capsys.readouterr().err


@pytest.mark.parametrize(("least", "found"), [("0.5", True), ("0.51", False)])
def test_frames_that_are_not_sure_enough(model, clip, tmp_path, least, found):
    """The stub's boxes have a confidence of one half."""
    out = tmp_path / "a.jsonl"
    assert run("--video", clip, "--text", "the dancer", "--min-confidence", least, "--out", out) == 0
    assert [line["box"] is not None for line in lines(out)] == [found] * 6
    assert {line["question"]["min_confidence"] for line in lines(out)} == {float(least)}


def test_nothing_stands_between_lines_on_a_terminal(model, tmp_path, monkeypatch, capsys):
    short = tmp_path / "short.mp4"
    write_clip(short, [Image.new("RGB", (16, 16))] * 2, rate=Fraction(5))
    assert run("--video", short, "--text", "the dancer") == 0
    assert "2/2" in capsys.readouterr().err  # in a file or a pipe, the progress is seen
    shown, terminal = os.openpty()
    with open(terminal, "w") as stdout, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)
        assert run("--video", short, "--text", "the dancer") == 0
    assert [json.loads(line)["size"] for line in os.read(shown, 10_000).splitlines()] == [[16, 16]] * 2
    os.close(shown)
    assert "2/2" not in capsys.readouterr().err


def test_several_clips_and_texts(model, clip, tmp_path):
    other = tmp_path / "other.mp4"
    write_clip(other, [Image.new("RGB", (16, 16))] * 2, rate=Fraction(5))
    out = tmp_path / "a.jsonl"
    asked = ("--video", clip, "--video", other, "--text", "a", "--text", "b", "--out", out)
    assert run(*asked, "--save-images", tmp_path / "drawn") == 0
    assert len(lines(out)) == 16
    assert sorted(os.listdir(tmp_path / "drawn")) == [
        "dance_000000-0-a.mp4",
        "dance_000000-1-b.mp4",
        "other_000000-0-a.mp4",
        "other_000000-1-b.mp4",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--text", "a", "--all"), "--video: follows the person of a --text; leave out --box, --all and --instruct"),
        (("--box", "1,2,3,4"), "--video: follows"),
        ((), "nothing is asked"),
    ],
)
def test_flags_that_do_not_go_together(model, clip, capsys, options, message):
    assert run("--video", clip, *options) == 2
    assert failed(capsys).startswith(f"error: {message}")


def test_mistakes_are_said_before_anything_is_asked(model, clip, photos, tmp_path, capsys):
    assert run("--video", tmp_path / "gone.mp4", "--text", "a") == 2
    assert failed(capsys).endswith("gone.mp4: no such file")
    assert run("--video", photos / "a.png", photos, "--text", "a") == 2
    assert "name pictures or folders, or a table with --pairs, or a clip with --video" in failed(capsys)
    assert not model.calls


def test_a_clip_that_ends_early_keeps_what_was_answered(model, clip, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("refhcm.apps.cli.ask.clips.clip_at", lambda path: replace(clip_at(path), frames=60))
    out = tmp_path / "a.jsonl"
    assert run("--video", clip, "--text", "a", "--out", out) == 1
    said = capsys.readouterr().err
    assert "dance.mp4: ends after frame 6 of 60: the file is not complete" in said
    assert "6 answered, 0 skipped (already done), 1 failed" in said
    assert len(lines(out)) == 6


def test_a_clip_that_is_gone_is_not_drawn(model, clip, photos, tmp_path, capsys):
    out = tmp_path / "a.jsonl"
    assert run("--video", clip, "--text", "a", "--out", out) == 0
    clip.unlink()
    assert run(photos / "a.png", "--text", "a", "--out", out, "--save-images", tmp_path / "drawn") == 2
    assert "dance.mp4: not drawn (the clip is missing or has changed)" in failed(capsys)
    assert os.listdir(tmp_path / "drawn") == ["a-0-a.jpg"]


def test_the_small_model_follows_a_drawn_person(tmp_path):
    """The camera pans over a drawn picture: the person moves to the left by 4 px a frame."""
    with Image.open(ROOT / "examples" / "park.jpg") as park:
        views = [park.convert("RGB").crop((4 * k, 0, 300 + 4 * k, 256)) for k in range(4)]
    clip, out = tmp_path / "pan.mp4", tmp_path / "a.jsonl"
    write_clip(clip, views, rate=Fraction(10))
    asked = ("--video", clip, "--text", "the guy waving with the left hand", "--device", "cpu")
    assert run(*asked, "--out", out) == 0
    boxes = np.array([line["box"] for line in lines(out)])
    expected = np.array([146, 97, 227, 224]) - 4 * np.arange(4)[:, None] * [1, 0, 1, 0]
    assert iou(boxes, expected).min() > 0.7
