"""The tokenizer's commands on drawn people."""

import json
import re
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from drawn_masks import TINY, draw_person, make_table, make_world, run_tokenizer

from refhcm.apps.cli import tokenizer as command
from refhcm.models.vqgan import load_tokenizer
from refhcm.models.vqgan.config import VQConfig
from refhcm.training.tokenizer.masks import MaskRows, TrainingCrops, mirror_label_map, open_table
from refhcm.training.tokenizer.trainer import TokenizerSettings, TokenizerTrainer, kmeans
from refhcm.utils.files import claim
from refhcm.utils.parsing import NUM_CLASSES


@pytest.fixture
def world(tmp_path):
    """A folder with a table of 6 persons, model.yaml, and weights of an untrained tokenizer."""
    return make_world(tmp_path)


def train(world: Path, *arguments: str, updates: int = 4, to: str = "run") -> int:
    shared = ["--save-dir", world / to, "--updates", updates, "--batch-size", 2, "--num-workers", 0]
    return run_tokenizer(world, "train", *shared, *arguments)


def test_drawn_people_have_every_class():
    assert set(np.unique([draw_person(seed) for seed in range(40)])) == set(range(NUM_CLASSES))


def test_encode_then_score(world, capsys):
    assert train(world) == 0
    weights = ("--vq-ckpt", world / "run" / "model.ckpt")
    assert run_tokenizer(world, "encode", *weights, "--out", world / "coded.tsv", "--batch-size", "4") == 0
    rows = [line.split("\t") for line in (world / "coded.tsv").read_text().splitlines()]
    assert [row[0] for row in rows] == list("012345")
    assert [row[1:3] + row[4:] for row in rows][2] == ["someone", "10,8,106,136", "2.npy", "2.png"]
    tokenizer = load_tokenizer(world / "model.yaml", world / "run" / "model.ckpt")
    person = MaskRows(open_table(world / "coded.tsv"), world)[2]
    assert person.crop((128, 96)).equal(torch.from_numpy(draw_person(2)).long())
    assert list(map(int, rows[2][3].split(","))) == tokenizer.encode(person.crop((32, 24))[None])[0].tolist()

    again = world / "again.tsv"  # the codes of a table are made anew
    assert run_tokenizer(world, "encode", *weights, "--out", again, data="coded.tsv") == 0
    assert again.read_bytes() == (world / "coded.tsv").read_bytes()

    capsys.readouterr()
    assert run_tokenizer(world, "score", *weights, "--out", world / "score.json", data="coded.tsv") == 0
    scores = json.loads((world / "score.json").read_text())
    assert scores == json.loads(capsys.readouterr().out)
    assert scores["rows"] == 6
    assert scores["same_codes"] == 1
    assert 0 <= scores["miou"] < scores["nearest_miou"] < 1
    assert len(scores["class_iou"]) == NUM_CLASSES


def test_score_of_a_tokenizer_that_is_the_nearest_grid(world):
    class Coarse:
        """Codes are the classes of the cells."""

        input_size_hw, n_embed = (32, 24), NUM_CLASSES

        def encode(self, crops):
            return crops[:, 2::4, 2::4].flatten(1)  # the pixel right below the centre of each 4 x 4 cell

        def decode(self, codes):
            return codes.view(-1, 8, 6).repeat_interleave(4, 1).repeat_interleave(4, 2)

    scores = command.score(Coarse(), MaskRows(open_table(world / "rows.tsv"), world), batch_size=4, num_workers=0)
    assert scores["miou"] == scores["nearest_miou"]
    assert scores["crop_miou"] == scores["nearest_crop_miou"]
    assert "same_codes" not in scores


def test_training_resumes_exactly(world):
    assert train(world, to="whole", updates=6) == 0

    class KilledError(Exception):
        pass

    def save_and_die(trainer, path):
        save(trainer, path)
        raise KilledError

    save = TokenizerTrainer.save
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TokenizerTrainer, "save", save_and_die)
        with pytest.raises(KilledError):
            train(world, "--save-every", "3", to="parts", updates=6)
    assert torch.load(world / "parts" / "model.ckpt", weights_only=True)["step"] == 3
    assert train(world, to="parts", updates=6) == 0
    whole, parts = (torch.load(world / name / "model.ckpt", weights_only=True) for name in ("whole", "parts"))
    assert whole["step"] == parts["step"] == 6
    for name, weight in whole["state_dict"].items():
        assert weight.equal(parts["state_dict"][name]), name


def test_interrupt_saves_and_the_command_resumes(world, capsys):
    update = TokenizerTrainer.update

    def interrupted(trainer, label_maps):
        if trainer.step == 1:
            signal.raise_signal(signal.SIGINT)
        return update(trainer, label_maps)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TokenizerTrainer, "update", interrupted)
        assert train(world) == 130  # a script must stop here, too
    assert "stopped at update 2 of 4" in capsys.readouterr().err
    assert torch.load(world / "run" / "model.ckpt", weights_only=True)["step"] == 2
    assert train(world) == 0
    assert torch.load(world / "run" / "model.ckpt", weights_only=True)["step"] == 4


def test_other_settings_are_not_resumed(world, capsys):
    (world / "run").mkdir()
    (world / "run" / "model.yaml").write_text("model: of a run that was stopped before its first checkpoint")
    assert train(world) == 0
    assert (world / "run" / "model.yaml").read_text() == (world / "model.yaml").read_text()
    assert train(world, "--seed", "3") == 2
    assert "was trained with seed 0, now it is 3" in capsys.readouterr().err


def test_a_folder_in_use_stays_as_it_is(world, capsys):
    with claim(world / "run"):
        assert train(world) == 2
    assert "another run writes there" in capsys.readouterr().err
    assert [path.name for path in (world / "run").iterdir()] == [".lock"]


def test_other_masks_are_not_resumed(world, capsys):
    """Another table of as many rows; a checkpoint of an earlier version does not know its table."""
    assert train(world) == 0
    make_table(world, "rows.tsv", range(1, 7))
    assert train(world) == 2
    assert "was trained with data " in capsys.readouterr().err
    path = world / "run" / "model.ckpt"
    content = torch.load(path, weights_only=True)
    del content["settings"]["data"]
    torch.save(content, path)
    assert train(world) == 0


@pytest.mark.parametrize(("before", "now"), [(0.5, 1.0), (1.0, 0.5)])
def test_another_weight_of_the_codebook_is_not_resumed(world, capsys, before, now):
    def write(weight):
        params = TINY | {"lossconfig": {"params": {"codebook_weight": weight}}}
        (world / "model.yaml").write_text(yaml.safe_dump({"model": {"params": params}}))

    write(before)
    assert train(world) == 0
    write(now)
    assert train(world) == 2
    assert f"was trained with codebook_weight {before}, now it is {now}" in capsys.readouterr().err


def test_an_older_run_had_the_published_weight(world):
    assert train(world) == 0
    checkpoint = torch.load(world / "run" / "model.ckpt", weights_only=True)
    del checkpoint["settings"]["codebook_weight"]
    torch.save(checkpoint, world / "run" / "model.ckpt")
    assert train(world) == 0


def test_settings_of_another_training_are_named(world, caplog):
    params = TINY | {"ckpt_path": "old.ckpt", "lossconfig": {"params": {"disc_weight": 0.8}}}
    (world / "model.yaml").write_text(yaml.safe_dump({"model": {"params": params}}))
    assert train(world) == 0
    for name in ("ckpt_path", "lossconfig.params: 'disc_weight'"):
        assert f"model.yaml: {name} is not used" in caplog.text


def test_dead_codes_are_revived(world):
    settings = TokenizerSettings(updates=1000, batch_size=2, lr=1e-3, seed=0)
    crops = TrainingCrops(MaskRows(open_table(world / "rows.tsv"), world), (32, 24), seed=0)
    trainer = TokenizerTrainer(_config(), settings, crops, device=torch.device("cpu"))
    maps = torch.from_numpy(np.stack([draw_person(seed, 32, 24) for seed in range(4)])).long()
    trainer.update(maps)
    trainer.place_codebook(maps)
    trainer.codebook.data[5:] = 100.0  # nothing is near
    trainer.step = 499
    trainer.update(maps)  # makes it 500
    assert (trainer.codebook < 90).all()
    assert trainer.use.sum() == 0


def test_kmeans_finds_the_clusters():
    corners = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    torch.manual_seed(0)
    points = corners.repeat(50, 1) + 0.1 * torch.randn(150, 2)
    centres = kmeans(points, 3)
    assert torch.cdist(corners, centres).amin(dim=1).max() < 0.1


def test_draws_depend_on_seed_and_number_alone(world):
    rows = MaskRows(open_table(world / "rows.tsv"), world)
    crops = TrainingCrops(rows, (32, 24), seed=1)
    first = [crops[k] for k in range(24)]
    assert all(crops[k].equal(first[k]) for k in (17, 3, 17))
    plain = [rows[i].crop((32, 24)) for i in range(6)]
    as_they_are = [any(crop.equal(map_) for map_ in plain) for crop in first]
    mirrored = [any(crop.equal(mirror_label_map(map_)) for map_ in plain) for crop in first]
    assert any(as_they_are)
    assert any(mirrored)
    assert not all(a or b for a, b in zip(as_they_are, mirrored, strict=True))  # the rest is jittered


def _config():
    sizes = {key: tuple(value) if isinstance(value, list) else value for key, value in TINY["ddconfig"].items()}
    del sizes["double_z"]
    return VQConfig(n_labels=20, n_embed=32, embed_dim=16, **sizes)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda w: np.save(w / "gts" / "3.npy", np.zeros((5, 5), int)), "rows.tsv:4: column mask: .*is 5 x 5"),
        (lambda w: np.save(w / "gts" / "3.npy", np.full((140, 112), 20)), "rows.tsv:4: column mask: .*classes 0..19"),
        (lambda w: (w / "imgs" / "3.png").unlink(), "rows.tsv:4: column image: .*cannot be read"),
        (lambda w: (w / "rows.tsv").write_text("a\tb\tc\n"), "rows.tsv:1: has 3 columns, expected id"),
        (lambda w: (w / "rows.tsv").write_text("a\tb\t5,5,2,9\t0.npy\t0.png\n"), "rows.tsv:1: column box"),
    ],
)
def test_bad_rows_end_with_one_line(world, capsys, spoil, message):
    spoil(world)
    assert train(world) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "rows.tsv" in line]
    assert len(lines) == 1
    assert re.match(f".*{message}", lines[0])


@pytest.mark.parametrize("codes", ["1,2,3", ",".join(["9000"] * 48), ",".join(["x"] * 48)])
def test_score_refuses_codes_that_are_none(world, capsys, codes):
    assert train(world) == 0
    row = "\t".join(["a", "b", "10,8,106,136", codes, "0.npy", "0.png"])
    (world / "coded.tsv").write_text(row + "\n")
    assert run_tokenizer(world, "score", "--vq-ckpt", world / "run" / "model.ckpt", data="coded.tsv") == 2
    assert "coded.tsv:1: column parsing codes: needs 48 whole numbers in 0..8191" in capsys.readouterr().err


def test_yaml_and_weights_of_two_tokenizers(world, capsys):
    assert train(world) == 0
    (world / "model.yaml").write_text(yaml.safe_dump({"model": {"params": TINY | {"n_embed": 16}}}))
    assert run_tokenizer(world, "score", "--vq-ckpt", world / "run" / "model.ckpt") == 2
    assert "quantize.embedding.weight is [32, 16] in the checkpoint, expected [16, 16] from" in capsys.readouterr().err


@pytest.mark.slow
def test_trained_tokenizer_beats_the_nearest_grid(tmp_path):
    make_table(tmp_path, "train.tsv", range(300))
    make_table(tmp_path, "valid.tsv", range(1000, 1060))
    (tmp_path / "model.yaml").write_text(yaml.safe_dump({"model": {"params": TINY}}))
    shared = ["--save-dir", tmp_path, "--updates", 300, "--batch-size", 8, "--valid"]
    assert run_tokenizer(tmp_path, "train", *shared, tmp_path / "valid.tsv", data="train.tsv") == 0
    scores = json.loads((tmp_path / "score.json").read_text())
    assert scores["crop_miou"] > scores["nearest_crop_miou"]
    assert scores["miou"] > 0.9 * scores["nearest_miou"]  # at 32 x 24, cropping costs the canvas half a coarse pixel
    assert scores["code_usage"] > 0.7
