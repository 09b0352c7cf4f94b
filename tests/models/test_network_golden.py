"""The network against the published implementation's numbers (golden/model)."""

import json

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from refhcm.models.generation import GenerationSettings, SequenceGenerator
from refhcm.models.qpg import QuerySymbols, decode_parallel
from refhcm.models.refhcm.loading import load_network
from refhcm.utils.checkpoints import read_checkpoint

CHECKPOINTS = ("refcoco", "rkpt", "rpar_full_mask", "rhrc", "multitask")
SYMBOLS = 59457


def near(ours, theirs):
    assert_close(ours, theirs, atol=1e-4, rtol=0)


@pytest.fixture(scope="module", params=CHECKPOINTS)
def case(request, golden, golden_checkpoint):
    """(network, {task: tensors}, {task: json}) of one checkpoint."""
    network = load_network(read_checkpoint(golden_checkpoint(request.param)), SYMBOLS)
    tensors: dict[str, dict] = {}
    for name, value in load_file(golden / "model" / f"model_{request.param}.safetensors").items():
        task, _, field = name.partition("/")
        tensors.setdefault(task, {})[field] = value
    return network, tensors, json.loads((golden / "model" / f"model_{request.param}.json").read_text())["tasks"]


def batch_of(g):
    images = (g["patch_images_u8"].float() / 255 - 0.5) / 0.5
    return {"net_input": {"src_tokens": g["src_tokens"], "patch_images": images, "patch_masks": g["patch_masks"]}}


@torch.no_grad()
def test_encoder(case):
    network, tensors, _ = case
    for g in tensors.values():
        images, states = batch_of(g)["net_input"]["patch_images"], []
        near(network.encoder.embed_images(images)[:, ::64], g["resnet_out_ch_every64"])
        hooks = [
            layer.register_forward_pre_hook(lambda _, a, states=states: states.append(a[0]))
            for layer in network.encoder.layers
        ]
        out = network.encoder(g["src_tokens"], images, g["patch_masks"])
        for hook in hooks:
            hook.remove()
        near(out.states.transpose(0, 1), g["encoder_out"])
        near(out.positions[0], g["position_embeddings_b0"])
        for number, state in enumerate(states):
            near(state[0], g[f"encoder_state_{number}_b0"])
        assert torch.equal(
            torch.zeros_like(g["encoder_padding_mask"]) if out.padding is None else out.padding,
            g["encoder_padding_mask"],
        )
        if "encoder_out_patchmask_TFT" in g:
            masked = network.encoder(g["src_tokens"], images, torch.tensor([True, False, True]))
            near(masked.states.transpose(0, 1), g["encoder_out_patchmask_TFT"])
            near(network.encoder(g["src_tokens"]).states.transpose(0, 1), g["encoder_out_text_only"])


@torch.no_grad()
def test_decoder(case):
    network, tensors, tasks = case
    seen = 0
    for name, g in tensors.items():
        source = batch_of(g)["net_input"]
        encoder = network.encoder(**source)
        for kind, span in (("causal", None), ("fullmask_6_53", (6, 53)), ("fullmask_6_55", (6, 55))):
            if f"decoder_{kind}_features" not in g:
                continue
            features = network.decoder(g["prev_output_tokens"], encoder, full_mask_position=span)
            logits = network.decoder.project(features)
            near(features, g[f"decoder_{kind}_features"])
            near(logits.logsumexp(-1), g[f"decoder_{kind}_logsumexp"])
            near(logits[..., ::509], g[f"decoder_{kind}_logits_cols_every509"])
            near(logits.topk(16).values, g[f"decoder_{kind}_top16_logit"])
            near(logits.gather(-1, g[f"decoder_{kind}_top16_idx"].long()), g[f"decoder_{kind}_top16_logit"])
            seen += 1
            if kind == "causal":
                assert logits.argmax(-1).tolist() == tasks[name]["full_logits_argmax"]
    assert seen


def test_beam_search(case):
    network, tensors, tasks = case
    for name, task in tasks.items():
        for golden in task.get("generation", []):
            settings = GenerationSettings(constraint_range=golden["constraint_range"], **golden["args"])
            found = SequenceGenerator(settings).generate([network], batch_of(tensors[name]))
            for ours, theirs in zip(found, golden["hypos"], strict=True):
                assert [h["tokens"].tolist() for h in ours] == [h["tokens"] for h in theirs]
                for h, g in zip(ours, theirs, strict=True):
                    assert float(h["score"]) == pytest.approx(g["score"], abs=1e-4)
                    if "positional_scores" in g:
                        near(h["positional_scores"], torch.tensor(g["positional_scores"]))


def test_parallel_decoding(case):
    network, tensors, tasks = case
    symbols = QuerySymbols(0, range(58457, 59457), range(50265, 58457), 50305, range(50307, 50355), 50306)
    offsets = torch.tensor([58457] * 4 + [50265] * 48)
    for name, task in tasks.items():
        if "qpg_greedy_batched_rows" not in task:
            continue
        batch = batch_of(tensors[name])
        together = decode_parallel(network, batch, symbols).ids - offsets
        assert together.tolist() == task["qpg_greedy_batched_rows"]
        for row, golden in enumerate(task["qpg_greedy_bs1"]):
            one = {"net_input": {field: value[row : row + 1] for field, value in batch["net_input"].items()}}
            assert (decode_parallel(network, one, symbols).ids - offsets)[0].tolist() == golden["hyp"]
