"""Masks for the tokenizer: 255 is left out of its scores, and background in what it encodes and learns."""

import json

import numpy as np
import pytest
import torch
from drawn_masks import TINY, make_world, run_tokenizer
from PIL import Image

from refhcm.models.vqgan import VQTokenizer
from refhcm.models.vqgan.config import VQConfig
from refhcm.training.tokenizer.adapting import AnsweredCrops
from refhcm.training.tokenizer.masks import MaskRows, TrainingCrops, mirror_label_map, open_table
from refhcm.training.tokenizer.scoring import encode, score
from refhcm.utils.errors import DataError
from refhcm.utils.parsing import CLASS_NAMES, NUM_CLASSES, confusion_matrix, parsing_metrics

SIZE_HW = (32, 24)


@pytest.fixture
def world(tmp_path):
    return make_world(tmp_path)


def ignore(world, value=255):
    """The lower half of every mask becomes `value`, as a PNG in place of the array."""
    lines = (world / "rows.tsv").read_text()
    for k in range(6):
        mask = np.load(world / "gts" / f"{k}.npy")
        mask[64:] = value
        Image.fromarray(mask).save(world / "gts" / f"{k}.png")
        lines = lines.replace(f"{k}.npy", f"{k}.png")
    (world / f"rows{value}.tsv").write_text(lines)
    return MaskRows(open_table(world / f"rows{value}.tsv"), world)


def tokenizer():
    sizes = {key: tuple(value) if isinstance(value, list) else value for key, value in TINY["ddconfig"].items()}
    del sizes["double_z"]
    torch.manual_seed(0)
    return VQTokenizer(VQConfig(n_labels=20, n_embed=32, embed_dim=16, **sizes)).eval()


def test_ignored_pixels_are_encoded_as_background(world):
    codes = []
    for value in (255, 0):
        rows, out = ignore(world, value), world / f"coded{value}.tsv"
        assert encode(tokenizer(), rows, out=out, batch_size=4, num_workers=0) == 6
        codes.append([line.split("\t")[3] for line in out.read_text().splitlines()])
    assert codes[0] == codes[1]
    assert len(set(codes[0])) > 1


def test_ignored_pixels_are_learned_as_background(world):
    ignored, background = (TrainingCrops(ignore(world, value), SIZE_HW, seed=1) for value in (255, 0))
    for draw in range(8):
        assert ignored[draw].equal(background[draw])
    records = [{"uniq_id": str(k), "bbox": [10, 8, 106, 136], "image_code": [0] * 48} for k in range(6)]
    for rows in (ignored.rows, background.rows):
        encode(tokenizer(), rows, out=rows.file.path.with_suffix(".coded"), batch_size=4, num_workers=0)
    ignored, background = (
        AnsweredCrops(
            MaskRows(open_table(world / f"rows{value}.coded"), world),
            SIZE_HW,
            n_embed=32,
            records=records,
            where="a",
            seed=1,
        )
        for value in (255, 0)
    )
    for draw in range(8):
        assert ignored[draw].crop.equal(background[draw].crop)
        assert int(ignored[draw].crop.max()) < NUM_CLASSES


def test_ignored_pixels_are_left_out_of_scores(world):
    class Perfect:
        """Answers with the upper half of every crop, and with hats where nobody knows."""

        input_size_hw, n_embed = SIZE_HW, NUM_CLASSES

        def encode(self, crops):
            self.crops = crops
            return torch.zeros(len(crops), 48, dtype=torch.int64)

        def decode(self, codes):
            made = self.crops.clone()
            made[:, 17:] = 1  # rows 76.. of the mask
            return made

    rows = ignore(world)
    assert rows[0].crop(SIZE_HW)[17:].unique().tolist() == [255]
    scores = score(Perfect(), rows, batch_size=6, num_workers=0)
    assert scores["crop_miou"] > 0.9
    assert scores["code_usage"] == pytest.approx(1 / NUM_CLASSES)
    crops = torch.stack([rows[k].crop(SIZE_HW) for k in range(6)])
    centres = (crops * (crops != 255))[:, 2::4, 2::4]  # of cells of 4 x 4 px
    nearest = confusion_matrix(centres.repeat_interleave(4, 1).repeat_interleave(4, 2), label=crops)
    assert scores["nearest_crop_miou"] == pytest.approx(parsing_metrics(nearest)["miou"])
    plain = score(Perfect(), ignore(world, 0), batch_size=6, num_workers=0)
    assert plain["crop_miou"] < scores["crop_miou"]


def test_a_run_learns_from_such_masks(world, capsys):
    ignore(world)
    shared = ["--save-dir", world / "run", "--updates", 2, "--batch-size", 2]
    assert run_tokenizer(world, "train", *shared, data="rows255.tsv") == 0
    assert 0 <= json.loads((world / "run" / "score.json").read_text())["miou"] <= 1
    capsys.readouterr()


def test_the_mask_of_a_turned_picture_is_upright(world):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (140, 112)).save(world / "imgs" / "0.png", exif=exif)  # stored; upright 112 x 140, as the mask
    assert MaskRows(open_table(world / "rows.tsv"), world)[0].mask.shape == (140, 112)
    Image.new("RGB", (112, 140)).save(world / "imgs" / "0.png", exif=exif)
    bad = MaskRows(open_table(world / "rows.tsv"), world)[0]
    assert "0.npy: is 112 x 140, its picture 140 x 112 px" in bad.message
    (world / "imgs" / "0.png").write_bytes(b"text")
    assert "rows.tsv:1: column image: " in MaskRows(open_table(world / "rows.tsv"), world)[0].message


def test_a_mask_that_cannot_be_read_stops_encoding_and_scoring(world):
    (world / "gts" / "3.npy").write_bytes(b"no array")
    rows, out = MaskRows(open_table(world / "rows.tsv"), world), world / "coded.tsv"
    with pytest.raises(DataError, match=r"rows\.tsv:4: "):
        encode(tokenizer(), rows, out=out, batch_size=4, num_workers=0)
    assert not out.exists()
    with pytest.raises(DataError, match=r"rows\.tsv:4: "):
        score(tokenizer(), rows, batch_size=4, num_workers=0)


def test_a_draw_follows_from_seed_and_number(world):
    """Every row once in each pass, in another order and with other chance; whatever was drawn before."""
    crops, again = (TrainingCrops(MaskRows(open_table(world / "rows.tsv"), world), SIZE_HW, seed=1) for _ in range(2))
    drawn = [crops.row(draw) for draw in range(12)]
    rows, chance = [row for row, _ in drawn], [rng.random() for _, rng in drawn]
    assert sorted(rows[:6]) == sorted(rows[6:]) == list(range(6))
    assert rows[:6] != rows[6:]
    assert len(set(chance)) == 12
    for draw in (7, 2, 11):
        row, rng = again.row(draw)
        assert (row, rng.random()) == (rows[draw], chance[draw])


def test_mirror_swaps_left_and_right():
    left_arm, right_arm = CLASS_NAMES.index("left-arm"), CLASS_NAMES.index("right-arm")
    assert mirror_label_map(torch.tensor([[left_arm, 13, 0]])).tolist() == [[0, 13, right_arm]]
    labels = torch.arange(NUM_CLASSES)[None]
    assert mirror_label_map(mirror_label_map(labels)).equal(labels)
