"""The parsing-map tokenizer: codes, losses, its files, and what it refuses."""

import sys
import types

import pytest
import torch
from small_vqgan import PARAMS, load, maps, write_files, write_yaml

from refhcm.models.vqgan.config import VQConfig
from refhcm.models.vqgan.layers import nearest_codes
from refhcm.utils.errors import CheckpointError, DataError


@pytest.fixture
def files(tmp_path):
    return write_files(tmp_path)


# --- what holds for any weights ---


def test_nearest_code_by_hand():
    codebook = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    vectors = torch.tensor([[1.4, 0.0], [1.6, 0.0], [0.0, 1.9], [0.0, 2.1]])
    assert nearest_codes(vectors, codebook).tolist() == [0, 1, 0, 2]


def test_codebook_loss_and_straight_through_gradient(files):
    tokenizer = load(files)
    codebook = torch.zeros(8, 4)
    codebook[1:] = 100.0
    tokenizer.quantize.embedding.weight.data.copy_(codebook)
    z = torch.full((1, 4, 1, 1), 2.0, requires_grad=True)
    seen = tokenizer.quantize(z)
    assert seen.codes.item() == 0
    assert seen.vectors.abs().max() == 0
    assert seen.loss.item() == pytest.approx(4 + 0.25 * 4)
    seen.vectors.sum().backward(retain_graph=True)
    assert z.grad.flatten().tolist() == [1.0] * 4  # as if nothing lay between
    z.grad = None
    seen.loss.backward()
    assert z.grad.flatten().tolist() == [1.0] * 4  # d/dz mean((0 - z)^2) = 2 * 2 / 4, of full weight
    assert tokenizer.quantize.embedding.weight.grad[0].tolist() == [-0.25] * 4  # a quarter of it


def test_encode_and_decode_shapes(files):
    tokenizer = load(files)
    assert tokenizer.input_size_hw == (16, 12)
    codes = tokenizer.encode(maps(tokenizer))
    assert codes.shape == (3, 48)
    assert codes.dtype == torch.int64
    decoded = tokenizer.decode(codes)
    assert decoded.shape == (3, 16, 12)
    assert tokenizer.decode(codes[1:2]).equal(decoded[1:2])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_run(files, dtype):
    tokenizer = load(files).to(dtype)
    assert tokenizer.decode(tokenizer.encode(maps(tokenizer))).shape == (3, 16, 12)


def test_fewer_codes_than_the_file_has(files, caplog):
    tokenizer = load(files, n_embed=3)
    assert "only the first 3 of 8 codes" in caplog.text
    assert tokenizer.encode(maps(tokenizer)).max() < 3
    codes = torch.randint(8, (2, 48))
    assert tokenizer.decode(codes).equal(load(files).decode(codes.clamp(max=2)))


def test_a_few_updates_lower_the_loss(files):
    tokenizer = load(files).train()
    optimizer = torch.optim.Adam(tokenizer.parameters(), lr=1e-3)
    label_maps = maps(tokenizer, 2)
    losses = []
    for _ in range(10):
        loss = tokenizer(label_maps).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


# --- what is refused ---


@pytest.mark.parametrize("size", [(16, 16), (12, 16), (32, 24)])
def test_label_maps_of_another_size(files, size):
    with pytest.raises(DataError, match=r"expected \[B, 16, 12\]"):
        load(files).encode(torch.zeros(1, *size, dtype=torch.int64))


@pytest.mark.parametrize("label", [-1, 20])
def test_classes_out_of_range(files, label):
    with pytest.raises(DataError, match=r"classes .*, expected 0\.\.19"):
        load(files).encode(torch.full((1, 16, 12), label))


@pytest.mark.parametrize("shape", [(48,), (1, 47), (1, 8, 6)])
def test_not_48_codes(files, shape):
    with pytest.raises(DataError, match=r"expected \[B, 48\]"):
        load(files).decode(torch.zeros(shape, dtype=torch.int64))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: p.pop("n_embed"), "lacks n_embed"),
        (lambda p: p["ddconfig"].pop("ch_mult"), "lacks ddconfig.ch_mult"),
        (lambda p: p.pop("ddconfig"), "lacks the section model.params.ddconfig"),
        (lambda p: p.update(embed_dim=0), "embed_dim is 0, expected a whole number"),
        (lambda p: p.update(n_embed=True), "n_embed is True"),
        (lambda p: p.update(n_labels=19), "n_labels is 19"),
        (lambda p: p.update(remap="used.npy"), "remap is 'used.npy'"),
        (lambda p: p["ddconfig"].update(ch="32"), "ddconfig.ch is '32'"),
        (lambda p: p["ddconfig"].update(ch=48), "multiples of 32"),
        (lambda p: p["ddconfig"].update(ch_mult=[]), r"ddconfig.ch_mult is \[\]"),
        (lambda p: p["ddconfig"].update(dropout=1.5), "ddconfig.dropout is 1.5"),
        (lambda p: p["ddconfig"].update(double_z=True), "double_z is True, expected false"),
        (lambda p: p["ddconfig"].update(out_ch=3), "out_ch is 3, expected n_labels = 20"),
    ],
)
def test_yaml_mistakes_name_file_and_key(files, spoil, message):
    params = PARAMS | {"ddconfig": dict(PARAMS["ddconfig"])}
    spoil(params)
    write_yaml(files, params)
    with pytest.raises(CheckpointError, match=f"model.yaml: .*{message}") as caught:
        load(files)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["a: [", "", "- 1\n"])
def test_not_a_yaml_of_a_model(files, text):
    (files / "model.yaml").write_text(text)
    with pytest.raises(CheckpointError, match=r"model\.yaml") as caught:
        load(files)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda w: w.pop("quant_conv.bias"), "1 missing names, first quant_conv.bias"),
        (lambda w: w.update(other=torch.zeros(1)), "1 unexpected names, first other"),
        (
            lambda w: w.update({"quantize.embedding.weight": torch.zeros(9, 4)}),
            r"quantize.embedding.weight is \[9, 4\] in the checkpoint, expected \[8, 4\] from the yaml",
        ),
    ],
)
def test_weights_that_do_not_match_the_yaml(files, spoil, message):
    checkpoint = torch.load(files / "model.ckpt", weights_only=True)
    spoil(checkpoint["state_dict"])
    torch.save(checkpoint, files / "model.ckpt")
    with pytest.raises(CheckpointError, match=f"model.ckpt does not match .*model.yaml: .*{message}") as caught:
        load(files)
    assert "\n" not in str(caught.value)


def test_more_codes_than_the_file_has(files):
    with pytest.raises(CheckpointError, match="n_embed = 8 codes, but --vq_n_embed is 48"):
        load(files, n_embed=48)


@pytest.mark.parametrize("content", [[1], {"weights": {}}, {"state_dict": 3}])
def test_checkpoint_without_weights(files, content):
    torch.save(content, files / "model.ckpt")
    with pytest.raises(CheckpointError, match="expected `state_dict`"):
        load(files)


def test_missing_and_damaged_files(files):
    (files / "model.ckpt").write_bytes((files / "model.ckpt").read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"model\.ckpt"):
        load(files)
    (files / "model.ckpt").unlink()
    with pytest.raises(CheckpointError, match=r"model\.ckpt"):
        load(files)


def test_a_lightning_checkpoint_with_all_that_it_holds(files, monkeypatch):
    module = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": module.__name__})
    settings = types.ModuleType("pytorch_lightning.utilities.parsing")
    settings.AttributeDict = type("AttributeDict", (dict,), {"__module__": settings.__name__})
    checkpoint = torch.load(files / "model.ckpt", weights_only=True)
    checkpoint["state_dict"]["loss.logvar"] = torch.zeros(1)
    checkpoint["state_dict"]["colorize"] = torch.zeros(3, 20, 1, 1)
    checkpoint |= {
        "epoch": 3,
        "optimizer_states": [{"state": {}, "param_groups": []}],
        "callbacks": {module.ModelCheckpoint: {"best_model_score": torch.zeros(1)}},
        "hyper_parameters": settings.AttributeDict(n_embed=8),
    }
    with monkeypatch.context() as patch:
        for name in ("pytorch_lightning", "pytorch_lightning.callbacks", "pytorch_lightning.utilities"):
            patch.setitem(sys.modules, name, types.ModuleType(name))
        patch.setitem(sys.modules, module.__name__, module)
        patch.setitem(sys.modules, settings.__name__, settings)
        torch.save(checkpoint, files / "model.ckpt")
    assert load(files).encode(torch.zeros(1, 16, 12, dtype=torch.int64)).shape == (1, 48)


def test_a_checkpoint_that_would_run_code_is_refused(files):
    class Trap:
        def __reduce__(self):
            return print, ("ran",)

    checkpoint = torch.load(files / "model.ckpt", weights_only=True) | {"trap": Trap()}
    torch.save(checkpoint, files / "model.ckpt")
    with pytest.raises(CheckpointError, match=r"model.ckpt: refused.*print") as caught:
        load(files)
    assert "\n" not in str(caught.value)


def test_config_is_a_plain_value():
    config = VQConfig(
        n_labels=20,
        n_embed=8,
        embed_dim=4,
        z_channels=4,
        resolution=256,
        in_channels=20,
        out_ch=20,
        ch=128,
        ch_mult=(1, 1, 2, 2, 4),
        num_res_blocks=2,
        attn_resolutions=(16,),
    )
    assert config.input_size_hw == (128, 96)
    assert config.widths == (128, 128, 256, 256, 512)
    assert [config.attends(level) for level in range(5)] == [False] * 4 + [True]
