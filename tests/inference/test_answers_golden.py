"""Reading answers, and whole evaluations, against the published ones (golden/model, golden/eval)."""

import re

import numpy as np
import pytest
import torch
from golden_folder import names, numbers, table, tensors, vq_n_embed

from refhcm.models.refhcm.loading import load_network
from refhcm.tasks import TASKS
from refhcm.tasks.evaluation import evaluate
from refhcm.tasks.settings import TaskSettings
from refhcm.utils.checkpoints import read_checkpoint

EVALUATED = names("eval/*_test_predict.json")
SUMMARY = numbers("eval/eval_summary")
# true name of each published score
TRUE_NAMES = {"score": "score", "macc": "mean_precision", "miou": "miou", "pacc": "pixel_acc"}


@pytest.fixture
def keypoints(text):
    """The task with canvas px that are bins."""
    return TASKS["rkpt"](text, TaskSettings(max_image_size=len(text.vocabulary.bin_ids) - 1))


def coordinates_of(prediction):
    box = np.zeros(4) if prediction.box_xyxy is None else prediction.box_xyxy
    return np.concatenate([box, prediction.keypoints])


def test_keypoints_of_target(keypoints):
    expected = numbers("model/model_rkpt")["tasks"]["rkpt"]["decode_keypoints_of_target"]
    targets = tensors("model/model_rkpt")["rkpt/target"]
    for ids, coordinates in zip(targets, expected, strict=True):
        prediction = keypoints.parse(ids[ids != keypoints.vocabulary.pad()])
        assert prediction.valid
        assert coordinates_of(prediction) == pytest.approx(coordinates, abs=1e-3)


def test_odd_keypoint_answers(keypoints):
    """Complete answers read as published; where bins are missing the box is not shifted (docs/evaluation.md)."""
    cases = numbers("model/model_rkpt")["tasks"]["rkpt"]["decode_keypoints_odd_inputs"]
    vocabulary, too_short = keypoints.vocabulary, 0
    for case in cases:
        prediction = keypoints.parse(torch.tensor(case["tokens"]))
        bins = [i - vocabulary.bin_ids.start for i in case["tokens"] if i in vocabulary.bin_ids]
        if coordinates_of(prediction) != pytest.approx(case["out"], abs=1e-3):
            assert not prediction.valid
            assert len(bins) < len(case["out"])  # the published reader puts zeros in front
            assert coordinates_of(prediction)[:4] == pytest.approx(bins[:4] if len(bins) >= 4 else [0] * 4, abs=1e-3)
            too_short += 1
    assert 0 < too_short < len(cases)


def task_of(name, text, data, **options):
    """A task with the settings of the published evaluation."""
    settings = {"patch_image_size": SUMMARY["patch_image_size"], "vq_n_embed": vq_n_embed(name)}
    settings |= {"annotation_root": str(data / "rpar_annos"), "selected_cols": table(name)["selected_cols"]}
    return TASKS[name](text, TaskSettings(**settings | options))


def network_of(checkpoint, text):
    return load_network(read_checkpoint(checkpoint), len(text.vocabulary))


def run(name, text, golden, data, checkpoint, *, batch_size):
    """Metrics and records of one of the published evaluations."""
    tokenizer = {"vq_config": str(golden / "vqgan" / "model.yaml"), "vq_ckpt": str(golden / "vqgan" / "model.ckpt")}
    task, network = task_of(name, text, data, **tokenizer), network_of(checkpoint, text)
    rows = task.open(data / table(name)["tsv"], training=False)
    return evaluate(task, network, rows, settings=task.generation_settings(), batch_size=batch_size)


@pytest.mark.parametrize("batch_size", [1, 4, 10])
@pytest.mark.parametrize("name", [name for name in EVALUATED if name != "rkpt"])
def test_evaluation(name, batch_size, golden, golden_data, golden_checkpoint, text):
    checkpoint = golden_checkpoint(re.search(r"tiny_(\w+)", SUMMARY["options"][name])[1])
    metrics, records = run(name, text, golden, golden_data, checkpoint, batch_size=batch_size)
    published = numbers(f"eval/{name}_test_predict")
    assert records == published
    assert metrics["count"] == len(published)
    scores = SUMMARY["scores"].get(name, {})
    for theirs, ours in TRUE_NAMES.items():
        if theirs in scores:
            assert metrics[ours] == pytest.approx(scores[theirs], abs=1e-7)


def test_malformed_keypoint_answers_keep_their_box(golden, golden_data, golden_checkpoint, text):
    """Answers that lack bins: the published reader shifts them, ours says that they are malformed."""
    arguments = ("rkpt", text, golden, golden_data, golden_checkpoint("rkpt"))
    (metrics, records), (_, again) = (run(*arguments, batch_size=size) for size in (10, 3))
    scores = [[record.pop("score") for record in both] for both in (records, again)]
    assert records == again
    assert scores[0] == pytest.approx(scores[1])
    published = numbers("eval/rkpt_test_predict")
    assert [r["uniq_id"] for r in records] == [p["uniq_id"] for p in published]
    shifted = 0
    for ours, theirs in zip(records, published, strict=True):
        if ours != theirs:
            assert theirs["box"][0] == 0  # zeros in front
            assert any(ours["box"])
            shifted += 1
    assert metrics["invalid"] * len(records) >= shifted
    score = SUMMARY["scores"]["rkpt"]
    assert sum(p["oks_score"] for p in published) == score["score_sum"]
    assert metrics["oks_score"] == pytest.approx(score["score"], abs=shifted / len(records) + 1e-7)


def test_caption_scores(golden, golden_data, golden_checkpoint, text):
    """CIDEr-D of the evaluated captions with the frequencies of a file."""
    theirs = numbers("eval/rhrc_cider")
    cached = str(golden / "metrics" / "cider_df.p")
    task = task_of("rhrc", text, golden_data, eval_cider_cached_tokens=cached)
    network = network_of(golden_checkpoint("rhrc"), text)
    rows = task.open(golden_data / table("rhrc")["tsv"], training=False)
    metrics, _ = evaluate(task, network, rows, settings=task.generation_settings(), batch_size=4)
    assert metrics["cider"] == pytest.approx(100 * theirs["mean_cached"], rel=1e-6)


def test_parallel_parsing(golden_data, golden_checkpoint, text):
    """Box and codes of the published greedy decoding, one by one and as a batch."""
    theirs = numbers("model/model_rpar_full_mask")["tasks"]["rpar_full_mask"]
    sizes = {"patch_image_size": theirs["patch_image_size"], "max_image_size": len(text.vocabulary.bin_ids) - 1}
    task = task_of("rpar_full_mask", text, golden_data, **sizes)
    network = network_of(golden_checkpoint("rpar_full_mask"), text)
    rows = task.open(golden_data / table("rpar_full_mask")["tsv"], training=False)
    cases = theirs["qpg_greedy_bs1"]
    answers = task.generate(network, task.collate([rows[case["row"]] for case in cases]), task.generation_settings())
    for answer, case in zip(answers, cases, strict=True):
        prediction = task.parse(answer.ids)
        assert prediction.valid
        assert prediction.box_xyxy == pytest.approx(case["hyp"][:4], abs=1e-3)
        assert prediction.codes.tolist() == case["hyp"][4:]


def test_ranks_share_the_rows(golden_data, golden_checkpoint, text):
    task = task_of("rhrc", text, golden_data)
    network = network_of(golden_checkpoint("rhrc"), text)
    rows = task.open(golden_data / table("rhrc")["tsv"], training=False)
    settings = task.generation_settings()
    whole = evaluate(task, network, rows, settings=settings, batch_size=10)[1]
    parts = [evaluate(task, network, rows, settings=settings, batch_size=4, rank=r, world=3)[1] for r in range(3)]
    assert sorted(r["image_id"] for part in parts for r in part) == [r["image_id"] for r in whole]
