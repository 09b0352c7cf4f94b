"""The parsing-map tokenizer gives the published numbers (golden vqgan/, state_dict_vqgan_*)."""

import json

import pytest
import torch
import yaml
from safetensors.torch import load_file

from refhcm.models.vqgan import VQTokenizer, load_tokenizer
from refhcm.models.vqgan.config import read_config
from refhcm.utils.parsing import confusion_matrix, paste_label_map, segmentation_scores


@pytest.fixture(scope="module")
def numbers(golden):
    return load_file(golden / "vqgan" / "vqgan_golden.safetensors")


@pytest.fixture(scope="module")
def published(golden):
    return load_tokenizer(golden / "vqgan" / "model.yaml", golden / "vqgan" / "model.ckpt", n_embed=32)


@torch.no_grad()
def test_golden_encoding(published, numbers):
    label_maps = numbers["parsing_maps"].long()
    latents = published.latents(label_maps)
    assert (latents - numbers["prequant"]).abs().max() < 1e-4
    seen = published.quantize(latents)
    assert seen.codes.equal(numbers["codes"])
    assert (seen.vectors - numbers["quant"]).abs().max() < 1e-4
    assert seen.loss.item() == pytest.approx(numbers["emb_loss"].item(), abs=1e-6)
    assert published.encode(label_maps).equal(numbers["codes"].flatten(1))
    assert published.encode(label_maps[2:3])[0].equal(numbers["codes"][2].flatten())  # a batch equals its rows


@torch.no_grad()
def test_golden_map_of_another_size(published, numbers):
    latents = published.latents(numbers["big_map_256x192"].long())
    assert published.quantize(latents).codes.equal(numbers["big_codes_16x12"])


@torch.no_grad()
def test_golden_reconstruction(published, numbers):
    logits = published.logits(numbers["quant"])
    assert (logits[0, :, ::4, ::4] - numbers["recon_logits_b0_every4"]).abs().max() < 1e-4
    sure = numbers["recon_top2_margin"] >= 1e-3
    assert sure.float().mean() > 0.99
    assert logits.argmax(1)[sure].equal(numbers["recon_argmax"].long()[sure])


def test_golden_decoding_clamps_codes(published, numbers):
    codes = numbers["token_codes"]
    assert codes.min() < 0
    assert codes.max() >= 32
    sure = numbers["token_codes_margin"] >= 1e-3
    assert published.decode(codes)[sure].equal(numbers["token_codes_map"].long()[sure])


@torch.no_grad()
def test_golden_loss(published, numbers, golden):
    expected = json.loads((golden / "vqgan" / "vqgan_golden.json").read_text())["loss_val"]
    loss = published(numbers["parsing_maps"].long())
    assert loss.bce.item() == pytest.approx(expected["val/bce_loss"], rel=1e-5)
    assert loss.codebook.item() == pytest.approx(expected["val/quant_loss"], rel=1e-5)
    assert loss.total.item() == pytest.approx(expected["val/total_loss"], rel=1e-5)


def test_golden_evaluation(published, numbers, golden):
    expected = json.loads((golden / "vqgan" / "vqgan_golden.json").read_text())
    confusion = torch.zeros(20, 20, dtype=torch.int64)
    label_maps = published.decode(numbers["eval_hyps"][:, 4:])
    for hyp, label_map, pasted, gt in zip(
        numbers["eval_hyps"], label_maps, numbers["eval_pred_512"], numbers["eval_gt_512"], strict=True
    ):
        prediction = paste_label_map(label_map, hyp[:4] / 999 * 512, 512)
        assert prediction.equal(pasted.long())
        confusion += confusion_matrix(prediction, label=gt.long())
    assert confusion.double().equal(numbers["eval_confusion"])
    scores = segmentation_scores(confusion)
    assert scores["miou"] == pytest.approx(expected["miou"], abs=1e-9)
    assert scores["pixel_acc"] == pytest.approx(expected["pacc"], abs=1e-9)
    assert scores["mean_precision"] == pytest.approx(expected["macc"], abs=1e-9)


@pytest.mark.parametrize("name", ["f16_128x96", "f32_256x192", "tiny"])
def test_golden_names_and_shapes(golden, tmp_path, name):
    if name == "tiny":
        config = read_config(golden / "vqgan" / "model.yaml")
        record = json.loads((golden / "vqgan" / "state_dict_tiny.json").read_text())
    else:
        record = json.loads((golden / f"state_dict_vqgan_{name}_inferred.json").read_text())
        (tmp_path / "model.yaml").write_text(yaml.safe_dump(record["model_yaml"]))
        config = read_config(tmp_path / "model.yaml")
        assert config.input_size_hw == tuple(map(int, name.partition("_")[2].split("x")))
    with torch.device("meta"):
        weights = VQTokenizer(config).state_dict()
    assert {key: list(weight.shape) for key, weight in weights.items()} == {
        entry["name"]: entry["shape"] for entry in record["entries"]
    }
