"""The network against the published implementation's numbers (golden/model)."""

import re

import pytest
import torch
from golden_folder import names, number_in, numbers, tensors
from recorder import Recorder
from torch.testing import assert_close

from refhcm.models.generation import SequenceGenerator
from refhcm.models.generation_settings import GenerationSettings
from refhcm.models.qpg import decode_parallel
from refhcm.models.refhcm.cuda_graphs import StepGraphs
from refhcm.models.refhcm.loading import load_network
from refhcm.tasks import TASKS
from refhcm.tasks.settings import TaskSettings
from refhcm.utils.checkpoints import read_checkpoint
from refhcm.utils.symbols import BOX_SYMBOLS


def near(ours, theirs):
    assert_close(ours, theirs, atol=1e-4, rtol=0)


@pytest.fixture(scope="module", params=names("model/model_*.json"))
def case(request, golden_checkpoint, text):
    """(network, {task: tensors}, {task: json}) of one checkpoint."""
    file = f"model/model_{request.param}"
    network = load_network(read_checkpoint(golden_checkpoint(request.param)), len(text.vocabulary))
    tasks = numbers(file)["tasks"]
    return network, {name: tensors(file, below=f"{name}/") for name in tasks}, tasks


@pytest.fixture(params=["step by step", "recorded steps"])
def answering(case, request):
    """The case, whose network decodes in one of two ways."""
    decoder = case[0].decoder
    if request.param == "recorded steps":
        decoder.graphs = StepGraphs(decoder.step, record=Recorder(traced=False))
    yield case
    decoder.graphs = None


def batch_of(g):
    images = (g["patch_images_u8"].float() / 255 - 0.5) / 0.5
    return {"net_input": {"src_tokens": g["src_tokens"], "patch_images": images, "patch_masks": g["patch_masks"]}}


@torch.no_grad()
def test_encoder(case):
    network, of_tasks, _ = case
    for g in of_tasks.values():
        images, states = batch_of(g)["net_input"]["patch_images"], []
        channels, every = number_in(g, r"resnet_out_ch_every(\d+)")
        near(network.encoder.embed_images(images)[:, ::every], g[channels])
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
        for name in g:
            if with_picture := re.fullmatch("encoder_out_patchmask_([TF]+)", name):
                masks = torch.tensor([letter == "T" for letter in with_picture[1]])
                near(network.encoder(g["src_tokens"], images, masks).states.transpose(0, 1), g[name])
        if "encoder_out_text_only" in g:
            near(network.encoder(g["src_tokens"]).states.transpose(0, 1), g["encoder_out_text_only"])


@torch.no_grad()
def test_decoder(case):
    network, of_tasks, tasks = case
    for task, g in of_tasks.items():
        encoder = network.encoder(**batch_of(g)["net_input"])
        kinds = {name.removesuffix("_features"): name for name in g if re.fullmatch(r"decoder_\w+_features", name)}
        assert "decoder_causal" in kinds
        for kind, name in kinds.items():
            if kind.endswith("_stale"):  # the published decoder keeps a mask that it once changed; ours does not
                continue
            span = re.fullmatch(r"decoder_fullmask_(\d+)_(\d+)", kind)
            span = tuple(map(int, span.groups())) if span else None
            features = network.decoder(g["prev_output_tokens"], encoder, full_mask_position=span)
            logits = network.decoder.project(features)
            near(features, g[name])
            near(logits.logsumexp(-1), g[f"{kind}_logsumexp"])
            columns, every = number_in(g, rf"{kind}_logits_cols_every(\d+)")
            near(logits[..., ::every], g[columns])
            highest, count = number_in(g, rf"{kind}_top(\d+)_logit")
            near(logits.topk(count).values, g[highest])
            near(logits.gather(-1, g[highest.replace("_logit", "_idx")].long()), g[highest])
            if span is None:
                assert logits.argmax(-1).tolist() == tasks[task]["full_logits_argmax"]


def test_beam_search(answering):
    network, of_tasks, tasks = answering
    for name, task in tasks.items():
        for golden in task.get("generation", []):
            settings = GenerationSettings(constraint_range=golden["constraint_range"], **golden["args"])
            found = SequenceGenerator(settings).generate([network], batch_of(of_tasks[name]))
            for ours, theirs in zip(found, golden["hypos"], strict=True):
                assert [h["tokens"].tolist() for h in ours] == [h["tokens"] for h in theirs]
                for h, g in zip(ours, theirs, strict=True):
                    assert float(h["score"]) == pytest.approx(g["score"], abs=1e-4)
                    if "positional_scores" in g:
                        near(h["positional_scores"], torch.tensor(g["positional_scores"]))


def test_parallel_decoding(answering, text):
    network, of_tasks, tasks = answering
    symbols = TASKS["rpar_full_mask"](text, TaskSettings()).symbols
    for name, task in tasks.items():
        if "qpg_greedy_batched_rows" not in task:
            continue
        batch = batch_of(of_tasks[name])
        together = decode_parallel(network, batch, symbols).ids
        offsets = torch.tensor([symbols.bins.start] * BOX_SYMBOLS + [symbols.codes.start] * len(symbols.queries))
        assert (together - offsets).tolist() == task["qpg_greedy_batched_rows"]
        for row, golden in enumerate(task["qpg_greedy_bs1"]):
            one = {"net_input": {field: value[row : row + 1] for field, value in batch["net_input"].items()}}
            assert (decode_parallel(network, one, symbols).ids - offsets)[0].tolist() == golden["hyp"]
