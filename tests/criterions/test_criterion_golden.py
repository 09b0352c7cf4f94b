"""Losses and gradients against the published implementation's (golden/model)."""

import math

import pytest
import torch
from golden_folder import MODELS, numbers, tensors
from torch.testing import assert_close

from refhcm.models.refhcm import Network, NetworkConfig
from refhcm.models.refhcm.loading import fit_weights, load_network
from refhcm.tasks import TASKS
from refhcm.tasks.settings import TaskSettings
from refhcm.utils.checkpoints import read_checkpoint

pytest.importorskip("fairseq")
from losses import criterion

TRAINED = [(file, task) for file, task in MODELS if "train_mode" in numbers(f"model/model_{file}")["tasks"][task]]


@pytest.fixture(scope="module", params=MODELS, ids="-".join)
def case(request, golden_checkpoint, text):
    """(name, checkpoint, batch, numbers) of a task on its own checkpoint, or on that of all tasks."""
    file, name = request.param
    g = tensors(f"model/model_{file}", below=f"{name}/")
    net_input = {
        "src_tokens": g["src_tokens"],
        "patch_images": (g["patch_images_u8"].float() / 255 - 0.5) / 0.5,
        "patch_masks": g["patch_masks"],
        "prev_output_tokens": g["prev_output_tokens"],
    }
    if name == "rpar_full_mask":
        symbols = TASKS[name](text, TaskSettings()).symbols
        net_input["full_mask_position"] = (symbols.first_query, symbols.first_query + len(symbols.queries) - 1)
    counts = {"nsentences": len(g["target"]), "ntokens": int((g["target"] != text.vocabulary.pad()).sum())}
    batch = {"net_input": net_input, "target": g["target"], **counts}
    return name, read_checkpoint(golden_checkpoint(file)), batch, numbers(f"model/model_{file}")["tasks"][name]


def network_of(checkpoint, text):
    return load_network(checkpoint, len(text.vocabulary))


@torch.no_grad()
def test_losses(case, text):
    name, checkpoint, batch, published = case
    network = network_of(checkpoint, text)
    for golden in published["loss_eval_mode_label_smoothing_0.1"]:
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
def test_accuracy_is_reported(case, text):
    _, checkpoint, batch, published = case
    network = network_of(checkpoint, text)
    _, _, logged = criterion(report_accuracy=True)(network, batch)
    counted = batch["target"] != text.vocabulary.pad()
    if "full_mask_position" not in batch["net_input"]:
        width = counted.shape[1]
        best = torch.tensor([row[:width] for row in published["full_logits_argmax"]])
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
def test_the_whole_plain_loss_is_logged(case, text):
    """With parallel positions the published version logs a part; without smoothing it is the loss itself."""
    _, checkpoint, batch, published = case
    plain = next(g for g in published["loss_eval_mode_label_smoothing_0.1"] if g["name"] == "label_smoothing_0")
    _, _, logged = criterion()(network_of(checkpoint, text), batch)
    assert float(logged["nll_loss"]) == pytest.approx(plain["loss"], rel=1e-5)


@pytest.mark.parametrize("case", TRAINED, ids="-".join, indirect=True)
def test_gradients(case, text):
    _, checkpoint, batch, published = case
    golden = published["train_mode"]
    network = Network(NetworkConfig.from_args(checkpoint.args), len(text.vocabulary))
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
