"""The network of the paper's size, with weights made by a rule, against the published implementation's numbers."""

import json
from types import SimpleNamespace

import pytest
import torch
from rule_weights import PAD, give_rule_weights
from safetensors.torch import load_file
from torch.testing import assert_close

from refhcm.criterions.label_smoothing import position_losses
from refhcm.data.canvas import Canvas
from refhcm.data.images import read_image
from refhcm.data.tsv import TsvFile
from refhcm.models.generation import GenerationSettings, SequenceGenerator
from refhcm.models.refhcm import Network, NetworkConfig

pytestmark = pytest.mark.slow
SYMBOLS = 59457
COLUMNS = ("id", "image_id", "text", "box", "keypoints", "image")


@pytest.fixture(scope="module")
def case(golden):
    """The network, the batch of two photographs, and the golden's tensors and numbers."""
    with torch.device("meta"):
        network = Network(NetworkConfig(), SYMBOLS)
    network = give_rule_weights(network)
    numbers = json.loads((golden / "model" / "full_size_rule_weights.json").read_text())
    g = load_file(golden / "model" / "full_size_rule_weights.safetensors")
    table = TsvFile(golden / "data" / "rkpt_rec.tsv", None, names=COLUMNS)
    pictures = [read_image(table[row]["image"], where=table.where(row)) for row in numbers["rows"]]
    images = torch.stack([Canvas().place(picture).patch_image for picture in pictures])
    net_input = {"src_tokens": g["src_tokens"], "patch_images": images, "patch_masks": torch.tensor([True, True])}
    with torch.inference_mode():
        encoder = network.encoder(**net_input)
    return SimpleNamespace(network=network, net_input=net_input, encoder=encoder, g=g, numbers=numbers)


def near(ours, theirs):
    assert_close(ours, theirs, atol=1e-3, rtol=0)


@torch.inference_mode()
def test_trunk_and_encoder(case):
    features = case.network.encoder.embed_images(case.net_input["patch_images"])
    near(features[:, ::64, ::4, ::4], case.g["resnet_out_ch64_sp4"])
    assert float(features.mean()) == pytest.approx(case.numbers["resnet"]["mean"], abs=1e-4)
    states = case.encoder.states.transpose(0, 1)  # [S, B, D]
    assert list(states.shape) == case.numbers["encoder_out"]["shape"]
    near(states[::13, :, ::16], case.g["encoder_out_t13_c16"])
    assert float(states.std(correction=0)) == pytest.approx(case.numbers["encoder_out"]["std"], abs=1e-4)


@torch.inference_mode()
def test_decoder_and_loss(case):
    features = case.network.decoder(case.g["prev_output_tokens"], case.encoder)
    logits = case.network.decoder.project(features)
    near(features[..., ::4], case.g["decoder_features_c4"])
    near(logits.logsumexp(-1), case.g["logsumexp"])
    near(logits.topk(8).values, case.g["top8_logit"])
    near(logits.gather(-1, case.g["top8_idx"].long()), case.g["top8_logit"])
    target, golden = case.g["target"], case.numbers["loss"]
    counted = target != PAD
    loss, nll, _ = position_losses(logits[counted], target[counted], smoothing=0.1)
    assert len(loss) == golden["sample_size"]
    assert float(loss.sum()) == pytest.approx(golden["loss"], rel=1e-5)
    assert float(nll.sum()) == pytest.approx(golden["nll_loss"], rel=1e-5)


def test_box_by_beam_search(case):
    settings = GenerationSettings(
        beam=5, min_len=4, max_len_b=4, no_repeat_ngram_size=3, constraint_range="58457,59457"
    )
    with torch.inference_mode():
        found = SequenceGenerator(settings).search(case.network.decoder, case.encoder, 4)
    for ours, theirs in zip(found, case.numbers["generation_eval_script"], strict=True):
        assert [h["tokens"].tolist() for h in ours] == [h["tokens"] for h in theirs]
        assert [float(h["score"]) for h in ours] == pytest.approx([h["score"] for h in theirs], abs=1e-3)
