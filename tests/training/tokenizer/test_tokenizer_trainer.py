"""When the codebook is used, placed and revived, and how boxes move in training."""

import numpy as np
import pytest
import torch
from drawn_masks import TINY, draw_person, make_world

from refhcm.models.vqgan import VQTokenizer
from refhcm.models.vqgan.config import VQConfig
from refhcm.training.tokenizer import masks
from refhcm.training.tokenizer.masks import MaskRows, TrainingCrops, open_table
from refhcm.training.tokenizer.trainer import TokenizerSettings, TokenizerTrainer

BOX = np.array([10, 8, 106, 136])  # of every drawn person


@pytest.fixture
def world(tmp_path):
    return make_world(tmp_path)


@pytest.fixture
def crops(world):
    return TrainingCrops(MaskRows(open_table(world / "rows.tsv"), world), (32, 24), seed=0)


@pytest.fixture
def trainer(crops):
    """Of 250 updates: the codebook is used from 50 on, and settled from 200 on."""
    sizes = {key: tuple(value) if isinstance(value, list) else value for key, value in TINY["ddconfig"].items()}
    del sizes["double_z"]
    config = VQConfig(n_labels=20, n_embed=32, embed_dim=16, **sizes)
    settings = TokenizerSettings(updates=250, batch_size=2, lr=0.5, seed=0)
    return TokenizerTrainer(config, settings, crops, device=torch.device("cpu"))


@pytest.fixture
def maps():
    return torch.from_numpy(np.stack([draw_person(seed, 32, 24) for seed in range(4)])).long()


def test_the_rate_falls_over_the_second_half(trainer):
    rates = []
    for trainer.step in (0, 125, 150, 200, 249):
        rates.append(trainer.rate())
    assert rates == pytest.approx([0.5, 0.5, 0.4, 0.2, 0.004])


def test_the_codebook_is_used_from_the_end_of_the_warm_up(trainer, maps, monkeypatch):
    used, forward = [], VQTokenizer.forward
    monkeypatch.setattr(
        VQTokenizer, "forward", lambda *given, **how: used.append(how["quantized"]) or forward(*given, **how)
    )
    for trainer.step in (0, 49, 50, 249):
        trainer.losses(maps)
    assert used == [False, False, True, True]


def test_unused_rows_are_revived_while_the_codebook_is_learned(trainer, maps):
    """With fresh averages of their gradients; rows in use, and theirs, stay."""
    trainer.step = 60
    trainer.update(maps)
    codebook, averages = trainer.codebook.data, trainer.optimizer.state[trainer.codebook]
    moved = []
    for trainer.step in (25, 50, 75, 199, 200, 225):
        codebook.fill_(100.0)  # far from every vector
        trainer.use[:] = torch.arange(32) < 5
        for name in ("exp_avg", "exp_avg_sq"):
            averages[name].fill_(1.0)
        trainer._revive(maps)
        near = (codebook < 90).all(1)
        assert not near[:5].any()
        assert trainer.use.sum() == 0
        for name in ("exp_avg", "exp_avg_sq"):
            assert (averages[name] == 0).all(1).equal(near)
        moved.append(int(near.sum()))
    assert moved == [0, 0, 27, 27, 0, 0]


def test_edges_move_by_a_tenth_of_their_side_at_most(crops, monkeypatch):
    """In half of the draws: x by 9.6 px, y by 12.8."""
    boxes = []
    monkeypatch.setattr(masks, "crop_label_map", lambda mask, box, size: boxes.append(box) or torch.zeros(size))
    for draw in range(200):
        crops[draw]
    offsets = np.abs(np.array(boxes) - BOX)
    assert 80 < (offsets > 0).all(1).sum() == (offsets > 0).any(1).sum() < 120
    most = offsets.max(0) / [9.6, 12.8, 9.6, 12.8]
    assert (most <= 1).all()
    assert (most > 0.9).all()


def test_neighbours_about_one_person_keep_their_own_text_and_box(world):
    first, *_ = (world / "rows.tsv").read_text().splitlines()
    others = (first.replace("someone", "again"), first.replace("10,8,106,136", "12,8,106,136"))
    (world / "three.tsv").write_text("".join(f"{line}\n" for line in (first, *others)))
    rows = MaskRows(open_table(world / "three.tsv"), world)
    found = [rows[k] for k in range(3)]
    assert [row.columns["expression"] for row in found] == ["someone", "again", "someone"]
    assert [row.box_xyxy[0] for row in found] == [10, 10, 12]
    assert [row.where for row in found] == [f"{world / 'three.tsv'}:{line}" for line in (1, 2, 3)]
    assert found[1].mask is found[0].mask  # read once
    # a canvas of 280 px is 2.5 times as wide as the picture and twice as high
    assert found[0].box_canvas(280) == pytest.approx([25, 16, 265, 272])
