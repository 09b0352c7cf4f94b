"""Rows of RPar from CIHP's folders."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image
from raw_files import RPAR_BOX, RPAR_TEXT, picture, write_cihp

from refhcm.tables.making.cihp import Cihp, PersonMasks, find_cihp
from refhcm.utils.errors import DataError, UserError

PEOPLE = {"0000006": [(112, 170, 196, 459, 5), (148, 141, 225, 383, 13)], "0000007": [(0, 0, 335, 500, 10)]}


@pytest.fixture
def cihp(tmp_path):
    return write_cihp(tmp_path / "cihp", PEOPLE)


def maker(cihp, out, captions=None):
    return PersonMasks(find_cihp(cihp, "train"), out, captions or {})


def test_the_published_row_but_for_its_codes(cihp, tmp_path):
    # The second person stands in front of the first one, which leaves the edges of the first one's box.
    made = maker(cihp, tmp_path / "out", {"0000006_0": [RPAR_TEXT]})("0000006")
    assert made.lines == [
        f"0000006_0\t{RPAR_TEXT}\t{RPAR_BOX}\t\ttrain/0000006_0.npy\ttrain/0000006.jpg",
        "0000006_1\tNone\t148,141,225,383\t\ttrain/0000006_1.npy\ttrain/0000006.jpg",
    ]
    assert +made.changed == {"no-caption": 1}
    made = maker(cihp, tmp_path / "out", {"0000006_0": [RPAR_TEXT, "a man", "he"]})("0000006")
    assert made.lines[0].split("\t")[1] == RPAR_TEXT
    assert +made.changed == {"no-caption": 1, "further-captions": 2}


def test_a_mask_holds_one_person(cihp, tmp_path):
    maker(cihp, tmp_path / "out")("0000006")
    first, second = (np.load(tmp_path / "out" / "annos" / "gts" / "train" / f"0000006_{k}.npy") for k in (0, 1))
    assert first.dtype == np.uint8
    assert first.shape == (500, 335)
    assert set(np.unique(first)) == {0, 5}
    assert set(np.unique(second)) == {0, 13}
    assert (second > 0).sum() == (225 - 148) * (383 - 141)
    assert not ((first > 0) & (second > 0)).any()
    kept = (tmp_path / "out" / "annos" / "imgs" / "train" / "0000006.jpg").read_bytes()
    assert kept == (cihp / "Training" / "Images" / "0000006.jpg").read_bytes()


def test_persons_can_be_had_from_instances(cihp, tmp_path):
    expected = maker(cihp, tmp_path / "a")("0000006").lines
    (cihp / "Training" / "Human_ids" / "0000006.png").unlink()
    assert maker(cihp, tmp_path / "b")("0000006").lines == expected


def test_a_person_hidden_but_for_a_strip_is_left_out(tmp_path):
    write_cihp(tmp_path / "cihp", {"1": [(10, 10, 60, 60, 5), (11, 10, 60, 60, 5)]})
    made = maker(tmp_path / "cihp", tmp_path / "out")("1")
    assert made.left_out == Counter({"small-box": 1})
    assert [line.split("\t")[0] for line in made.lines] == ["1_1"]


def _other_size(folder):
    Image.new("L", (336, 500), 1).save(folder / "Human_ids" / "0000006.png")


def _cut(folder):
    path = folder / "Category_ids" / "0000006.png"
    path.write_bytes(path.read_bytes()[:60])


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (_other_size, "mask-size"),
        (_cut, "unreadable-mask"),
        (lambda f: (f / "Category_ids" / "0000006.png").unlink(), "missing-mask"),
        (lambda f: Image.new("RGB", (335, 500)).save(f / "Category_ids" / "0000006.png"), "unreadable-mask"),
        (lambda f: Image.new("L", (335, 500), 20).save(f / "Category_ids" / "0000006.png"), "unknown-class"),
        (lambda f: (f / "Images" / "0000006.jpg").unlink(), "missing-picture"),
        (lambda f: (f / "Images" / "0000006.jpg").write_bytes(b"\xff\xd8\xff"), "unreadable-picture"),
    ],
)
def test_faults_are_named(cihp, tmp_path, spoil, kind):
    spoil(cihp / "Training")
    made = maker(cihp, tmp_path / "out")("0000006")
    assert [fault[0] for fault in made.faults] == [kind]
    assert "0000006" in made.faults[0][1]
    assert not made.lines


@pytest.mark.parametrize(
    "nested", ["", "instance-level_human_parsing", "instance-level_human_parsing/instance-level_human_parsing"]
)
def test_archives_may_be_nested(tmp_path, nested):
    write_cihp(tmp_path / nested, {"1": [(0, 0, 50, 50, 5)]}, split="Validation")
    assert find_cihp(tmp_path, "val").folder == tmp_path / nested / "Validation"


def test_lip_is_refused_with_the_reason(tmp_path):
    (tmp_path / "LIP" / "TrainVal_parsing_annotations").mkdir(parents=True)
    for root in (tmp_path, tmp_path / "LIP"):
        with pytest.raises(UserError, match="is LIP, which cannot be mapped: its class 10 is jumpsuits"):
            find_cihp(root, "train")


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no Training/Images"):
        find_cihp(tmp_path, "train")


def test_the_list_gives_the_order(cihp):
    (cihp / "Training" / "train_id.txt").write_text("0000007\n0000006\n")
    assert find_cihp(cihp, "train").names(partial=True) == ["0000007", "0000006"]
    with pytest.raises(DataError, match="2 pictures are listed, and CIHP has 28280; --partial"):
        Cihp(cihp / "Training", "train").names(partial=False)


def test_files_of_another_table_are_kept(cihp, tmp_path):
    maker(cihp, tmp_path / "out")("0000006")
    maker(cihp, tmp_path / "out")("0000006")  # the same ones are no trouble
    mask = tmp_path / "out" / "annos" / "gts" / "train" / "0000006_0.npy"
    mask.write_bytes(b"somebody's own")
    with pytest.raises(DataError, match=r"0000006_0\.npy: exists with another content"):
        maker(cihp, tmp_path / "out")("0000006")
    assert mask.read_bytes() == b"somebody's own"


def test_turned_pictures_have_upright_masks(tmp_path):
    write_cihp(tmp_path / "cihp", {"1": [(10, 10, 60, 60, 5)]})
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    picture(tmp_path / "cihp" / "Training" / "Images" / "1.jpg", (500, 335), exif=exif)
    assert len(maker(tmp_path / "cihp", tmp_path / "out")("1").lines) == 1
