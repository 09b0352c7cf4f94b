"""Rows that carry their picture."""

import base64
import io

import pytest
from PIL import Image
from raw_files import picture

from refhcm.tables.making.embedding import Embedding
from refhcm.tables.making.plan import Draft, PictureRows

DRAFT = Draft("1", "7", "x", ((10, 20, 100, 200),), "here")


def rows(path, size_wh=None, *drafts):
    return PictureRows(path.name, size_wh, list(drafts or [DRAFT]), path)


def turned(path, orientation=6, size_wh=(640, 480)):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return picture(path, size_wh, exif=exif)


def cell(made):
    return base64.b64decode(made.lines[0].split("\t")[-1])


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_the_file_is_kept_byte_by_byte(tmp_path, name):
    path = picture(tmp_path / name)
    made = Embedding("rec")(rows(path, (640, 480)))
    assert cell(made) == path.read_bytes()
    assert made.lines[0].startswith("1\t7\tx\t10,20,100,200\t")


def test_a_picture_may_be_encoded_again(tmp_path):
    path = picture(tmp_path / "a.png")
    data = cell(Embedding("rec", jpeg_quality=50)(rows(path)))
    assert Image.open(io.BytesIO(data)).format == "JPEG"
    assert Image.open(io.BytesIO(data)).size == (640, 480)


def test_turned_pictures_are_kept_and_counted(tmp_path):
    path = turned(tmp_path / "a.jpg")
    made = Embedding("rec")(rows(path, (640, 480)))
    assert made.changed["turned-picture"] == 1
    assert cell(made) == path.read_bytes()


@pytest.mark.parametrize("size_wh", [(640, 480), (480, 640)])
def test_an_encoded_picture_lies_as_its_annotations_count_it(tmp_path, size_wh):
    made = Embedding("rec", jpeg_quality=75)(rows(turned(tmp_path / "a.jpg"), size_wh))
    again = Image.open(io.BytesIO(cell(made)))
    assert again.size == size_wh
    assert 0x0112 not in again.getexif()


def test_a_picture_of_another_size_than_its_annotations(tmp_path):
    made = Embedding("rec")(rows(picture(tmp_path / "a.jpg"), (641, 480), DRAFT, DRAFT))
    ((kind, message, count),) = made.faults
    assert (kind, count) == ("other-size", 2)
    assert "is 640 x 480 px, and its annotations are of 641 x 480 px" in message


@pytest.mark.parametrize("spoil", [lambda data: b"", lambda data: data[:-200], lambda data: b"text"])
def test_pictures_that_cannot_be_read(tmp_path, spoil):
    path = picture(tmp_path / "a.png", (64, 48))
    path.write_bytes(spoil(path.read_bytes()))
    made = Embedding("rec")(rows(path))
    assert [fault[0] for fault in made.faults] == ["unreadable-picture"]
    assert not made.lines


def test_a_row_with_a_fault_leaves_the_others(tmp_path):
    outside = Draft("2", "7", "y", ((10, 20, 900, 200),), "there")
    made = Embedding("rec")(rows(picture(tmp_path / "a.jpg"), None, outside, DRAFT))
    assert [line.split("\t")[0] for line in made.lines] == ["1"]
    assert [(kind, count) for kind, _, count in made.faults] == [("box-outside", 1)]
