"""Pictures that commands write are there whole or not at all."""

from pathlib import Path

import pytest
from commands import refhcm
from PIL import Image

from refhcm.apps.cli.pictures import save_picture


@pytest.fixture
def torn(monkeypatch):
    """Writes a part of each picture, until the disk is full."""

    def save(image, file, *_, **__):
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device", str(file))

    def tear():
        monkeypatch.setattr(Image.Image, "save", save)

    return tear


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "me.jpg"
    Image.new("RGB", (40, 30), "grey").save(path)
    return path


@pytest.mark.parametrize(("name", "kind"), [("a.png", "PNG"), ("a.JPG", "JPEG"), ("a.jpeg", "JPEG")])
def test_the_name_says_the_format(name, kind, tmp_path):
    save_picture(Image.new("RGB", (4, 3)), tmp_path / name)
    with Image.open(tmp_path / name) as image:
        assert image.format == kind


def test_a_full_disk_leaves_the_earlier_picture(torn, tmp_path):
    save_picture(Image.new("RGB", (4, 3)), tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    torn()
    with pytest.raises(OSError, match="No space left"):
        save_picture(Image.new("RGB", (9, 9)), tmp_path / "a.png")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.png", before)]


@pytest.mark.parametrize(
    "asked", [("chain", "--image_path", "me.jpg", "--out", "out/a.png"), ("demo", "--image", "me.jpg", "--out", "out")]
)
def test_commands_leave_no_half_picture(asked, torn, picture, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torn()
    assert refhcm(*asked, "--text", "a man", "--device", "cpu") == 2
    assert "No space left on device" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())
