"""Scores of keypoints and captions by hand, and the sums that reports are made of."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from refhcm.apps.cli.tokenizer import score
from refhcm.data.annotation import Prediction
from refhcm.models.generated import Generated
from refhcm.models.vqgan import VQTokenizer
from refhcm.models.vqgan.config import VQConfig
from refhcm.tasks.base import mean_of
from refhcm.training.tokenizer.masks import MaskRows, open_table
from refhcm.utils.errors import CheckpointError
from refhcm.utils.keypoints import SIGMAS

LABELS = {"id": "a", "w_resize_ratios": 2.0, "h_resize_ratios": 4.0, "region_coords": np.array([10, 10, 60, 110.0])}
VQ = {"n_labels": 20, "n_embed": 32, "embed_dim": 16, "z_channels": 32, "resolution": 32, "in_channels": 20}
VQ |= {"out_ch": 20, "ch": 32, "ch_mult": (1, 1), "num_res_blocks": 1, "attn_resolutions": ()}


def nose_at(x, y):
    """34 numbers with one keypoint."""
    points = np.zeros(34, np.float32)
    points[:2] = x, y
    return points


@pytest.fixture
def nose():
    """A person of 50 x 100 px of whom only the nose is to be seen."""
    return LABELS | {"keypoints": nose_at(30, 20)}


def test_mean_of():
    rows = [{"hit": True}, {"hit": False}, {"hit": np.bool_(True)}, {"hit": 0}]
    assert mean_of(rows, "hit") == 0.5
    assert mean_of([], "hit") == 0


def test_keypoint_scores_by_hand(make_task, nose):
    task = make_task("rkpt")
    box = np.array([20, 40, 120, 440], np.float32)  # canvas px: the label's box
    right = Prediction(valid=True, box_xyxy=box, keypoints=nose_at(60, 80))
    beside = replace(right, keypoints=nose_at(66, 80))  # 3 image px beside
    wrong = Prediction(valid=False, keypoints=np.zeros(34, np.float32))
    similarity = np.exp(-9 / (2 * SIGMAS[0]) ** 2 / 5000 / 2)
    assert similarity == pytest.approx(0.7169, abs=1e-4)
    metrics = task.summarize([task.statistics(p, nose) for p in (right, beside, wrong, right)])
    assert metrics["box_score"] == metrics["oks_score"] == 0.75
    # the wrong nose lies at (0, 0): exp(-(30^2 + 20^2) / 0.002704 / 5000 / 2) = 1.3e-21
    assert metrics["oks"] == pytest.approx((2 + similarity) / 4)
    assert metrics["invalid"] == 0.25
    assert metrics["oks_ap50"] > metrics["oks_ap"] > 0
    record = task.record(beside, nose)
    assert record["box"] == [10, 10, 60, 110]
    assert task.record(replace(beside, score=-0.25), nose)["score"] == -0.25
    assert record["keypoints"] == nose_at(33, 20).tolist()
    assert (record["oks_score"], task.record(wrong, nose)["oks_score"]) == (1.0, 0.0)
    assert task.record(wrong, nose)["box"] == [0, 0, 0, 0]
    assert json.dumps(record)


@pytest.mark.parametrize("name", ["refcoco", "rkpt", "rpar", "rpar_full_mask", "rhrc", "grec"])
def test_nothing_to_summarize(make_task, name):
    assert make_task(name).summarize([]) == {}


def test_keypoints_of_a_malformed_answer_stay(make_task):
    """What could be read is kept: the box, and the points before the bins ran out."""
    task = make_task("rkpt", max_image_size=99)  # a canvas px is a bin
    answer = "<bin_3> <bin_4> <bin_5> <bin_6> nose <bin_7> <bin_8> nonsense <bin_1> <bin_2> left_eye <bin_9>"
    prediction = task.parse(task.text.encode_words(answer))
    assert not prediction.valid
    assert prediction.box_xyxy.tolist() == [3, 4, 5, 6]
    assert prediction.keypoints == pytest.approx(nose_at(7, 8))
    whole = task.parse(task.text.encode_words(answer + " <bin_10>"))
    assert whole.valid
    assert whole.keypoints[:4] == pytest.approx([7, 8, 9, 10])  # a name that is none uses up its pair


def test_eos_ends_a_keypoint_answer(make_task):
    task = make_task("rkpt", max_image_size=99)
    box = task.text.encode_words("<bin_3> <bin_4> <bin_5> <bin_6>")
    after = task.text.encode_words("nose <bin_7> <bin_8>")
    ended = task.parse(np.concatenate([box, [2], after]))
    assert ended.valid
    assert not ended.keypoints.any()


@pytest.mark.parametrize("bleu", [False, True])
@pytest.mark.parametrize("more", [False, True])
def test_caption_scores(make_task, more, bleu):
    if more or bleu:
        pytest.importorskip("pycocoevalcap", reason="needs the `train` extra")
    task = make_task("rhrc", eval_bleu=bleu, eval_meteor=more)
    references = ["A man, sitting.&&the player", "a woman in red", "two dogs run"]
    answers = ["a man sitting!", "a woman in red", ""]
    rows = []
    for i, (reference, caption) in enumerate(zip(references, answers, strict=True)):
        prediction = task.parse(task.text.encode(" " + caption))
        labels = LABELS | {"id": str(i), "text": reference}
        rows.append(task.statistics(prediction, labels))
        assert task.record(prediction, labels)["caption"] == caption.rstrip("!")
    assert task.record(prediction, labels)["region"] == [10, 10, 60, 110]
    metrics = task.summarize(rows)
    assert metrics["invalid"] == pytest.approx(1 / 3)
    assert 0 < metrics["cider"] < 1000
    assert (0 < metrics.get("rouge_l", 0) < 100) == more
    assert (0 < metrics.get("bleu1", 0) < 100) == bleu
    assert ("bleu4" in metrics) == bleu
    assert task.summarize(rows[1:])["cider"] != metrics["cider"]  # the whole set gives the frequencies


@pytest.fixture
def tokenizer_files(tmp_path):
    """A small tokenizer of random weights: flags for `make_task`."""
    ddconfig = {k: list(v) if isinstance(v, tuple) else v for k, v in VQ.items() if k not in ("n_labels", "n_embed")}
    params = {"n_labels": 20, "n_embed": 32, "embed_dim": ddconfig.pop("embed_dim"), "ddconfig": ddconfig}
    (tmp_path / "model.yaml").write_text(json.dumps({"model": {"params": params}}), encoding="utf-8")
    torch.manual_seed(0)
    torch.save({"state_dict": VQTokenizer(VQConfig(**VQ)).state_dict()}, tmp_path / "model.ckpt")
    return {"vq_config": str(tmp_path / "model.yaml"), "vq_ckpt": str(tmp_path / "model.ckpt")}


def test_maps_of_a_batch(make_task, tokenizer_files):
    """Each answer gets its own codes' map; codes out of range are clamped for the map and kept for the record."""
    task = make_task("rpar", **tokenizer_files)
    start = task.vocabulary.code_ids.start
    box = torch.from_numpy(task.text.encode_words("<bin_0> <bin_0> <bin_50> <bin_50>"))
    codes = torch.stack([torch.arange(48) % 32, torch.full((48,), 31), torch.full((48,), 32)])
    answers = [Generated(torch.cat([box, row + start])) for row in codes]
    found = task.parse_batch([*answers, Generated(torch.tensor([2]))], torch.device("cpu"))
    assert [p.valid for p in found] == [True, True, False, False]
    assert np.array_equal(found[0].label_map, task.tokenizer.decode(codes[:1])[0])
    assert np.array_equal(found[1].label_map, found[2].label_map)
    assert found[2].codes.tolist() == [32] * 48
    assert not np.array_equal(found[0].label_map, found[1].label_map)


def test_the_tokenizer_s_own_score_is_on_the_same_canvas(make_task, tokenizer_files, world, coded):
    """Of answers whose boxes and codes are right RPar has it, on a canvas that is not 512 px wide, too."""
    task = make_task("rpar", max_image_size=64, patch_image_size=64, **tokenizer_files)
    persons = MaskRows(open_table(coded), world / "rpar" / "annos")
    rows = task.open(coded, training=False)
    statistics = []
    for person, row in zip(persons, rows, strict=True):
        codes = task.tokenizer.encode(person.crop(task.tokenizer.input_size_hw)[None])
        box = np.array(person.box_canvas(64), np.float32)
        found = Prediction(True, box, codes=codes[0].numpy(), label_map=task.tokenizer.decode(codes)[0].numpy())
        ratios = {"w_resize_ratios": row["w_resize_ratio"], "h_resize_ratios": row["h_resize_ratio"]}
        statistics.append(task.statistics(found, {"gt": row["gt"], "region_coords": row["region_coord"], **ratios}))
    found = task.summarize(statistics)
    expected, other = (score(task.tokenizer, persons, batch_size=4, num_workers=0, canvas_size=c) for c in (64, 512))
    assert found["box_score"] == 1
    for name in ("miou", "pixel_acc", "class_iou"):
        assert found[name] == pytest.approx(expected[name])
    assert found["miou"] != pytest.approx(other["miou"], rel=1e-3)


def test_the_pixels_of_many_rows_are_counted(make_task):
    """8192 rows of 512 x 512 px and more do not fit into 32 bits; all of class 5 is taken for background."""
    confusion = np.zeros((20, 20), np.int32)
    confusion[0, 0], confusion[5, 0] = 2 * 10**9, 10**9
    scores = make_task("rpar").summarize([{"hit": True, "invalid": False, "confusion": confusion}] * 3)
    assert (scores["pixel_acc"], scores["miou"]) == pytest.approx((2 / 3, 1 / 3))
    assert list(scores["class_iou"].values())[:6] == [pytest.approx(2 / 3), None, None, None, None, 0]


def test_the_tokenizer_has_as_many_codes_as_asked(make_task, tokenizer_files):
    assert make_task("rpar", **tokenizer_files, vq_n_embed=16).tokenizer.n_embed == 16
    with pytest.raises(CheckpointError, match=r"n_embed = 32 codes, but .*48"):
        _ = make_task("rpar", **tokenizer_files, vq_n_embed=48).tokenizer
    with pytest.raises(CheckpointError, match=r"nowhere\.ckpt: no such file"):
        _ = make_task("rpar", **tokenizer_files | {"vq_ckpt": "nowhere.ckpt"}).tokenizer
