"""Eight drawn rows are learnt by heart, for each task: what generation answers is what was taught."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from refhcm.criterions.label_smoothing import position_losses
from refhcm.models.refhcm.config import SIZES, NetworkConfig
from refhcm.models.refhcm.network import Network
from refhcm.tasks import TASKS
from refhcm.tasks.settings import TaskSettings

ROWS, CANVAS, BINS = 8, 64, 65
BIN = CANVAS / (BINS - 1) + 1e-3  # canvas px
COLOURS = ("red", "green", "blue", "yellow", "white", "pink", "grey", "brown")
UPDATES, LEARNING_RATE = 400, 1e-3


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """rkpt.tsv, rpar.tsv and rhrc.tsv of eight pictures with one coloured box each, and an annotation root."""
    folder, random = tmp_path_factory.mktemp("eight"), np.random.default_rng(5)
    (folder / "imgs").mkdir()
    (folder / "gts").mkdir()
    lines = {"rkpt": [], "rpar": [], "rhrc": []}
    for i, colour in enumerate(COLOURS):
        x, y = random.integers(0, 30, 2).tolist()
        box = (x, y, x + 15 + 2 * i, y + 20 + i)
        picture, file = Image.new("RGB", (64, 64), (40, 40, 40)), io.BytesIO()
        picture.paste(colour, box)
        picture.save(file, "PNG")
        picture.save(folder / "imgs" / f"{i}.png")
        np.save(folder / "gts" / f"{i}.npy", np.zeros((64, 64), np.uint8))
        points = random.integers(1, 63, (17, 2))
        points[random.random(17) < 0.7] = 0  # a few keypoints each: short answers learn sooner
        codes = random.integers(0, 32, 48)
        encoded, corners = base64.b64encode(file.getvalue()).decode(), ",".join(map(str, box))
        keypoints, codes = (",".join(map(str, values.ravel())) for values in (points, codes))
        lines["rkpt"].append([f"r{i}", "0", f"the {colour} one", corners, keypoints, encoded])
        lines["rpar"].append([f"r{i}", f"the {colour} one", corners, codes, f"{i}.npy", f"{i}.png"])
        lines["rhrc"].append([f"r{i}", f"a {colour} box, {'very ' * (i % 3)}near", corners, encoded])
    for name, rows in lines.items():
        (folder / f"{name}.tsv").write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def learn(network, batch):
    """A few hundred updates on one batch, until every symbol is learnt for sure."""
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3 * LEARNING_RATE, UPDATES)
    counted = batch["target"] != 1
    for _ in range(UPDATES):
        logits, _ = network(**batch["net_input"])
        loss, nll, _ = position_losses(logits[counted], batch["target"][counted], smoothing=0.02)
        optimizer.zero_grad()
        loss.mean().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if nll.max() < 0.05:
            break
    return float(nll.max())


def check(prediction, sample):
    """What was answered is what was taught; coordinates to within a bin."""
    assert prediction.valid
    ratios = np.array([sample["w_resize_ratio"], sample["h_resize_ratio"]])
    if prediction.caption is None:
        assert np.abs(prediction.box_xyxy - sample["region_coord"] * np.tile(ratios, 2)).max() <= BIN
    else:
        assert prediction.caption == sample["text"]
    if prediction.keypoints is not None:
        assert np.abs(prediction.keypoints - sample["keypoints"] * np.tile(ratios, 17)).max() <= BIN
    if prediction.codes is not None:
        assert prediction.codes.tolist() == sample["parsing_code"].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_eight_rows_are_learnt(name, tables, world, small_text):
    torch.manual_seed(1)
    settings = TaskSettings(
        selected_cols="0,5,2,3" if name == "refcoco" else None,
        patch_image_size=CANVAS,
        max_image_size=CANVAS,
        annotation_root=str(tables),
    )
    task = TASKS[name](small_text, settings)
    rows = task.open(tables / f"{ {'refcoco': 'rkpt', 'rpar_full_mask': 'rpar'}.get(name, name) }.tsv", training=False)
    samples = [rows[i] for i in range(ROWS)]
    batch = task.collate(samples)
    config = NetworkConfig(**SIZES["refhcm_test"] | {"freeze_resnet": True}).without_dropout()
    network = Network(config, len(small_text.vocabulary))
    assert learn(network.train(), batch) < 1
    answers = task.generate(network.eval(), batch, task.generation_settings())
    for answer, sample in zip(answers, samples, strict=True):
        check(task.parse(answer.ids), sample)
