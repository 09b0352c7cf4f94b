"""Video files: frames come in order and upright, and what is no whole clip is one clear line."""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from refhcm.inference import video
from refhcm.inference.video import clip_at, frames, write_clip
from refhcm.utils.errors import UserError

av = pytest.importorskip("av")


@pytest.fixture
def clip(tmp_path):
    """Ten grey frames, each 20 lighter than the one before."""
    path = tmp_path / "clip.mp4"
    write_clip(path, (Image.new("RGB", (33, 48), (20 * k,) * 3) for k in range(10)), rate=Fraction(10))
    return path


def test_frames_come_in_order(clip):
    found = clip_at(clip)
    assert (found.frames, found.rate) == (10, 10)
    shown = list(frames(found))
    assert {image.size for image in shown} == {(32, 48)}  # H.264 needs even sides
    assert [round(float(np.mean(image)) / 20) for image in shown] == list(range(10))
    assert not list(clip.parent.glob("*.part"))


def test_a_turned_clip_is_upright(clip, monkeypatch):
    """A phone held upright: the file says to turn its frames by 90 degrees."""
    corner = Image.new("RGB", (32, 48))
    corner.putpixel((31, 0), (255, 0, 0))
    frame = SimpleNamespace(rotation=90, to_image=lambda: corner)  # counterclockwise
    monkeypatch.setattr(video, "_decoded", lambda path, stream: iter([frame] * 10))
    upright = next(frames(clip_at(clip)))
    assert upright.size == (48, 32)
    assert upright.getpixel((0, 0)) == (255, 0, 0)  # the corner at the right has come to the left


def test_no_such_file_and_no_video(tmp_path):
    with pytest.raises(UserError, match=r"gone.mp4: no such file"):
        clip_at(tmp_path / "gone.mp4")
    with pytest.raises(UserError, match="no regular file"):
        clip_at(tmp_path)
    path = tmp_path / "text.mp4"
    for content in (b"", b"words " * 500):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"text.mp4: cannot be read as a video \(Invalid data"):
            clip_at(path)


def test_only_sound(tmp_path):
    path = tmp_path / "song.wav"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), layout="mono")
        frame.rate = 8000
        output.mux(stream.encode(frame))
    with pytest.raises(UserError, match="holds no video stream, only audio"):
        clip_at(path)


def test_no_frame(tmp_path):
    path = tmp_path / "empty.y4m"
    path.write_bytes(b"YUV4MPEG2 W16 H16 F25:1\n")
    with pytest.raises(UserError, match="holds no frame that can be read"):
        list(frames(clip_at(path)))


def test_an_unknown_codec(clip):
    clip.write_bytes(clip.read_bytes().replace(b"avc1", b"zzzz"))
    with pytest.raises(UserError, match=r"clip.mp4: .*codec"):
        list(frames(clip_at(clip)))


def test_a_file_that_was_cut_off(clip, tmp_path):
    """Once without its index, which is at the end, and once with the index first and without the last frames."""
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    with pytest.raises(UserError, match=r"cut.mp4: cannot be read as a video"):
        clip_at(cut)
    noise = np.random.default_rng(0).integers(0, 256, (10, 48, 32, 3), np.uint8)
    with av.open(str(cut), "w", options={"movflags": "faststart"}) as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 48, "yuv420p"
        for picture in noise:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        output.mux(stream.encode(None))
    assert len(list(frames(clip_at(cut)))) == 10
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    seen = []
    with pytest.raises(
        UserError, match=r"cut.mp4: (ends after frame \d of 10: the file is not complete|cannot be read)"
    ):
        seen.extend(frames(clip_at(cut)))


def test_without_pyav(monkeypatch, clip):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(UserError, match="Run: pip install av"):
        clip_at(clip)
