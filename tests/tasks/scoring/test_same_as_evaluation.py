"""`score` on evaluation's own result files gives evaluation's metrics, for every task."""

import json

import numpy as np
import pytest
import torch
from small_vqgan import write_files

from refhcm.data.dataset import BadRowCounter
from refhcm.models.generated import Generated
from refhcm.tasks.evaluation import answer, summarize
from refhcm.tasks.scoring.scoring import Options, score
from refhcm.utils.captions import split_references

VQ_CODES = 8
TABLES = {"refcoco": "rkpt", "rkpt": "rkpt", "rpar": "rpar", "rpar_full_mask": "rpar", "rhrc": "rhrc", "grec": "grec"}
COLUMNS = {"refcoco": "0,5,2,3"}


def answered(task, table):
    """Evaluation's metrics and records where a network answers the labels with noise, and some rows not at all."""
    rng = np.random.default_rng(0)
    dataset = task.open(table, training=False)
    found = []
    for row in range(len(dataset)):
        batch = task.collate([dataset[row]])
        BadRowCounter(0).check(batch)
        ids = noisy(task, dataset[row], rng) if row % 7 else torch.tensor([task.vocabulary.eos()])
        task.generate = lambda *_, ids=ids, **__: [Generated(ids, float(rng.normal()))]
        found += answer(task, None, batch, task.generation)
    return summarize(task, found)


def noisy(task, sample, rng):
    """The row's target, its bins moved a little and its codes drawn, or its first reference without a word."""
    if "text" in sample and task.name == "rhrc":
        return task.text.encode(" " + " ".join(split_references(sample["text"])[0].split()[1:]))
    ids, bins, codes = sample["target"].clone(), task.vocabulary.bin_ids, task.vocabulary.code_ids
    if task.name == "grec" and rng.random() < 0.5:
        return torch.tensor([*bins[:2], task.vocabulary.eos()])  # half a box: unreadable, and not "nobody"
    moved = ids + torch.from_numpy(rng.integers(-4, 5, len(ids)))
    drawn = codes.start + torch.from_numpy(rng.integers(0, VQ_CODES, len(ids)))
    ids = torch.where((ids >= bins.start) & (ids < bins.stop), moved.clamp(bins.start, bins.stop - 1), ids)
    return torch.where((ids >= codes.start) & (ids < codes.stop), drawn, ids)


@pytest.mark.parametrize("name", TABLES)
def test_every_task(name, world, make_task, coded, tmp_path):
    write_files(tmp_path)
    vq = {"vq_config": str(tmp_path / "model.yaml"), "vq_ckpt": str(tmp_path / "model.ckpt"), "vq_n_embed": VQ_CODES}
    task = make_task(name, **vq, max_image_size=64, selected_cols=COLUMNS.get(name))
    table = world / TABLES[name] / "train.tsv"
    if TABLES[name] == "rpar":
        table = tmp_path / "coded.tsv"
        lines = [line.split("\t") for line in coded.read_text().splitlines()]
        table.write_text("".join("\t".join([*c[:3], ",".join(["1"] * 48), *c[4:]]) + "\n" for c in lines))
    metrics, records = answered(task, table)
    (tmp_path / "predict.json").write_text(json.dumps(records))
    root = world / "rpar" / "annos"
    options = Options(table, name, COLUMNS.get(name), annotation_root=root, canvas=64, resamples=20, **vq)
    report = score(options, tmp_path / "predict.json")
    found = {key: estimate.value for key, estimate in report.scored.estimates.items()}
    expected = {key: value for key, value in metrics.items() if key not in ("invalid", "count", "class_iou")}
    expected |= {f"iou.{part}": iou for part, iou in metrics.get("class_iou", {}).items() if iou is not None}
    assert {key: value for key, value in found.items() if not np.isnan(value)} == pytest.approx(expected, abs=1e-12)
    assert report.scored.counts["answered"] == metrics["count"]
    assert any(value not in (0, 1, 1000) for value in expected.values())


def test_codes_without_their_tokenizer(world, coded, tmp_path):
    """Boxes are scored, and the report says what the maps need."""
    rows = [line.split("\t") for line in coded.read_text().splitlines()]
    records = [{"uniq_id": row[0], "bbox": list(map(float, row[2].split(","))), "image_code": [0] * 48} for row in rows]
    (tmp_path / "predict.json").write_text(json.dumps(records))
    options = Options(coded, "rpar", annotation_root=world / "rpar" / "annos", resamples=5)
    report = score(options, tmp_path / "predict.json")
    assert {name: one.value for name, one in report.scored.estimates.items()} == {"box_score": 1}
    assert any("--vq-config" in remark for remark in report.scored.remarks)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_mask_files(world, coded, tmp_path, workers, monkeypatch):
    """The labels themselves are right everywhere; a row without an answer is all background."""
    monkeypatch.setattr("refhcm.tasks.scoring.label_maps.CHUNK", 4)
    rows = [line.split("\t") for line in coded.read_text().splitlines()]
    folder = world / "rpar" / "annos" / "gts"
    path = folder / "predict.jsonl"
    path.write_text("".join(json.dumps({"id": row[0], "mask": row[4]}) + "\n" for row in rows))
    options = Options(coded, "rpar", annotation_root=folder.parent, resamples=5, canvas=64, workers=workers)
    values = {name: one.value for name, one in score(options, path).scored.estimates.items()}
    assert values["miou"] == values["pixel_acc"] == 1
    assert "box_score" not in values
    path.write_text("".join(json.dumps({"id": row[0], "mask": row[4]}) + "\n" for row in rows[1:]))
    assert 0 < score(options, path).scored.estimates["miou"].value < 1
    path.unlink()
