"""The tokenizer's decoder, trained on a network's answers."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from drawn_masks import draw_person, make_world, run_tokenizer

from refhcm.models.vqgan import load_tokenizer
from refhcm.tasks.result_files import read_results
from refhcm.training.tokenizer.adapting import AnsweredCrops, DecoderTrainer, Drawn, iou_loss
from refhcm.training.tokenizer.masks import MaskRows, open_table
from refhcm.utils.parsing import crop_label_map

BOX = [12.0, 9.0, 104.0, 130.0]  # beside the persons' own, 10,8,106,136


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A world with a tokenizer and the codes of its table."""
    world = make_world(tmp_path_factory.mktemp("world"))
    settings = ["--save-dir", world / "run", "--updates", 60, "--batch-size", 4]
    assert run_tokenizer(world, "train", *settings) == 0
    assert run_tokenizer(world, "encode", *start(world), "--out", world / "coded.tsv") == 0
    return world


@pytest.fixture
def world(trained):
    """With answers: another box, another code in every fourth cell; the last is about somebody else."""
    records = []
    for line in (trained / "coded.tsv").read_text().splitlines():
        name, _, _, codes, *_ = line.split("\t")
        codes = [(int(code) + 7 * (k % 4 == 0)) % 32 for k, code in enumerate(codes.split(","))]
        records.append({"uniq_id": name, "bbox": BOX, "image_code": codes})
    records[-1]["bbox"] = [0.0, 0.0, 20.0, 20.0]
    (trained / "answers.json").write_text(json.dumps(records))
    return trained


def start(world):
    return ["--vq-ckpt", world / "run" / "model.ckpt"]


def adapt(world, to, *arguments, updates=4, data="coded.tsv"):
    files = [*start(world), "--answers", world / "answers.json", "--save-dir", to]
    return run_tokenizer(world, "adapt", *files, "--updates", updates, "--batch-size", 5, *arguments, data=data)


def answered_crops(world):
    rows, where = MaskRows(open_table(world / "coded.tsv"), world), str(world / "answers.json")
    records = read_results(where, len(rows), data="coded.tsv")
    return rows, AnsweredCrops(rows, (32, 24), n_embed=32, records=records, where=where, seed=1)


def test_answers_are_paired_with_what_is_right_in_their_box(world):
    rows, crops = answered_crops(world)
    assert crops.found == [True] * 5 + [False]
    answered, true = [], []
    for k in range(60):
        drawn = crops[k]
        for row in range(6):
            codes = torch.from_numpy(crops.true_codes[row])
            wrong = codes.clone()
            wrong[::4] = (wrong[::4] + 7) % 32
            mask = torch.from_numpy(np.pad(draw_person(row), ((8, 4), (10, 6)))).long()
            if drawn.codes.equal(wrong) and drawn.crop.equal(crop_label_map(mask, BOX, (32, 24))):
                answered.append(row)
            if drawn.codes.equal(codes) and drawn.crop.equal(rows[row].crop((32, 24))):
                true.append(row)
    assert len(answered) + len(true) == 60
    assert set(answered) == set(range(5))
    assert true.count(5) == 10  # nothing else is known about a person who was not found
    assert 5 < len(true) - 10 < 25


def test_maps_of_answers_get_better_and_codes_stay(world, tmp_path):
    assert adapt(world, tmp_path, updates=80) == 0
    before, after = (
        load_tokenizer(world / "model.yaml", folder / "model.ckpt") for folder in (world / "run", tmp_path)
    )
    rows, crops = answered_crops(world)
    codes = torch.from_numpy(np.stack(crops.codes[:5]))
    truth = torch.stack([crop_label_map(rows[row].mask, BOX, (32, 24)) for row in range(5)])
    right = [(tokenizer.decode(codes) == truth).float().mean() for tokenizer in (before, after)]
    assert right[1] > right[0] + 0.1
    maps = torch.stack([rows[row].crop((32, 24)) for row in range(6)])
    assert before.encode(maps).equal(after.encode(maps))
    changed = {
        name.split(".")[0] for name, weight in after.state_dict().items() if not weight.equal(before.state_dict()[name])
    }
    assert changed == {"decoder", "post_quant_conv"}


def test_adapting_resumes_exactly(world, tmp_path, monkeypatch):
    assert adapt(world, tmp_path / "whole") == 0
    monkeypatch.setattr("refhcm.apps.cli.tokenizer.score", lambda *_, **__: {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("refhcm.training.stepper.Interrupt.__enter__", lambda self: setattr(self, "asked", True) or self)
        patch.setattr("refhcm.training.stepper.Interrupt.__exit__", lambda *_: None)
        assert adapt(world, tmp_path / "parts") == 130
    assert torch.load(tmp_path / "parts" / "model.ckpt", weights_only=True)["step"] == 1
    assert adapt(world, tmp_path / "parts") == 0
    whole, parts = (load_tokenizer(world / "model.yaml", tmp_path / name / "model.ckpt") for name in ("whole", "parts"))
    for name, weight in whole.state_dict().items():
        assert weight.equal(parts.state_dict()[name]), name


def test_only_its_own_run_is_resumed(world, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("refhcm.apps.cli.tokenizer.score", lambda *_, **__: {})
    assert adapt(world, tmp_path) == 0
    (world / "answers.json").write_text((world / "answers.json").read_text() + "\n")
    assert adapt(world, tmp_path) == 2
    assert "was trained with answers " in capsys.readouterr().err


def test_codes_of_another_codebook_are_not_learned(world):
    records = json.loads((world / "answers.json").read_text())
    records[1]["image_code"][47] = 32
    (world / "answers.json").write_text(json.dumps(records))
    assert answered_crops(world)[1].found == [True, False, True, True, True, False]


def test_iou_loss():
    labels = torch.tensor([[[0, 0, 1, 1]], [[0, 0, 0, 2]]])
    sure = 50 * torch.nn.functional.one_hot(labels, 5).permute(0, 3, 1, 2).float()
    assert iou_loss(sure, labels) == pytest.approx(0)
    # One of 5 pixels of class 0 is taken for 1, none of class 1 is missed, and class 2 is not found at all.
    said = torch.tensor([[[0, 1, 1, 1]], [[0, 0, 0, 3]]])
    wrong = 50 * torch.nn.functional.one_hot(said, 5).permute(0, 3, 1, 2).float()
    assert iou_loss(wrong, labels) == pytest.approx(1 - (4 / 5 + 2 / 3 + 0) / 3)


def test_the_loss_has_three_tenths_of_cross_entropy():
    """Two pixels, each of its class with probability 1/2: soft IoUs of 0.5 / 1.5, and log 2 nats."""
    trainer = object.__new__(DecoderTrainer)
    trainer.tokenizer = SimpleNamespace(train=lambda: None, decode_logits=lambda codes: torch.zeros(1, 2, 1, 2))
    loss = trainer.losses(Drawn(torch.zeros(1, 48), torch.tensor([[[0, 1]]])))["loss"]
    assert float(loss) == pytest.approx(2 / 3 + 0.3 * np.log(2))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda records: records.pop(), r"has 5 records, .*coded.tsv has 6 rows"),
        (lambda records: records[2].update(uniq_id="9"), r"record 2: answers '9', the row .* is '2'"),
        (lambda records: records[1].update(image_code=[1, 2]), "record 1: image_code: needs 48 finite numbers"),
        (lambda records: records[3].update(bbox=[0, 0, float("nan"), 9]), "record 3: bbox: needs 4 finite numbers"),
        (lambda records: records[3].update(bbox=[0, 0, 1e39, 9]), "record 3: bbox: needs 4 finite numbers"),
        (lambda records: records[0].pop("bbox"), "record 0: bbox: needs 4 finite numbers, got None"),
    ],
)
def test_answers_that_do_not_fit(world, tmp_path, capsys, spoil, message):
    records = json.loads((world / "answers.json").read_text())
    spoil(records)
    (world / "answers.json").write_text(json.dumps(records))
    assert adapt(world, tmp_path / "new") == 2
    lines = capsys.readouterr().err.splitlines()
    assert any(re.search(message, line) for line in lines), lines
    assert not (tmp_path / "new").exists()


def test_table_without_codes(world, tmp_path, capsys):
    assert adapt(world, tmp_path / "new", data="rows.tsv") == 2
    assert "rows.tsv:1: column parsing codes: needs 48 whole numbers in 0..31" in capsys.readouterr().err
