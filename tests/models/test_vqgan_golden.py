"""The parsing-map tokenizer gives the published numbers (golden vqgan/, state_dict_vqgan_*)."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from golden_folder import names, number_in, numbers, tensors

from refhcm.models.vqgan import VQTokenizer, load_tokenizer
from refhcm.models.vqgan.config import read_config
from refhcm.utils.parsing import confusion_matrix, paste_label_map, segmentation_scores


@pytest.fixture(scope="module")
def g():
    return tensors("vqgan/vqgan_golden")


@pytest.fixture(scope="module")
def published(golden):
    files, known = golden / "vqgan", numbers("vqgan/vqgan_golden")["vq_n_embed"]
    return load_tokenizer(files / "model.yaml", files / "model.ckpt", n_embed=known)


@torch.no_grad()
def test_golden_encoding(published, g):
    label_maps = g["parsing_maps"].long()
    latents = published.latents(label_maps)
    assert (latents - g["prequant"]).abs().max() < 1e-4
    seen = published.quantize(latents)
    assert seen.codes.equal(g["codes"])
    assert (seen.vectors - g["quant"]).abs().max() < 1e-4
    assert seen.loss.item() == pytest.approx(g["emb_loss"].item(), abs=1e-6)
    assert published.encode(label_maps).equal(g["codes"].flatten(1))
    assert published.encode(label_maps[-1:])[0].equal(g["codes"][-1].flatten())  # a batch equals its rows


@torch.no_grad()
def test_golden_map_of_another_size(published, g):
    (label_map,), (codes,) = ([g[name] for name in g if name.startswith(kind)] for kind in ("big_map_", "big_codes_"))
    assert published.quantize(published.latents(label_map.long())).codes.equal(codes)


@torch.no_grad()
def test_golden_reconstruction(published, g):
    logits = published.logits(g["quant"])
    name, every = number_in(g, r"recon_logits_b0_every(\d+)")
    assert (logits[0, :, ::every, ::every] - g[name]).abs().max() < 1e-4
    sure = g["recon_top2_margin"] >= 1e-3
    assert sure.float().mean() > 0.99
    assert logits.argmax(1)[sure].equal(g["recon_argmax"].long()[sure])


def test_golden_decoding_clamps_codes(published, g):
    codes = g["token_codes"]
    assert codes.min() < 0
    assert codes.max() >= published.n_embed
    sure = g["token_codes_margin"] >= 1e-3
    assert published.decode(codes)[sure].equal(g["token_codes_map"].long()[sure])


@torch.no_grad()
def test_golden_loss(published, g):
    expected = numbers("vqgan/vqgan_golden")["loss_val"]
    loss = published(g["parsing_maps"].long())
    assert loss.bce.item() == pytest.approx(expected["val/bce_loss"], rel=1e-5)
    assert loss.codebook.item() == pytest.approx(expected["val/quant_loss"], rel=1e-5)
    assert loss.total.item() == pytest.approx(expected["val/total_loss"], rel=1e-5)
    half = VQTokenizer(replace(published.config, codebook_weight=0.5))
    half.load_state_dict(published.state_dict())
    total = expected["val/bce_loss"] + 0.5 * expected["val/quant_loss"]  # as published: bce + weight x codebook
    assert half(g["parsing_maps"].long()).total.item() == pytest.approx(total, rel=1e-5)


def test_golden_evaluation(published, g, real_vocabulary):
    expected = numbers("vqgan/vqgan_golden")
    confusion = np.zeros(g["eval_confusion"].shape, np.int64)
    last_bin, canvas_size = len(real_vocabulary.bin_ids) - 1, g["eval_gt_512"].shape[-1]
    label_maps = published.decode(g["eval_hyps"][:, 4:])
    for hyp, label_map, pasted, gt in zip(
        g["eval_hyps"], label_maps, g["eval_pred_512"], g["eval_gt_512"], strict=True
    ):
        prediction = paste_label_map(label_map, hyp[:4] / last_bin * canvas_size, (canvas_size, canvas_size))
        assert np.array_equal(prediction, pasted)
        confusion += confusion_matrix(prediction, label=gt)
    assert np.array_equal(confusion, g["eval_confusion"])
    scores = segmentation_scores(confusion)
    assert scores["miou"] == pytest.approx(expected["miou"], abs=1e-9)
    assert scores["pixel_acc"] == pytest.approx(expected["pacc"], abs=1e-9)
    assert scores["mean_precision"] == pytest.approx(expected["macc"], abs=1e-9)


@pytest.mark.parametrize("name", ["tiny", *names("state_dict_vqgan_*_inferred.json")])
def test_golden_names_and_shapes(golden, tmp_path, name):
    if name == "tiny":
        config, record = read_config(golden / "vqgan" / "model.yaml"), numbers("vqgan/state_dict_tiny")
    else:
        record = numbers(f"state_dict_vqgan_{name}_inferred")
        (tmp_path / "model.yaml").write_text(yaml.safe_dump(record["model_yaml"]))
        config = read_config(tmp_path / "model.yaml")
        assert config.input_size_hw == tuple(map(int, name.partition("_")[2].split("x")))
    with torch.device("meta"):
        weights = VQTokenizer(config).state_dict()
    assert {key: list(weight.shape) for key, weight in weights.items()} == {
        entry["name"]: entry["shape"] for entry in record["entries"]
    }
