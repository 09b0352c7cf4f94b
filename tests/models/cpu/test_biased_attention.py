"""Attention with a learned bias, against torch's gradients of its formula."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from refhcm.models.refhcm.attention import Attention
from refhcm.models.refhcm.config import NetworkConfig
from refhcm.models.refhcm.cpu import biased_attention as module
from refhcm.models.refhcm.cpu.biased_attention import biased_attention

BATCH, HEADS, LENGTH, STATES, WIDTH = 3, 4, 5, 7, 6
CONFIG = NetworkConfig(
    encoder_embed_dim=HEADS * WIDTH,
    encoder_attention_heads=HEADS,
    decoder_attention_heads=HEADS,
    scale_heads=False,
)


def inputs(*, biases):
    torch.manual_seed(0)
    shapes = (LENGTH, WIDTH), (STATES, WIDTH), (STATES, WIDTH), (LENGTH, STATES)
    batches = BATCH, BATCH, BATCH, biases
    return [torch.randn(b, HEADS, *s, requires_grad=True) for b, s in zip(batches, shapes, strict=True)]


def gradients(out, given):
    return torch.autograd.grad(out.square().sum(), given)


@pytest.fixture
def attn_mask():
    padding = torch.zeros(BATCH, 1, 1, STATES)
    padding[1, ..., -2:] = -torch.inf
    return padding


@pytest.mark.parametrize("heads_at_once", [1, 3, HEADS])
@pytest.mark.parametrize("biases", [1, BATCH])
def test_answers_and_gradients(monkeypatch, attn_mask, biases, heads_at_once):
    monkeypatch.setattr(module, "AT_ONCE", heads_at_once * BATCH * LENGTH * STATES * 4)
    given = inputs(biases=biases)
    q, keys, values, bias = given
    expected = (q @ keys.transpose(-1, -2) + bias + attn_mask).softmax(-1) @ values
    found = biased_attention(*given, attn_mask)
    assert_close(found, expected)
    for one, other in zip(gradients(found, given), gradients(expected, given), strict=True):
        assert_close(one, other)


def test_dropout_is_the_same_in_both_passes(attn_mask):
    given = inputs(biases=1)
    q, keys, values, bias = given
    torch.manual_seed(7)
    kept = F.dropout(torch.ones(HEADS, BATCH, LENGTH, STATES), 0.5).transpose(0, 1)
    expected = ((q @ keys.transpose(-1, -2) + bias + attn_mask).softmax(-1) * kept) @ values
    torch.manual_seed(7)
    found = biased_attention(*given, attn_mask, dropout=0.5)
    assert_close(found, expected)
    for one, other in zip(gradients(found, given), gradients(expected, given), strict=True):
        assert_close(one, other)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_half(dtype):
    given = [x.detach().to(dtype).requires_grad_() for x in inputs(biases=1)]
    found = biased_attention(*given, None)
    assert found.dtype == dtype
    exact = [x.detach().float().requires_grad_() for x in given]
    expected = biased_attention(*exact, None)
    assert_close(found.float(), expected, atol=0.03, rtol=0.03)
    for one, other in zip(gradients(found, given), gradients(expected, exact), strict=True):
        assert one.dtype == dtype
        assert_close(one.float(), other, atol=0.2, rtol=0.05)


def test_other_devices_have_a_kernel_of_their_own(monkeypatch):
    """There torch's own kernel has a gradient for the bias."""
    layer = Attention(CONFIG, HEADS)
    x, bias = torch.randn(BATCH, LENGTH, HEADS * WIDTH), torch.randn(1, HEADS, LENGTH, LENGTH, requires_grad=True)

    def refuse(*_, **__):
        raise AssertionError

    monkeypatch.setattr("refhcm.models.refhcm.attention.biased_attention", refuse)
    with pytest.raises(AssertionError):
        layer(x, *layer.keys_values(x), bias=bias)
    elsewhere = layer.to("meta")
    x, bias = x.to("meta"), bias.detach().to("meta").requires_grad_()
    elsewhere(x, *elsewhere.keys_values(x), bias=bias).sum().backward()
    assert bias.grad.shape == bias.shape
