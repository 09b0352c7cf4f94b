"""Reading weights files (docs/network.md, "Loading checkpoints"), and refusing other files."""

import argparse
import math
import os
import zipfile

import pytest
import torch

from refhcm.models.refhcm import Network, NetworkConfig
from refhcm.models.refhcm.loading import EMBEDDINGS, fit_weights, load_network
from refhcm.utils.checkpoints import load_file, read_checkpoint
from refhcm.utils.errors import CheckpointError

SYMBOLS = 40
ARGS = {"arch": "refhcm_test", "encoder_layers": 1, "decoder_layers": 1}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Network(NetworkConfig.from_args(ARGS), SYMBOLS)


def write(path, weights, *, args=None, **rest):
    torch.save({"args": None, "cfg": {"model": argparse.Namespace(**(args or ARGS))}, "model": weights, **rest}, path)
    return path


def test_what_was_written_comes_back(network, tmp_path):
    loaded = load_network(read_checkpoint(write(tmp_path / "a.pt", network.state_dict())), SYMBOLS)
    assert not loaded.training
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    assert loaded.decoder.output_projection.weight is loaded.encoder.embed_tokens.weight


def test_args_in_the_place_of_cfg(network, tmp_path):
    torch.save({"args": argparse.Namespace(**ARGS), "model": network.state_dict()}, tmp_path / "a.pt")
    assert load_network(read_checkpoint(tmp_path / "a.pt"), SYMBOLS).config == network.config


def test_fewer_embedding_rows_are_extended_in_one_matrix(network):
    weights = network.state_dict()
    for name in EMBEDDINGS:
        weights[name] = weights[name][: SYMBOLS - 7]
    fitted, report = fit_weights(weights, network, where="w")
    assert fitted[EMBEDDINGS[0]].shape[0] == SYMBOLS
    assert all(fitted[name] is fitted[EMBEDDINGS[0]] for name in EMBEDDINGS)
    assert torch.equal(fitted[EMBEDDINGS[0]][: SYMBOLS - 7], weights[EMBEDDINGS[0]])
    assert 0 < fitted[EMBEDDINGS[0]][SYMBOLS - 7 :].std() < 2 * 64**-0.5
    assert report.extended == [EMBEDDINGS[0]]


def test_a_network_with_fewer_symbols_does_not_answer(network, tmp_path):
    """Its coordinates would be random: it was trained with another vocabulary."""
    weights = network.state_dict()
    for name in EMBEDDINGS:
        weights[name] = weights[name][: SYMBOLS - 7]
    path = write(tmp_path / "a.pt", weights)
    with pytest.raises(
        CheckpointError, match=rf"a.pt: knows {SYMBOLS - 7} symbols, but the vocabulary has {SYMBOLS}\. Give"
    ):
        load_network(read_checkpoint(path), SYMBOLS)


def test_more_symbols_than_the_vocabulary_are_refused(network):
    weights = network.state_dict()
    longer = torch.cat([weights[EMBEDDINGS[0]], torch.ones(1, 64)])
    weights.update(dict.fromkeys(EMBEDDINGS, longer))
    with pytest.raises(CheckpointError, match="embed_tokens"):
        fit_weights(weights, network, where="w")


def test_missing_dropped_and_tied(network):
    weights = network.state_dict()
    del weights["encoder.pos_ln.weight"], weights["decoder.output_projection.weight"]
    weights["classification_heads.x.weight"] = torch.zeros(1)
    weights["encoder.token_rp_bucket"] = torch.zeros(4, 4)
    weights["encoder.embed_image_positions.weight"] = weights["encoder.embed_image_positions.weight"][:5]
    fitted, report = fit_weights(weights, network, where="w")
    assert report.missing == ["encoder.pos_ln.weight"]
    assert report.dropped == ["classification_heads.x.weight"]
    assert fitted["encoder.embed_image_positions.weight"].shape == (145, 64)


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        (lambda name: name != "encoder.pos_ln.weight", r"lacks all or part of encoder.pos_ln.weight \(1 in all\)"),
        (lambda name: not name.startswith("decoder.layers.0."), r"lacks weights of decoder.layers.0; .* 1 layers"),
        (
            lambda name: "embed_images" not in name,
            r"embed_images.conv1.weight, .* \.\.\. \(\d+ in all\)",
        ),
        (lambda name: name in EMBEDDINGS, "lacks weights of encoder.layers.0"),
        (lambda name: name not in EMBEDDINGS, "holds no embedding"),
    ],
)
def test_nothing_answers_with_random_weights(network, tmp_path, kept, message):
    weights = {name: value for name, value in network.state_dict().items() if kept(name)}
    with pytest.raises(CheckpointError, match=rf"a.pt: .*{message}"):
        load_network(read_checkpoint(write(tmp_path / "a.pt", weights)), SYMBOLS)


def test_a_short_position_table_does_not_answer_but_may_be_trained(network, tmp_path):
    name = "encoder.embed_image_positions.weight"
    weights = network.state_dict()
    weights[name] = weights[name][:-100]
    with pytest.raises(CheckpointError, match=rf"lacks all or part of {name} \(1 in all\): .* only training"):
        load_network(read_checkpoint(write(tmp_path / "a.pt", weights)), SYMBOLS)
    fitted, report = fit_weights(weights, network, where="w")
    assert (len(fitted[name]), report.extended) == (145, [name])


@pytest.mark.parametrize(("value", "dtype"), [(math.nan, None), (-math.inf, None), (1e5, torch.float16)])
def test_weights_that_are_not_finite_do_not_answer(network, tmp_path, value, dtype):
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    weights["encoder.pos_ln.weight"][3] = value
    checkpoint = read_checkpoint(write(tmp_path / "a.pt", weights))
    with pytest.raises(CheckpointError, match=r"a.pt: encoder.pos_ln.weight is not finite in float"):
        load_network(checkpoint, SYMBOLS, dtype=dtype)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_prefixes_of_wrappers_are_stripped(network, tmp_path, prefix):
    weights = {prefix + name.replace("encoder.l", "encoder._orig_mod.l"): v for name, v in network.state_dict().items()}
    loaded = load_network(read_checkpoint(write(tmp_path / "a.pt", weights)), SYMBOLS)
    assert torch.equal(loaded.encoder.layers[0].fc1.weight, network.encoder.layers[0].fc1.weight)


@pytest.mark.parametrize(
    "args",
    [
        {"image_bucket_size": 3000},
        {"encoder_layers": 10**7},
        {"encoder_attention_heads": 0},
        {"encoder_embed_dim": -64},
        {"encoder_ffn_embed_dim": 2.5},
        {"dropout": float("nan")},
        {"scale_heads": "yes"},
        {"resnet_type": ["resnet18"]},
        {"max_source_positions": True},
    ],
)
def test_settings_that_the_weights_do_not_bear_out(network, tmp_path, args):
    """Nothing of such a size is made: `image_bucket_size` 3000 would be 9 GB."""
    path = write(tmp_path / "a.pt", network.state_dict(), args=ARGS | args)
    with pytest.raises(CheckpointError, match=r"a\.pt: ") as caught:
        load_network(read_checkpoint(path), SYMBOLS)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("encoder.surprise", torch.zeros(2), r"unknown weight 'encoder.surprise' \[2\]"),
        ("encoder.pos_ln.weight", torch.zeros(3), r"encoder.pos_ln.weight is \[3\], the network's is \[64\]"),
        ("decoder.embed_tokens.weight", torch.zeros(SYMBOLS, 64), "embeddings differ"),
        ("encoder.pos_ln.weight", torch.ones(64, dtype=torch.bool), "is of torch.bool, expected floating-point"),
    ],
)
def test_what_does_not_fit_is_named(network, name, value, message):
    with pytest.raises(CheckpointError, match=message):
        fit_weights(network.state_dict() | {name: value}, network, where="w")


def test_frozen_norm_takes_a_checkpoint_of_the_other_kind():
    plain, frozen = (Network(NetworkConfig.from_args(ARGS | {"freeze_resnet": on}), SYMBOLS) for on in (False, True))
    _, report = fit_weights(plain.state_dict(), frozen, where="w")
    assert not report.missing
    _, report = fit_weights(frozen.state_dict(), plain, where="w")
    assert {name.rpartition(".")[2] for name in report.missing} == {"num_batches_tracked"}


class Evil:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def test_a_file_that_would_run_code_is_refused(tmp_path):
    torch.save({"model": {}, "args": Evil(tmp_path / "ran")}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError, match=r"evil.pt: refused.*mkdir") as error:
        load_file(tmp_path / "evil.pt")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


def test_unreadable_files(network, tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        read_checkpoint(tmp_path / "none.pt")
    whole = write(tmp_path / "whole.pt", network.state_dict()).read_bytes()
    (tmp_path / "half.pt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.pt").write_text("not weights")
    (tmp_path / "empty.pt").write_bytes(b"")
    with zipfile.ZipFile(tmp_path / "zip.pt", "w") as archive:
        archive.writestr("a.txt", "hello")
    for name in ("half", "text", "empty", "zip"):
        with pytest.raises(CheckpointError, match=f"{name}.pt") as error:
            read_checkpoint(tmp_path / f"{name}.pt")
        assert "\n" not in str(error.value)
    torch.save({"state_dict": {}}, tmp_path / "lightning.pt")
    with pytest.raises(CheckpointError, match=r"not a fairseq checkpoint.*state_dict"):
        read_checkpoint(tmp_path / "lightning.pt")


@pytest.mark.parametrize(
    ("size", "width", "ffn", "layers", "heads", "backbone"),
    [
        ("tiny", 256, 1024, (4, 4), 4, "resnet50"),
        ("medium", 512, 2048, (4, 4), 8, "resnet101"),
        ("base", 768, 3072, (6, 6), 12, "resnet101"),
        ("large", 1024, 4096, (12, 12), 16, "resnet152"),
        ("huge", 1280, 5120, (24, 12), 16, "resnet152"),
    ],
)
def test_sizes_by_name(size, width, ffn, layers, heads, backbone):
    """The sizes of docs/network.md, as `ofa_*` and `refhcm_*`."""
    for family in ("ofa", "refhcm"):
        c = NetworkConfig.from_args({"arch": f"{family}_{size}"})
        assert (c.encoder_embed_dim, c.encoder_ffn_embed_dim, c.resnet_type) == (width, ffn, backbone)
        assert (c.encoder_layers, c.decoder_layers) == layers
        assert c.encoder_attention_heads == c.decoder_attention_heads == heads


def test_flags_win_over_a_size_s_name():
    huge = NetworkConfig.from_args({"arch": "refhcm_huge", "encoder_layers": 3})
    assert (huge.encoder_embed_dim, huge.encoder_layers, huge.decoder_layers) == (1280, 3, 12)
    large = NetworkConfig.from_args({"arch": "refhcm_large"})
    assert NetworkConfig.from_args({"arch": "refhcm"}) == NetworkConfig.from_args({}) == NetworkConfig() == large
    with pytest.raises(CheckpointError, match="encoder_normalize_before is off"):
        NetworkConfig.from_args({"encoder_normalize_before": False})
