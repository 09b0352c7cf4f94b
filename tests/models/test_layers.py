"""Parts of the network against plain formulas: attention, layers, caches, backbone."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from refhcm.models.refhcm import Network, NetworkConfig
from refhcm.models.refhcm.attention import Attention
from refhcm.models.refhcm.decoding_state import KeyValueCache
from refhcm.models.refhcm.layers import EncoderLayer
from refhcm.models.refhcm.resnet import ResNet
from refhcm.utils.errors import CheckpointError

SIZE = {"arch": "refhcm_test", "encoder_embed_dim": 8, "encoder_ffn_embed_dim": 16}


def test_attention_by_its_formula():
    torch.manual_seed(0)
    attention = Attention(NetworkConfig.from_args(SIZE), 2).eval()
    attention.c_attn.data = torch.tensor([0.5, -2.0])
    x, bias = torch.randn(3, 5, 8), torch.randn(3, 2, 5, 5)
    bias[0, :, :, 4] = -torch.inf
    heads = []
    for h in range(2):
        part = slice(4 * h, 4 * h + 4)
        q, k, v = (linear(x)[..., part] for linear in (attention.q_proj, attention.k_proj, attention.v_proj))
        weights = (q @ k.transpose(1, 2) * (4 * 2.0) ** -0.5 + bias[:, h]).softmax(-1)  # [B, T, S]
        heads.append(weights @ v * attention.c_attn[h])
    expected = attention.out_proj(torch.cat(heads, dim=-1))
    assert_close(attention(x, *attention.keys_values(x), bias=bias), expected, atol=1e-6, rtol=1e-5)


def test_encoder_layer_by_its_formula():
    torch.manual_seed(0)
    layer = EncoderLayer(NetworkConfig.from_args(SIZE | {"scale_resids": True}), 0.0).eval()
    for p in layer.parameters():
        p.data += 0.1 * torch.randn_like(p)
    x, bias = torch.randn(2, 3, 8), torch.zeros(1, 1, 3, 3)
    normed = layer.self_attn_layer_norm(x)
    middle = x + layer.attn_ln(layer.self_attn(normed, *layer.self_attn.keys_values(normed), bias=bias))
    hidden = nn.functional.gelu(layer.fc1(layer.final_layer_norm(middle)))
    expected = layer.w_resid * middle + layer.fc2(layer.ffn_layernorm(hidden))
    assert_close(layer(x, bias), expected, atol=1e-6, rtol=1e-5)


def test_padding_enters_the_encoder_as_zeros():
    torch.manual_seed(0)
    encoder = Network(NetworkConfig.from_args(SIZE), 30).eval().encoder
    inputs = []
    encoder.layers[0].register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    out = encoder(torch.tensor([[5, 6, 1], [7, 8, 9]]), torch.randn(2, 3, 16, 16), torch.tensor([True, False]))
    empty = torch.tensor([[False, False, False, True], [True, False, False, False]])  # the patch, then the text
    assert torch.equal(out.padding, empty)
    assert torch.equal((inputs[0] == 0).all(-1), empty)


def test_stochastic_depth_drops_whole_samples_of_later_layers():
    network = Network(NetworkConfig.from_args(SIZE | {"encoder_drop_path_rate": 0.5, "encoder_layers": 3}), 30)
    assert [layer.drop_path.drop_prob for layer in network.encoder.layers] == [0.0, 0.25, 0.5]
    torch.manual_seed(0)
    dropped = network.encoder.layers[2].train().drop_path(torch.ones(200, 3, 8)).flatten(1)
    assert set(dropped.flatten().tolist()) == {0.0, 2.0}  # those kept are scaled up
    assert torch.equal(dropped.min(1).values, dropped.max(1).values)


def test_cache_follows_the_beams():
    cache = KeyValueCache(torch.zeros(2, 1, 1, 1), 3, rows=3)
    first, second = torch.tensor([10.0, 20.0, 30.0]), torch.tensor([1.0, 2.0])
    cache.append(first.view(3, 1, 1, 1), -first.view(3, 1, 1, 1))
    cache.select(torch.tensor([2, 0]))
    keys, values = cache.append(second.view(2, 1, 1, 1), -second.view(2, 1, 1, 1))
    assert keys.flatten(1).tolist() == [[30.0, 1.0], [10.0, 2.0]]
    assert torch.equal(values, -keys)


@pytest.mark.parametrize(
    ("kind", "blocks"),
    [
        ("resnet18", (2, 2, 2)),
        ("resnet34", (3, 4, 6)),
        ("resnet50", (3, 4, 6)),
        ("resnet101", (3, 4, 23)),
        ("resnet152", (3, 8, 36)),
    ],
)
def test_backbone(kind, blocks):
    backbone = ResNet(NetworkConfig(resnet_type=kind, resnet_width=4, resnet_drop_path_rate=0.4)).eval()
    assert backbone(torch.randn(1, 3, 48, 80)).shape == (1, 64, 3, 5)
    assert tuple(len(layer) for layer in (backbone.layer1, backbone.layer2, backbone.layer3)) == blocks
    assert all(layer[0].drop_path.drop_prob == 0 for layer in (backbone.layer1, backbone.layer2, backbone.layer3))
    assert backbone.layer1[-1].drop_path.drop_prob == pytest.approx(0.4)
    assert [layer[0].conv2.stride for layer in (backbone.layer1, backbone.layer2, backbone.layer3)] == [
        (1, 1),
        (2, 2),
        (2, 2),
    ]
    assert backbone.layer2[0].conv1.stride == (1, 1)  # v1.5: the stride is in the 3 x 3


def test_kinds_of_norm():
    kinds = {}, {"freeze_resnet": True}, {"sync_bn": True}
    plain, frozen, sync = (ResNet(NetworkConfig(resnet_type="resnet18", resnet_width=4, **kind)) for kind in kinds)
    assert (plain.bn1.eps, sync.bn1.eps, sync.bn1.momentum) == (1e-5, 1e-3, 0.1)
    assert isinstance(sync.layer3[1].bn2, nn.SyncBatchNorm)
    assert list(sync.state_dict()) == list(plain.state_dict())
    assert set(plain.state_dict()) - set(frozen.state_dict()) == {
        name for name in plain.state_dict() if name.endswith("num_batches_tracked")
    }
    assert not [name for name, _ in frozen.named_parameters() if "bn" in name]
    sync.eval()(torch.randn(1, 3, 32, 32))  # on the CPU, too


def test_unknown_backbone():
    with pytest.raises(CheckpointError, match="resnet_type 'resnet99' is not one of resnet18"):
        ResNet(NetworkConfig(resnet_type="resnet99"))
