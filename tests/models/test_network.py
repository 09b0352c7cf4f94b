"""Switches and limits of the network on a tiny size."""

import pytest
import torch
from torch.testing import assert_close

from refhcm.models.refhcm import Network, NetworkConfig
from refhcm.models.refhcm.decoder import causal_mask
from refhcm.models.refhcm.recompute import recomputed_blocks

SIZE = {"arch": "refhcm_test", "encoder_embed_dim": 32, "encoder_ffn_embed_dim": 32, "resnet_width": 8}
UNUSED = (
    "decoder.code_layernorm_embedding",
    "decoder.embed_image_positions",
    "decoder.image_pos_ln",
    "decoder.image_rel_pos",
)


def make(**options):
    torch.manual_seed(0)
    return Network(NetworkConfig.from_args(SIZE | options), 30)


@pytest.fixture
def batch():
    torch.manual_seed(3)
    return {
        "src_tokens": torch.randint(4, 30, (2, 6)),
        "patch_images": torch.randn(2, 3, 64, 64),
        "patch_masks": torch.ones(2, dtype=torch.bool),
        "prev_output_tokens": torch.randint(4, 30, (2, 5)),
    }


def gradients(network, batch):
    network.train()
    torch.manual_seed(5)
    network(**batch)[0].square().mean().backward()
    return {name: p.grad for name, p in network.named_parameters()}


def test_every_used_weight_gets_a_gradient(batch):
    found = gradients(make(scale_resids=True, dropout=0.0), batch)
    without = {name for name, gradient in found.items() if gradient is None}
    assert without == {name for name in found if name.startswith(UNUSED)}


def test_recomputing_gives_the_same_gradients(batch):
    one, other = (
        make(checkpoint_activations=on, dropout=0.1, resnet_drop_path_rate=0.3, resnet_type="resnet34")
        for on in (False, True)
    )
    plain, again = gradients(one, batch), gradients(other, batch)
    for name, buffer in one.named_buffers():  # batch norms have seen the pictures once
        assert_close(other.get_buffer(name), buffer)
    for name, gradient in plain.items():
        if gradient is not None:
            assert_close(again[name], gradient, atol=1e-6, rtol=1e-5)


def test_recomputing_with_norms_over_all_ranks():
    """SyncBatchNorm on one rank: the only norm that insists on a counter."""
    torch.manual_seed(0)
    blocks, x = torch.nn.Sequential(torch.nn.SyncBatchNorm(3)), torch.randn(2, 3, 4, 4, requires_grad=True)
    recomputed_blocks(blocks, x).square().sum().backward()
    assert blocks[0].num_batches_tracked == 1
    assert_close(blocks[0].running_mean, 0.1 * x.detach().mean((0, 2, 3)))


RATES = (
    *("dropout", "attention_dropout", "activation_dropout"),
    *("encoder_drop_path_rate", "decoder_drop_path_rate", "resnet_drop_path_rate"),
)


@pytest.mark.parametrize("rate", RATES)
def test_each_rate_makes_training_random_and_not_evaluation(batch, rate):
    network = make(**dict.fromkeys(RATES, 0.0) | {rate: 0.5}).eval()
    assert torch.equal(network(**batch)[0], network(**batch)[0])
    with torch.no_grad():
        assert torch.equal(network(**batch)[0], network(**batch)[0])
    network.train()
    assert not torch.equal(network(**batch)[0], network(**batch)[0])
    network = make(**dict.fromkeys(RATES, 0.0)).train()
    assert torch.equal(network(**batch)[0], network(**batch)[0])


def test_frozen_embedding_and_norms(batch):
    network = make(freeze_encoder_embedding=True, freeze_resnet=True)
    found = gradients(network, batch)
    assert found["encoder.embed_tokens.weight"] is None
    assert "encoder.embed_images.bn1.weight" in dict(network.named_buffers())


@pytest.mark.parametrize("flag", ["freeze_encoder_embedding", "freeze_decoder_embedding"])
def test_either_flag_freezes_the_shared_embedding(flag):
    assert not make(**{flag: True}).decoder.embed_tokens.weight.requires_grad
    assert make().decoder.embed_tokens.weight.requires_grad


def test_initial_weights():
    """BERT's: normal(0, 0.02), zero biases and pad row (docs/network.md)."""
    network = make(scale_resids=True)
    layer = network.decoder.layers[0]
    for module in (layer.fc1, layer.encoder_attn.k_proj, network.encoder.image_rel_pos_table_list[0]):
        assert float(module.weight.detach().std()) == pytest.approx(0.02, rel=0.15)
    assert not layer.fc1.bias.any()
    assert not network.encoder.embed_tokens.weight[1].any()
    assert all(torch.equal(p, torch.ones_like(p)) for p in (layer.self_attn.c_attn, layer.w_resid))


def test_switches_change_names(batch):
    bare = make(scale_attn=False, scale_fc=False, scale_heads=False)
    assert not any("attn_ln" in n or "ffn_layernorm" in n or "c_attn" in n for n in bare.state_dict())
    assert bare(**batch)[0].shape == (2, 5, 30)


def test_entangled_positions_change_the_answer(batch):
    plain = make().eval()
    for option in ({"disable_entangle": False}, {"entangle_position_embedding": True}):
        other = make(**option).eval()
        other.load_state_dict(plain.state_dict())
        assert not torch.allclose(other(**batch)[0], plain(**batch)[0])


def test_interpolated_positions(batch):
    network = make(interpolate_position=True, orig_patch_image_size=32).eval()
    grid, _ = network.encoder._positions((4, 4), 0)
    rows = network.encoder.embed_image_positions.weight[[1, 2, 13, 14]]  # the 2 x 2 grid of 12 columns
    assert_close(grid[0, 0], rows[0])
    assert_close(grid[0, 5], (9 * rows[0] + 3 * rows[1] + 3 * rows[2] + rows[3]) / 16)


def test_batch_equals_single_with_padding(batch):
    network = make().eval()
    batch["src_tokens"][1, 4:] = 1
    batch["patch_masks"][1] = False
    together = network(**batch)[0]
    alone, _ = network(batch["src_tokens"][1:, :4], prev_output_tokens=batch["prev_output_tokens"][1:])
    assert_close(together[1:], alone, atol=2e-5, rtol=0)


def test_causal_mask_opens_a_block():
    mask = causal_mask(5, (1, 3)) == 0
    assert mask.int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 1],
    ]
    assert torch.equal(causal_mask(5, (3, 9)), causal_mask(5, (3, 4)))


def test_limits_are_named(batch):
    network = make(max_source_positions=5, max_target_positions=4).eval()
    with pytest.raises(ValueError, match=r"6 source symbols.*--max-source-positions is 5"):
        network(**batch)
    batch["src_tokens"] = batch["src_tokens"][:, :5]
    with pytest.raises(ValueError, match=r"5 target symbols.*--max-target-positions is 4"):
        network(**batch)
    with pytest.raises(ValueError, match="--image-bucket-size 13, not 12"):
        network.encoder(batch["src_tokens"], torch.randn(2, 3, 32, 208))


def test_questions_about_one_picture_share_it(batch):
    network = make().eval()
    shared = batch | {"patch_images": batch["patch_images"][:1], "patch_rows": torch.tensor([0, 0])}
    apart = batch | {"patch_images": batch["patch_images"][[0, 0]]}
    assert_close(network(**shared)[0], network(**apart)[0], atol=1e-5, rtol=1e-4)
    swapped = batch | {"patch_rows": torch.tensor([1, 0])}
    apart = batch | {"patch_images": batch["patch_images"][[1, 0]]}
    assert_close(network(**swapped)[0], network(**apart)[0], atol=1e-5, rtol=1e-4)


def test_parallel_positions_of_some_rows(batch):
    """Rows with queries answer as in a batch where all have them, other rows as in one where none has."""
    network = make().eval()
    span = {"full_mask_position": (1, 3)}
    mixed = network(**batch, **span, full_mask_rows=torch.tensor([True, False]))[0]
    assert_close(mixed[0], network(**batch, **span)[0][0], atol=1e-5, rtol=1e-4)
    assert_close(mixed[1], network(**batch)[0][1], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(mixed[0], network(**batch)[0][0], atol=1e-4)


def test_learning_and_answering_see_the_same(batch):
    """`biased_attention` and torch's attention agree, also where rows are padded."""
    network = make(dropout=0.0).eval()
    batch["src_tokens"][0, 4:] = 1
    batch["prev_output_tokens"][1, 3:] = 1
    learning = network(**batch)[0]
    with torch.no_grad():
        answering = network(**batch)[0]
    assert learning.requires_grad
    assert_close(learning, answering, atol=1e-5, rtol=1e-4)


def test_half_precision_has_channels_innermost(batch):
    """Only the layout differs: features agree to bfloat16's precision."""
    backbone = make().encoder.embed_images.eval()
    with torch.no_grad():
        full = backbone(batch["patch_images"])
        with torch.autocast("cpu", torch.bfloat16):
            half = backbone(batch["patch_images"])
    assert full.is_contiguous()
    assert half.is_contiguous(memory_format=torch.channels_last)
    assert_close(half.float(), full, atol=0.05 * float(full.abs().max()), rtol=0.05)
