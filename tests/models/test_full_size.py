"""The network at the paper's size, with weights made by a rule, against numbers of the published implementation."""

import re
from types import SimpleNamespace

import pytest
import torch
from golden_folder import number_in, numbers, table, tensors
from rule_weights import PAD, give_rule_weights
from torch.testing import assert_close

from refhcm.criterions.label_smoothing import position_losses
from refhcm.models.generation import SequenceGenerator
from refhcm.models.refhcm import Network, NetworkConfig
from refhcm.tasks import TASKS
from refhcm.tasks.settings import TaskSettings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def case(golden, text):
    """The task, the network, the batch of pictures, and the golden's tensors and numbers."""
    published, g = numbers("model/full_size_rule_weights"), tensors("model/full_size_rule_weights")
    with torch.device("meta"):
        network = Network(NetworkConfig(), len(text.vocabulary))
    network = give_rule_weights(network, salt=published["salt"])
    rows = table(published["task"])
    task = TASKS[published["task"]](text, TaskSettings(selected_cols=rows["selected_cols"]))
    samples = task.open(golden / "data" / rows["tsv"], training=False)
    net_input = task.collate([samples[row] for row in published["rows"]])["net_input"]
    del net_input["prev_output_tokens"], net_input["src_lengths"]
    assert torch.equal(net_input["src_tokens"], g["src_tokens"])
    with torch.inference_mode():
        encoder = network.encoder(**net_input)
    return SimpleNamespace(task=task, network=network, net_input=net_input, encoder=encoder, g=g, numbers=published)


def near(ours, theirs):
    assert_close(ours, theirs, atol=1e-3, rtol=0)


@torch.inference_mode()
def test_backbone_and_encoder(case):
    features = case.network.encoder.embed_images(case.net_input["patch_images"])
    (name,) = (name for name in case.g if name.startswith("resnet_out_"))
    channels, pixels = map(int, re.fullmatch(r"resnet_out_ch(\d+)_sp(\d+)", name).groups())
    near(features[:, ::channels, ::pixels, ::pixels], case.g[name])
    assert float(features.mean()) == pytest.approx(case.numbers["resnet"]["mean"], abs=1e-4)
    states = case.encoder.states.transpose(0, 1)  # [S, B, D]
    assert list(states.shape) == case.numbers["encoder_out"]["shape"]
    (name,) = (name for name in case.g if name.startswith("encoder_out_"))
    symbols, channels = map(int, re.fullmatch(r"encoder_out_t(\d+)_c(\d+)", name).groups())
    near(states[::symbols, :, ::channels], case.g[name])
    assert float(states.std(correction=0)) == pytest.approx(case.numbers["encoder_out"]["std"], abs=1e-4)


@torch.inference_mode()
def test_decoder_and_loss(case):
    features = case.network.decoder(case.g["prev_output_tokens"], case.encoder)
    logits = case.network.decoder.project(features)
    name, channels = number_in(case.g, r"decoder_features_c(\d+)")
    near(features[..., ::channels], case.g[name])
    near(logits.logsumexp(-1), case.g["logsumexp"])
    name, count = number_in(case.g, r"top(\d+)_logit")
    near(logits.topk(count).values, case.g[name])
    near(logits.gather(-1, case.g[name.replace("_logit", "_idx")].long()), case.g[name])
    target, golden = case.g["target"], case.numbers["loss"]
    counted = target != PAD
    loss, nll, _ = position_losses(logits[counted], target[counted], smoothing=0.1)
    assert len(loss) == golden["sample_size"]
    assert float(loss.sum()) == pytest.approx(golden["loss"], rel=1e-5)
    assert float(nll.sum()) == pytest.approx(golden["nll_loss"], rel=1e-5)


def test_box_by_beam_search(case):
    settings = case.task.generation_settings()
    with torch.inference_mode():
        found = SequenceGenerator(settings).search(case.network.decoder, case.encoder, settings.max_len_b)
    for ours, theirs in zip(found, case.numbers["generation_eval_script"], strict=True):
        assert [h["tokens"].tolist() for h in ours] == [h["tokens"] for h in theirs]
        assert [float(h["score"]) for h in ours] == pytest.approx([h["score"] for h in theirs], abs=1e-3)
