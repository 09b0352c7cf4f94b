"""Faster paths give the same answers: few rows, packed weights, folded norms, cached biases."""

import copy
import unittest.mock

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from refhcm.models.refhcm import Network, NetworkConfig
from refhcm.models.refhcm.cpu import linear as products
from refhcm.models.refhcm.cpu.folded import FoldedConv
from refhcm.models.refhcm.cpu.linear import Linear, Output, linear, packs

SIZE = {"arch": "refhcm_test", "encoder_embed_dim": 32, "encoder_ffn_embed_dim": 64, "resnet_width": 8}


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = Network(NetworkConfig.from_args(SIZE), 40)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias):
                nn.init.normal_(tensor)
            for tensor in (module.running_var, module.weight):
                nn.init.uniform_(tensor, 0.5, 2)
    return network.eval()


@pytest.fixture(params=[True, False])
def slow(request, monkeypatch):
    """Whether MKL counts as slow here."""
    monkeypatch.setattr(products, "mkl_is_slow", lambda: request.param)
    monkeypatch.setattr("refhcm.models.refhcm.network.mkl_is_slow", lambda: request.param)
    return request.param


@pytest.mark.parametrize("shape", [(5, 1), (4, 7), (4, 8), (33,), (2, 3, 11)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_products_and_their_gradients(slow, shape, with_bias):
    torch.manual_seed(0)
    x, weight, bias = torch.randn(*shape, 24), torch.randn(40, 24), torch.randn(40) if with_bias else None
    given = [one.requires_grad_() for one in (x, weight, bias) if one is not None]
    found, wanted = linear(*given), F.linear(*given)
    assert_close(found, wanted)
    assert (type(found.grad_fn).__name__ == "_LinearBackward") == (slow and x.numel() // 24 >= 32)
    grad = torch.randn_like(wanted)
    for ours, theirs in zip(*(torch.autograd.grad(out, given, grad) for out in (found, wanted)), strict=True):
        assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_gradients_of_some_only(slow):
    x, weight = torch.randn(40, 8), torch.randn(6, 8, requires_grad=True)
    linear(x, weight).sum().backward()
    assert_close(weight.grad, x.sum(0).expand(6, -1))
    other = x.clone().requires_grad_()
    linear(other, weight.detach()).sum().backward()
    assert_close(other.grad, weight.detach().sum(0).expand(40, -1))


def test_autocast_decides_the_format(slow):
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(torch.randn(40, 8), torch.randn(6, 8)).dtype == torch.bfloat16


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_outputs_are_kept(network, dtype):
    """Of some symbols or all; only where the weights will not change."""
    x = torch.randn(2, 1, 32).to(dtype)
    decoder = network.to(dtype).decoder
    wanted = {None: decoder.project(x), (range(2), range(5, 9)): decoder.project(x)[..., [0, 1, 5, 6, 7, 8]]}
    for symbols, logits in wanted.items():
        assert_close(decoder.output(symbols)(x), logits)
        assert not isinstance(decoder.output(symbols), Output)
    network.for_answers()
    for symbols, logits in wanted.items():
        assert_close(
            decoder.output(symbols)(x), logits, atol=2e-2, rtol=2e-2
        ) if dtype == torch.bfloat16 else assert_close(decoder.output(symbols)(x), logits)
        assert decoder.output(symbols) is decoder.output(symbols)


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_packed_weights(dtype):
    torch.manual_seed(0)
    layer, x = Linear(64, 96).to(dtype), torch.randn(2, 5, 64).to(dtype)
    before = layer(x)
    layer.pack()
    assert layer.weight is None  # the memory is not held twice
    assert_close(layer(x), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_packed(network, dtype, slow):
    network.to(dtype).for_answers()
    packed = {"encoder", "decoder"} if slow or dtype == torch.bfloat16 else {"decoder"}
    layers = {name: module for name, module in network.named_modules() if isinstance(module, Linear)}
    assert {name.split(".")[0] for name, layer in layers.items() if layer.packed is not None} == packed


@torch.inference_mode()
@pytest.mark.parametrize("packed", [True, False])
def test_folded_convolutions(packed):
    """Equal to torch's modules, with and without an addition, with and without oneDNN."""
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16).eval()
    norm.running_var.uniform_(0.5, 2)
    x, other = torch.randn(2, 8, 9, 12), torch.randn(2, 16, 5, 6)
    for relu in (True, False):
        expected = norm(conv(x)), norm(conv(x)) + other
        with unittest.mock.patch("torch.backends.mkldnn.is_available", return_value=packed):
            folded = FoldedConv(conv, norm, relu=relu)
        assert folded.packed == packed
        added = other.clone(memory_format=torch.channels_last)
        innermost = x.contiguous(memory_format=torch.channels_last)
        for found, wanted in zip((folded(innermost), folded(innermost, added)), expected, strict=True):
            assert_close(found, wanted.relu() if relu else wanted, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("relu", [True, False])
def test_wider_pixels_in_half_precision(stride, relu):
    """A 1 x 1 convolution to more channels is a matrix product."""
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(8, 32, 1, stride=stride, bias=False), nn.BatchNorm2d(32).eval()
    norm.running_var.uniform_(0.5, 2)
    x, other = torch.randn(2, 8, 9, 12), torch.randn(2, 32, -(-9 // stride), 12 // stride)
    expected = norm(conv(x)), norm(conv(x)) + other
    half = FoldedConv(copy.deepcopy(conv).bfloat16(), copy.deepcopy(norm).bfloat16(), relu=relu)
    assert half.widens
    given, added = (y.bfloat16().contiguous(memory_format=torch.channels_last) for y in (x, other))
    for found, wanted in zip((half(given), half(given, added)), expected, strict=True):
        assert found.is_contiguous(memory_format=torch.channels_last)
        assert_close(found.float(), wanted.relu() if relu else wanted, atol=0.06, rtol=0.02)
    narrower = FoldedConv(nn.Conv2d(32, 8, 1).bfloat16(), nn.BatchNorm2d(8).bfloat16(), relu=relu)
    assert not narrower.widens
    assert not FoldedConv(conv, norm, relu=relu).widens


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_folding_in_half_precision_rounds_once(dtype):
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(64, 8, 1, bias=False), nn.BatchNorm2d(8).eval()
    norm.running_var.uniform_(0.5, 2)
    norm.weight.uniform_(0.5, 2)
    half = copy.deepcopy(conv).to(dtype), copy.deepcopy(norm).to(dtype)
    scale = half[1].weight.double() / (half[1].running_var.double() + norm.eps).sqrt()
    exact = half[0].weight.double() * scale[:, None, None, None]
    with unittest.mock.patch("torch.backends.mkldnn.is_available", return_value=False):
        folded = FoldedConv(*half, relu=False)
    assert bool(((folded.weight - exact).abs() <= 0.501 * torch.finfo(dtype).eps * exact.abs()).all())


def test_a_cpu_without_bfloat16_packs_none():
    weight = torch.zeros(4, 4)
    with unittest.mock.patch.object(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", return_value=False):
        assert not packs(weight.bfloat16())
        assert packs(weight)


@torch.inference_mode()
def test_folded_norms(network):
    folded, pictures = copy.deepcopy(network).for_answers(), torch.randn(2, 3, 80, 64)
    backbone = folded.encoder.embed_images
    assert not any(isinstance(module, nn.BatchNorm2d) for module in backbone.modules())
    assert_close(backbone(pictures), network.encoder.embed_images(pictures), atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_half_precision_answers_are_near(network):
    source = {"src_tokens": torch.randint(4, 40, (2, 9)), "patch_images": torch.randn(2, 3, 64, 64)}
    states = network.encode(source).states
    half = copy.deepcopy(network).bfloat16().for_answers()
    found = half.encode(source | {"patch_images": source["patch_images"].bfloat16()}).states.float()
    assert (found - states).abs().mean() < 0.05 * states.abs().mean()


def encode(network, length=9, side=64):
    torch.manual_seed(length)
    source = {"src_tokens": torch.randint(4, 40, (1, length)), "patch_images": torch.randn(1, 3, side, side)}
    return network.encode(source).states


@torch.inference_mode()
def test_cached_biases_give_the_same_states(network):
    first = encode(network)
    assert network.encoder._cached.biases is None  # a single call caches nothing
    assert torch.equal(encode(network), first)
    assert len(network.encoder._cached.biases) == len(network.encoder.layers)
    for make in network.encoder._cached.biases:  # it holds its bias and nothing else
        assert (make.args, make.keywords) == ((make(),), {})
    assert torch.equal(encode(network), first)
    shorter = encode(network, length=3)
    network.encoder._cached.biases = None
    network.encoder._cached.key = ()
    assert torch.equal(encode(network, length=3), shorter)


def test_other_weights_and_grids_have_other_biases(network):
    with torch.inference_mode():
        first = encode(network)
        encode(network)
        other_grid = encode(network, side=96)
        assert not torch.equal(first[:, -9:], other_grid[:, -9:])
        assert torch.equal(encode(network), first)
        encode(network)
    with torch.no_grad():
        network.encoder.image_rel_pos_table_list[0].weight.add_(torch.randn(23 * 23 + 3, 4))
    with torch.inference_mode():
        changed = encode(network)
    assert not torch.equal(changed, first)
    with torch.enable_grad():
        assert_close(encode(network), changed)


@pytest.mark.parametrize("fused", [False, True])
def test_biases_follow_an_optimiser_step(network, fused):
    """A fused one changes no tensor version; fairseq's write through `.data`."""
    weights = [table.weight for table in network.encoder.image_rel_pos_table_list]
    optimizer = torch.optim.Adam(weights, lr=0.1, fused=fused)
    found = []
    for _ in range(2):
        with torch.inference_mode():
            found += [encode(network.eval()) for _ in range(3)]
        network.train()
        for weight in weights:
            weight.grad = torch.randn_like(weight)
        optimizer.step() if fused else weights[0].data.add_(torch.randn_like(weights[0]))
    assert torch.equal(found[0], found[2])
    assert not torch.allclose(found[2], found[3], atol=1e-3)
    fresh = copy.deepcopy(network).eval()
    with torch.inference_mode():
        assert torch.equal(encode(network.eval()), encode(fresh))


def test_autocast_has_biases_of_its_own(network):
    with torch.inference_mode():
        plain = encode(network)
        with torch.autocast("cpu", torch.bfloat16):
            half = [encode(network) for _ in range(3)]
        assert torch.equal(encode(network), plain)
    assert_close(half[2].float(), plain, atol=0.1, rtol=0.1)


def test_training_caches_nothing(network):
    for _ in range(3):
        encode(network.train())
    assert network.encoder._cached.biases is None
