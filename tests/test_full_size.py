"""The large network with weights by a rule, on photographs, against the published numbers (golden/model)."""

import json
import zlib

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from refhcm.criterions.label_smoothing import position_losses
from refhcm.models.generation import SequenceGenerator
from refhcm.models.refhcm import Network, NetworkConfig
from refhcm.tasks import TASKS
from refhcm.tasks.settings import TaskSettings

pytestmark = pytest.mark.slow


def rule(name: str, shape: torch.Size, salt: str) -> torch.Tensor:
    """golden/model/full_size_rule_weights.json, `weights_rule`."""
    random = np.random.RandomState(zlib.crc32((salt + name).encode()))
    n = torch.from_numpy(random.standard_normal(int(np.prod(shape))).astype(np.float32)).reshape(shape)
    if name.endswith("running_var"):
        return 1 + 0.1 * n.abs()
    if name.endswith("running_mean"):
        return 0.05 * n
    if name.endswith("c_attn") or (n.dim() == 1 and name.endswith(".weight")):
        return 1 + 0.1 * n
    if n.dim() == 1:
        return 0.02 * n
    if n.dim() == 4:
        return n * float(np.float32(np.sqrt(1 / np.prod(shape[1:]))))
    return 0.03 * n


@torch.no_grad()
def test_large_network(golden, golden_data, text):
    numbers = json.loads((golden / "model" / "full_size_rule_weights.json").read_text())
    g = load_file(golden / "model" / "full_size_rule_weights.safetensors")
    with torch.device("meta"):
        network = Network(NetworkConfig(), len(text.vocabulary))
    weights = {}
    for name, value in network.state_dict().items():
        if name not in ("decoder.embed_tokens.weight", "decoder.output_projection.weight"):
            counter = not value.is_floating_point()
            weights[name] = torch.zeros((), dtype=torch.long) if counter else rule(name, value.shape, numbers["salt"])
    embedding = weights["encoder.embed_tokens.weight"]
    embedding[1] = 0
    tied = dict.fromkeys(("decoder.embed_tokens.weight", "decoder.output_projection.weight"), embedding)
    network.load_state_dict(weights | tied, assign=True)
    network.share_embedding()
    network.eval()
    task = TASKS["refcoco"](text, TaskSettings(selected_cols="0,5,2,3"))
    rows = task.open(golden_data / "rkpt_rec.tsv", training=False)
    batch = task.collate([rows[i] for i in numbers["rows"]])
    source = batch["net_input"]
    assert torch.equal(source["src_tokens"], g["src_tokens"])

    def near(ours: torch.Tensor, theirs: torch.Tensor) -> None:
        assert_close(ours, theirs, atol=1e-3, rtol=0)

    features = network.encoder.embed_images(source["patch_images"])
    near(features[:, ::64, ::4, ::4], g["resnet_out_ch64_sp4"])
    encoder = network.encoder(source["src_tokens"], source["patch_images"], source["patch_masks"])
    near(encoder.states.transpose(0, 1)[::13, :, ::16], g["encoder_out_t13_c16"])
    decoded = network.decoder(source["prev_output_tokens"], encoder)
    near(decoded[..., ::4], g["decoder_features_c4"])
    logits = network.decoder.project(decoded)
    near(logits.logsumexp(-1), g["logsumexp"])
    near(logits.gather(-1, g["top8_idx"].long()), g["top8_logit"])
    loss, nll, _ = position_losses(logits.flatten(0, 1), batch["target"].flatten(), smoothing=0.1)
    assert float(loss.sum()) == pytest.approx(numbers["loss"]["loss"], rel=1e-5)
    assert float(nll.sum()) == pytest.approx(numbers["loss"]["nll_loss"], rel=1e-5)
    found = SequenceGenerator(task.generation_settings()).search(network.decoder, encoder, 4)
    for ours, theirs in zip(found, numbers["generation_eval_script"], strict=True):
        assert [h["tokens"].tolist() for h in ours] == [h["tokens"] for h in theirs]
        for h, published in zip(ours, theirs, strict=True):
            assert float(h["score"]) == pytest.approx(published["score"], abs=1e-3)
