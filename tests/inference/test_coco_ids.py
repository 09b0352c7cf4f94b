"""Image ids of a user's annotation file, by file name."""

import json

import pytest

from refhcm.inference.coco_ids import ids_in
from refhcm.utils.errors import UserError


@pytest.fixture
def given(tmp_path):
    def write(*images):
        path = tmp_path / "annotations.json"
        path.write_text(json.dumps({"images": [{"id": number, "file_name": name} for number, name in images]}))
        return path

    return write


def test_ids_by_name(given):
    id_of = ids_in(given((581, "street.jpg"), ("x7", "val/park.jpg")))
    assert id_of("photos/street.jpg") == 581
    assert id_of("/data/park.jpg") == "x7"


def test_folders_tell_two_of_a_name_apart(given):
    id_of = ids_in(given((1, "train/a.jpg"), (2, "val/a.jpg"), (3, "deep/val/a.jpg")))
    assert id_of("coco/train/a.jpg") == 1
    assert id_of("deep/val/a.jpg") == 3
    with pytest.raises(UserError, match="2 images of this name"):
        id_of("other/val/a.jpg")


def test_what_is_not_there_is_said(given, tmp_path):
    with pytest.raises(UserError, match=r"b.jpg: .*annotations.json has no image of this name among 1"):
        ids_in(given((1, "a.jpg")))("b.jpg")
    path = tmp_path / "list.json"
    path.write_text("[]")
    with pytest.raises(UserError, match="expected COCO-style JSON with a list 'images'"):
        ids_in(path)
    with pytest.raises(UserError, match="the id 1 comes twice"):
        ids_in(given((1, "a.jpg"), (1, "b.jpg")))
