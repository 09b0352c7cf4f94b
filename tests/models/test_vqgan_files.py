"""A tokenizer's files may claim anything: sizes are bounded before anything of their size is made."""

import pytest
import torch
from small_vqgan import PARAMS, load, maps, write_files, write_yaml

from refhcm.models.vqgan.config import read_config
from refhcm.utils.errors import CheckpointError


@pytest.fixture
def files(tmp_path):
    return write_files(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a0: &a0 [x]\n" + "".join(f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}]\n" for k in range(1, 40)), "more than 5000"),
        ("a0: &a0 {x: 1}\n" + "".join(f"a{k}: &a{k} {{<<: [*a{k - 1}, *a{k - 1}]}}\n" for k in range(1, 40)), "5000"),
        ("model: &m {params: *m}", "more than 5000 values"),
        ("[" * 5000, "nested too deeply"),
        ("model: 2001-99-99", "is not a YAML file .month"),
        ("# " + "x" * 2**17, "is 131.1 KB large, expected at most 65.5 KB"),
    ],
)
def test_a_yaml_that_would_grow(files, text, message):
    (files / "model.yaml").write_text(text)
    with pytest.raises(CheckpointError, match=rf"model\.yaml: .*{message}") as caught:
        load(files)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: p.update(n_embed=8_000_000), "n_embed is 8000000, expected a whole number from 1 to 65536"),
        (lambda p: p["ddconfig"].update(num_res_blocks=33), "num_res_blocks is 33"),
        (lambda p: p["ddconfig"].update(ch_mult=[1] * 9), "at most 8"),
        (lambda p: p["ddconfig"].update(ch_mult=[60000]), "multiples of 32 .GroupNorm. up to 65536"),
        (lambda p: p.update(lossconfig={"params": {"codebook_weight": "1"}}), "codebook_weight is '1'"),
        (lambda p: p.update(lossconfig=[1]), r"lossconfig is \[1\]"),
        (lambda p: p.update(embed_dim=[[1] * 40] * 40), r"embed_dim is \[\[1, 1, 1, .* \.\.\., expected"),
    ],
)
def test_sizes_of_a_yaml_are_bounded(files, spoil, message):
    params = PARAMS | {"ddconfig": dict(PARAMS["ddconfig"])}
    spoil(params)
    write_yaml(files, params)
    with pytest.raises(CheckpointError, match=f"model.yaml: .*{message}"):
        load(files)


def test_a_tokenizer_needs_no_memory_before_its_weights_fit(files):
    """n_embed * embed_dim would be 17 GB."""
    write_yaml(files, PARAMS | {"n_embed": 65536, "embed_dim": 65536})
    with pytest.raises(CheckpointError, match=r"\[8, 4\] in the checkpoint, expected \[65536, 65536\]"):
        load(files)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_weights_of_other_precision_become_float32(files, dtype):
    checkpoint = torch.load(files / "model.ckpt", weights_only=True)
    weights = {f"module.{name}": value.to(dtype) for name, value in checkpoint["state_dict"].items()}
    torch.save({"state_dict": weights}, files / "model.ckpt")
    tokenizer = load(files)
    assert {weight.dtype for weight in tokenizer.state_dict().values()} == {torch.float32}
    assert all(weight.requires_grad for weight in tokenizer.parameters())


def test_weights_that_are_not_finite(files):
    checkpoint = torch.load(files / "model.ckpt", weights_only=True)
    checkpoint["state_dict"]["quantize.embedding.weight"][0, 1] = float("nan")
    torch.save(checkpoint, files / "model.ckpt")
    with pytest.raises(CheckpointError, match=r"quantize\.embedding\.weight is not finite"):
        load(files)


@pytest.mark.parametrize("weight", [0, 0.5, 2.0])
def test_the_codebook_loss_has_its_weight(files, weight):
    plain = load(files)
    write_yaml(files, PARAMS | {"lossconfig": {"target": "x", "params": {"codebook_weight": weight}}})
    loss = load(files)(maps(plain))
    assert loss.total.item() == pytest.approx(loss.bce.item() + weight * loss.codebook.item())
    assert loss.codebook.item() == pytest.approx(plain(maps(plain)).codebook.item())


def test_what_a_yaml_says_about_other_training_is_known(files):
    loss = {"target": "x", "params": {"codebook_weight": 1.0, "disc_weight": 0.8}}
    write_yaml(files, PARAMS | {"lossconfig": loss, "ckpt_path": "old.ckpt"})
    assert read_config(files / "model.yaml").unused == ("lossconfig.params: 'disc_weight'", "ckpt_path")
