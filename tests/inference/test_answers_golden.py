"""Reading answers, and whole evaluations, against the published ones (golden/model, golden/eval)."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from refhcm.models.refhcm.loading import load_network
from refhcm.tasks import TASKS
from refhcm.tasks.evaluation import evaluate
from refhcm.tasks.settings import TaskSettings
from refhcm.utils.checkpoints import read_checkpoint

# task: checkpoint, TSV, true name of each published score
EVALUATIONS = {
    "refcoco": ("refcoco", "rkpt_rec.tsv", {"score": "score"}),
    "rpar": ("multitask", "rpar.tsv", {"macc": "mean_precision", "miou": "miou", "pacc": "pixel_acc"}),
    "rpar_full_mask": ("rpar_full_mask", "rpar.tsv", {"macc": "mean_precision", "miou": "miou", "pacc": "pixel_acc"}),
    "rhrc": ("rhrc", "rhrc.tsv", {}),
    "rkpt": ("rkpt", "rkpt_rec.tsv", {"score": "oks_score"}),
}


@pytest.fixture
def keypoints(text):
    """The task with canvas px that are bins."""
    return TASKS["rkpt"](text, TaskSettings(max_image_size=999))


def numbers(prediction):
    box = np.zeros(4) if prediction.box_xyxy is None else prediction.box_xyxy
    return np.concatenate([box, prediction.keypoints])


def test_keypoints_of_target(golden, keypoints):
    task = json.loads((golden / "model" / "model_rkpt.json").read_text())["tasks"]["rkpt"]
    targets = load_file(golden / "model" / "model_rkpt.safetensors")["rkpt/target"]
    for ids, expected in zip(targets, task["decode_keypoints_of_target"], strict=True):
        prediction = keypoints.parse(ids[ids != 1])
        assert prediction.valid
        assert numbers(prediction) == pytest.approx(expected, abs=1e-3)


def test_odd_keypoint_answers(golden, keypoints):
    """Complete answers read as published; where bins are missing the box is not shifted (docs/evaluation.md)."""
    task = json.loads((golden / "model" / "model_rkpt.json").read_text())["tasks"]["rkpt"]
    different = 0
    for case in task["decode_keypoints_odd_inputs"]:
        prediction = keypoints.parse(torch.tensor(case["tokens"]))
        if numbers(prediction) != pytest.approx(case["out"], abs=1e-3):
            assert not prediction.valid
            bins = [i - 58457 for i in case["tokens"] if i >= 58457]
            assert numbers(prediction)[:4] == pytest.approx(bins[:4] if len(bins) >= 4 else [0] * 4, abs=1e-3)
            different += 1
    assert different == 2  # the front-padded ones


def run(name, text, golden, data, checkpoint, *, batch_size):
    """Metrics and records of one of the published evaluations."""
    settings = TaskSettings(
        patch_image_size=128,
        annotation_root=str(data / "rpar_annos"),
        vq_config=str(golden / "vqgan" / "model.yaml"),
        vq_ckpt=str(golden / "vqgan" / "model.ckpt"),
        selected_cols="0,5,2,3" if name == "refcoco" else None,
    )
    task = TASKS[name](text, settings)
    network = load_network(read_checkpoint(checkpoint), len(text.vocabulary))
    rows = task.open(data / EVALUATIONS[name][1], training=False)
    return evaluate(task, network, rows, settings=task.generation_settings(), batch_size=batch_size)


@pytest.mark.parametrize("batch_size", [1, 4, 10])
@pytest.mark.parametrize("name", [name for name in EVALUATIONS if name != "rkpt"])
def test_evaluation(name, batch_size, golden, golden_data, golden_checkpoint, text):
    checkpoint, _, scores = EVALUATIONS[name]
    arguments = (name, text, golden, golden_data, golden_checkpoint(checkpoint))
    metrics, records = run(*arguments, batch_size=batch_size)
    assert records == json.loads((golden / "eval" / f"{name}_test_predict.json").read_text())
    assert metrics["count"] == 10
    summary = json.loads((golden / "eval" / "eval_summary.json").read_text())["scores"].get(name, {})
    for theirs, ours in scores.items():
        assert metrics[ours] == pytest.approx(summary[theirs], abs=1e-7)


def test_malformed_keypoint_answers_keep_their_box(golden, golden_data, golden_checkpoint, text):
    """The tiny network's answers all lack bins: the published reader shifts them, ours says that they are malformed."""
    arguments = ("rkpt", text, golden, golden_data, golden_checkpoint("rkpt"))
    (metrics, records), (_, again) = (run(*arguments, batch_size=size) for size in (10, 3))
    scores = [[record.pop("score") for record in both] for both in (records, again)]
    assert records == again
    assert scores[0] == pytest.approx(scores[1])
    published = json.loads((golden / "eval" / "rkpt_test_predict.json").read_text())
    assert metrics["invalid"] == 1.0
    assert [r["uniq_id"] for r in records] == [p["uniq_id"] for p in published]
    assert [r["oks_score"] for r in records] == [p["oks_score"] for p in published]
    assert all(any(r["box"]) for r in records)
    assert not any(any(p["box"]) for p in published)


def test_caption_scores(golden, golden_data, golden_checkpoint, text):
    """CIDEr-D of the evaluated captions with the frequencies of a file."""
    theirs = json.loads((golden / "eval" / "rhrc_cider.json").read_text())
    cached = str(golden / "metrics" / "cider_df.p")
    task = TASKS["rhrc"](text, TaskSettings(patch_image_size=128, eval_cider_cached_tokens=cached))
    network = load_network(read_checkpoint(golden_checkpoint("rhrc")), len(text.vocabulary))
    rows = task.open(golden_data / "rhrc.tsv", training=False)
    metrics, _ = evaluate(task, network, rows, settings=task.generation_settings(), batch_size=4)
    assert metrics["cider"] == pytest.approx(100 * theirs["mean_cached"], rel=1e-6)


def test_parallel_parsing(golden, golden_data, golden_checkpoint, text):
    """Box and codes of the published greedy decoding, one by one and as a batch."""
    theirs = json.loads((golden / "model" / "model_rpar_full_mask.json").read_text())["tasks"]["rpar_full_mask"]
    settings = TaskSettings(patch_image_size=128, max_image_size=999, annotation_root=str(golden_data / "rpar_annos"))
    task = TASKS["rpar_full_mask"](text, settings)
    network = load_network(read_checkpoint(golden_checkpoint("rpar_full_mask")), len(text.vocabulary))
    rows = task.open(golden_data / "rpar.tsv", training=False)
    cases = theirs["qpg_greedy_bs1"]
    answers = task.generate(network, task.collate([rows[case["row"]] for case in cases]), task.generation_settings())
    for answer, case in zip(answers, cases, strict=True):
        prediction = task.parse(answer.ids)
        assert prediction.valid
        assert prediction.box_xyxy == pytest.approx(case["hyp"][:4], abs=1e-3)
        assert prediction.codes.tolist() == case["hyp"][4:]


def test_ranks_share_the_rows(golden, golden_data, golden_checkpoint, text):
    task = TASKS["rhrc"](text, TaskSettings(patch_image_size=128))
    network = load_network(read_checkpoint(golden_checkpoint("rhrc")), len(text.vocabulary))
    rows = task.open(golden_data / "rhrc.tsv", training=False)
    settings = task.generation_settings()
    whole = evaluate(task, network, rows, settings=settings, batch_size=10)[1]
    parts = [evaluate(task, network, rows, settings=settings, batch_size=4, rank=r, world=3)[1] for r in range(3)]
    assert sorted(r["image_id"] for part in parts for r in part) == [r["image_id"] for r in whole]
