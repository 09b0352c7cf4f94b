"""Losses and gradients against the published implementation's (golden/model)."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from refhcm.models.refhcm import Network, NetworkConfig
from refhcm.models.refhcm.loading import fit_weights, load_network
from refhcm.utils.checkpoints import read_checkpoint

pytest.importorskip("fairseq")
from losses import criterion

SYMBOLS = 59457


OWN = [(name, name) for name in ("refcoco", "rkpt", "rpar_full_mask", "rhrc")]
MULTITASK = [("multitask", name) for name in ("refcoco", "rkpt", "rpar", "rhrc")]


@pytest.fixture(scope="module", params=OWN + MULTITASK, ids="-".join)
def case(request, golden, golden_checkpoint):
    """(name, checkpoint, batch, numbers) of a task on its own checkpoint, or on that of all tasks."""
    file, name = request.param
    tensors = load_file(golden / "model" / f"model_{file}.safetensors")
    g = {key.partition("/")[2]: value for key, value in tensors.items() if key.startswith(f"{name}/")}
    net_input = {
        "src_tokens": g["src_tokens"],
        "patch_images": (g["patch_images_u8"].float() / 255 - 0.5) / 0.5,
        "patch_masks": g["patch_masks"],
        "prev_output_tokens": g["prev_output_tokens"],
    }
    if name == "rpar_full_mask":
        net_input["full_mask_position"] = (6, 53)
    counts = {"nsentences": len(g["target"]), "ntokens": int((g["target"] != 1).sum())}
    batch = {"net_input": net_input, "target": g["target"], **counts}
    numbers = json.loads((golden / "model" / f"model_{file}.json").read_text())["tasks"][name]
    return name, read_checkpoint(golden_checkpoint(file)), batch, numbers


@torch.no_grad()
def test_losses(case):
    name, checkpoint, batch, numbers = case
    network = load_network(checkpoint, SYMBOLS)
    for golden in numbers["loss_eval_mode_label_smoothing_0.1"]:
        if "error" in golden:  # the published version crashes there
            continue
        options = dict(golden.get("opts", {})) | {"sentence_avg": golden.get("sentence_avg", False)}
        if golden["name"] == "label_smoothing_0":
            options["label_smoothing"] = 0.0
        ours = criterion(**options)
        ours.update_num = golden.get("update_num", 0)
        loss, sample_size, logged = ours(network, batch)
        assert float(loss) == pytest.approx(golden["loss"], rel=1e-5), golden["name"]
        assert sample_size == golden["sample_size"], golden["name"]
        if name != "rpar_full_mask":  # there the published version logs a part only
            assert float(logged["nll_loss"]) == pytest.approx(golden["nll_loss"], rel=1e-5), golden["name"]
        if "nsentences" in golden:
            assert (logged["nsentences"], logged["ntokens"]) == (golden["nsentences"], golden["ntokens"])


@torch.no_grad()
def test_accuracy_is_reported(case):
    _, checkpoint, batch, numbers = case
    network = load_network(checkpoint, SYMBOLS)
    _, _, logged = criterion(report_accuracy=True)(network, batch)
    counted = batch["target"] != 1
    if "full_mask_position" not in batch["net_input"]:
        width = counted.shape[1]
        best = torch.tensor([row[:width] for row in numbers["full_logits_argmax"]])
        assert int(logged["n_correct"]) == int(((best == batch["target"]) & counted).sum())
    assert logged["total"] == int(counted.sum())


def test_worst_positions_are_dropped_from_the_loss_in_training_alone():
    """Not from the loss of validation, nor from the share of symbols that are right."""
    torch.manual_seed(0)
    logits, target = torch.randn(2, 5, 9), torch.full((2, 5), 4)
    sample = {"net_input": {}, "target": target, "nsentences": 2, "ntokens": 10}
    found = {}
    for training in (True, False):
        ours = criterion(drop_worst_ratio=0.2, drop_worst_after=3, report_accuracy=True).train(training)
        for ours.update_num in (3, 4):
            loss, size, logged = ours(lambda: (logits, None), sample)
            found[training, ours.update_num] = float(loss), size
            assert (int(logged["n_correct"]), logged["total"]) == (int((logits.argmax(-1) == 4).sum()), 10)
    assert found[True, 4][1] == 8
    assert found[True, 4][0] < found[True, 3][0]
    assert found[True, 3] == found[False, 3] == found[False, 4]


@torch.no_grad()
def test_the_whole_plain_loss_is_logged(case):
    """With parallel positions the published version logs a part; without smoothing it is the loss itself."""
    _, checkpoint, batch, numbers = case
    plain = next(g for g in numbers["loss_eval_mode_label_smoothing_0.1"] if g["name"] == "label_smoothing_0")
    _, _, logged = criterion()(load_network(checkpoint, SYMBOLS), batch)
    assert float(logged["nll_loss"]) == pytest.approx(plain["loss"], rel=1e-5)


def test_gradients(case):
    _, checkpoint, batch, numbers = case
    if "train_mode" not in numbers:
        pytest.skip("the golden has none for this task")
    golden = numbers["train_mode"]
    network = Network(NetworkConfig.from_args(checkpoint.args), SYMBOLS)
    network.load_state_dict(fit_weights(checkpoint.weights, network, where="golden")[0])
    network.train()
    loss, sample_size, _ = criterion()(network, batch)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(golden["loss"], rel=1e-5)
    assert sample_size == golden["sample_size"]
    norms = {name: float(p.grad.norm()) for name, p in network.named_parameters() if p.grad is not None}
    total = math.sqrt(sum(norm**2 for norm in norms.values()))
    assert total == pytest.approx(golden["total_grad_norm_of_sum_loss"], rel=1e-3)
    for name, norm in golden["grad_l2_per_param"].items():
        if norm is not None:
            assert norms.get(name, 0.0) == pytest.approx(norm, rel=1e-3, abs=1e-5 * total), name
    for name, values in golden["bn_after"].items():
        assert_close(network.state_dict()[name][: len(values)], torch.tensor(values), atol=1e-4, rtol=1e-4)
