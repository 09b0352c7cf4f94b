"""The golden numbers that the repository holds itself: parity is checked wherever the tests run."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rule_weights import give_rule_weights, normals

from refhcm.criterions.label_smoothing import position_losses, range_mask, sum_positions
from refhcm.data.text import pre_caption, strip_references
from refhcm.models.generation import GenerationSettings, SequenceGenerator
from refhcm.models.qpg import QuerySymbols, decode_parallel
from refhcm.models.refhcm import Network, NetworkConfig
from refhcm.models.refhcm.positions import code_positions, image_buckets, token_buckets
from refhcm.utils.boxes import box_hits
from refhcm.utils.keypoints import oks
from refhcm.utils.parsing import segmentation_scores

FOLDER = Path(__file__).parent / "golden"
SYMBOLS = 60


def numbers(name):
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("variant", ["refhcm_large", "variant_ofa_base_size", "variant_scale_resids_frozenbn"])
def test_state_dict(variant):
    golden = numbers("state_dict")["variants"][variant]
    with torch.device("meta"):
        network = Network(NetworkConfig.from_args(golden["flags"]), 59457)
    lines = sorted((name, value.shape) for name, value in network.state_dict().items())
    text = "\n".join(f"{name} {','.join(map(str, shape))}" for name, shape in lines)
    assert len(lines) == golden["weights"]
    assert hashlib.sha256(text.encode()).hexdigest() == golden["sha256"]
    assert sum(p.numel() for p in network.parameters()) == golden["parameters"]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("token_rp_bucket", lambda: token_buckets(1024, 256)),
        ("image_rp_bucket", lambda: image_buckets(torch.arange(42 * 42 + 1), 42)),
        ("image_position_idx", lambda: code_positions(42, 128)),
    ],
)
def test_buckets(name, values):
    golden, ours = numbers("state_dict")["buffers"][name], values()
    assert (int(ours.sum()), int(ours.min()), int(ours.max())) == (golden["sum"], golden["min"], golden["max"])
    assert hashlib.sha256(ours.numpy().astype("<i8").tobytes()).hexdigest() == golden["sha256_int64_le"]


def test_boxes():
    golden = numbers("published")["box_hits"]
    assert box_hits(golden["prediction"], golden["label"]).astype(float).tolist() == golden["score"]
    assert len(set(golden["score"])) == 2


def test_keypoints():
    golden = numbers("published")["oks"]
    prediction, label = (np.reshape(golden[name], (-1, 17, 2)) for name in ("prediction", "label"))
    assert oks(prediction, label, golden["box"]) == pytest.approx(golden["oks"], abs=2e-6)


def test_parsing_scores():
    golden = numbers("published")["parsing"]
    scores = segmentation_scores(torch.tensor(golden["confusion"]))
    names = {"miou": "miou", "pacc": "pixel_acc", "macc": "mean_precision"}  # the published "macc" is a precision
    for published, ours in names.items():
        assert scores[ours] == pytest.approx(golden[published], abs=1e-9), ours


def test_words():
    golden = numbers("published")
    for case in golden["pre_caption"]:
        assert pre_caption(case["text"], case["max_words"]) == case["out"], case
    for case in golden["strip_references"]:
        assert strip_references(case["text"]) == case["out"], case


def test_schedule():
    """fairseq's scheduler, filled in by `--warmup-ratio`, stepped after each update."""
    pytest.importorskip("fairseq")
    from fairseq.optim.lr_scheduler.polynomial_decay_schedule import (
        PolynomialDecayLRSchedule,
        PolynomialDecayLRScheduleConfig,
    )

    class Optimizer:
        """Only what a scheduler asks for."""

        lr = 0.0

        def set_lr(self, lr):
            self.lr = lr

        def get_lr(self):
            return self.lr

    for case in numbers("published")["schedule"]:
        config = PolynomialDecayLRScheduleConfig(
            warmup_updates=case["warmup"], total_num_update=case["total"], lr=[case["lr"]]
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("fairseq.optim.lr_scheduler.fairseq_lr_scheduler.FairseqOptimizer", Optimizer)
            schedule = PolynomialDecayLRSchedule(config, Optimizer())
        rates = [schedule.step_update(update) for update in range(case["total"])]
        assert rates == pytest.approx(case["lr_of_update"], rel=1e-6)


def test_loss():
    golden = numbers("loss")
    logits, target = torch.tensor(golden["logits"]), torch.tensor(golden["target"])
    for case in golden["cases"]:
        allowed = None if case["range"] is None else range_mask(logits.shape[1], case["range"], logits.device)
        loss, nll, _ = position_losses(logits, target, smoothing=case["smoothing"], allowed=allowed)
        total = sum_positions(loss, nll, drop_worst_ratio=case["drop_worst_ratio"])
        assert float(total.loss) == pytest.approx(case["loss"], rel=1e-5)
        assert float(total.nll) == pytest.approx(case["nll"], rel=1e-5)
        assert total.count == case["count"]


def tiny_numbers():
    """What a tiny network with the rule's weights says to two drawn pictures, one with padding."""
    size = {"arch": "refhcm_test", "resnet_width": 16, "image_bucket_size": 6, "max_target_positions": 64}
    network = give_rule_weights(Network(NetworkConfig.from_args(size), SYMBOLS))
    source = torch.tensor([[0, 9, 17, 4, 33, 21, 2], [0, 12, 40, 8, 2, 1, 1]])
    images = torch.from_numpy(normals("pictures", (2, 3, 64, 48)))
    batch = {"src_tokens": source, "patch_images": images, "patch_masks": torch.tensor([True, True])}
    answer = torch.tensor([[0, 50, 51, 7, 30], [0, 44, 3, 59, 20]])
    with torch.inference_mode():
        states = network.encoder(**batch).states
        logits, _ = network(**batch, prev_output_tokens=answer, full_mask_position=(2, 3))
    settings = GenerationSettings(beam=4, min_len=2, max_len_b=7, no_repeat_ngram_size=2, constraint_range="30,60")
    found = SequenceGenerator(settings).generate([network], {"net_input": batch})
    symbols = QuerySymbols(0, range(4, 14), range(20, 60), 20, range(21, 37), 37)
    return {
        "states": states[:, ::4, ::8].tolist(),
        "logits": logits[:, :, ::6].tolist(),
        "tokens": [[h["tokens"].tolist() for h in hypotheses] for hypotheses in found],
        "scores": [[float(h["score"]) for h in hypotheses] for hypotheses in found],
        "parallel": decode_parallel(network, {"net_input": batch}, symbols).ids.tolist(),
    }


def test_tiny_network():
    golden, ours = numbers("tiny_network"), tiny_numbers()
    for name in ("states", "logits", "scores"):
        torch.testing.assert_close(torch.tensor(ours[name]), torch.tensor(golden[name]), atol=1e-4, rtol=0)
    assert ours["tokens"] == golden["tokens"]
    assert ours["parallel"] == golden["parallel"]
