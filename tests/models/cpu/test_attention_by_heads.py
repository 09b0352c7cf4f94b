"""Attention a few heads at a time: compared with float64 and with torch's fused kernel."""

import pytest
import torch
import torch.nn.functional as F

from refhcm.models.refhcm.attention import Attention
from refhcm.models.refhcm.config import NetworkConfig
from refhcm.models.refhcm.cpu import attention_by_heads as module
from refhcm.models.refhcm.cpu.attention_by_heads import attention_by_heads, faster_by_heads

BATCH, HEADS, LENGTH, WIDTH = 2, 3, 520, 16
CONFIG = NetworkConfig(
    encoder_embed_dim=HEADS * WIDTH,
    encoder_attention_heads=HEADS,
    decoder_attention_heads=HEADS,
    scale_heads=True,
)


def inputs(*, biases):
    """Queries, keys, values and a bias, float32; the bias hides the last states of all samples but the first."""
    torch.manual_seed(0)
    q, keys, values = (torch.randn(BATCH, LENGTH, HEADS, WIDTH).transpose(1, 2) for _ in range(3))
    bias = 3 * torch.randn(biases, HEADS, LENGTH, LENGTH)
    bias[1:, ..., -7:] = -torch.inf
    return q, keys, values, bias


@pytest.mark.parametrize("cache", [1, 2**20, 2**24])
@pytest.mark.parametrize("biases", [1, BATCH])
@torch.no_grad()
def test_about_as_near_the_truth_as_the_fused_kernel(monkeypatch, biases, cache):
    monkeypatch.setattr(module, "CACHE", cache)
    q, keys, values, bias = (x.double() for x in inputs(biases=biases))
    truth = (q @ keys.mT * 0.25 + bias).softmax(-1) @ values
    given = [x.bfloat16() for x in (q, keys, values, bias)]
    fused = F.scaled_dot_product_attention(*given[:3], attn_mask=given[3], scale=0.25)
    found = attention_by_heads(*given, scale=0.25)
    assert (found.shape, found.dtype) == (q.shape, torch.bfloat16)
    error, of_fused = ((one.double() - truth).square().mean().sqrt() for one in (found, fused))
    assert error < 2 * of_fused


@torch.no_grad()
def test_where_it_is_used(monkeypatch):
    """In bfloat16, on a CPU that has it, and without gradients; nowhere else."""
    monkeypatch.setattr(module, "_has_bfloat16_products", lambda: False)
    q = inputs(biases=1)[0].bfloat16()
    assert not faster_by_heads(q)
    monkeypatch.setattr(module, "_has_bfloat16_products", lambda: True)
    assert faster_by_heads(q)
    assert not faster_by_heads(q.float())
    assert not faster_by_heads(q.to("meta"))
    with torch.enable_grad():
        assert not faster_by_heads(q)
    attention = Attention(CONFIG, HEADS).bfloat16()
    x = torch.randn(BATCH, LENGTH, HEADS * WIDTH, dtype=torch.bfloat16)
    bias, attn_mask = torch.randn(1, HEADS, LENGTH, LENGTH).bfloat16(), torch.zeros(BATCH, 1, 1, LENGTH).bfloat16()
    attn_mask[1, ..., -9:] = -torch.inf
    found = attention(x, *attention.keys_values(x), bias=bias, attn_mask=attn_mask)
    monkeypatch.setattr(module, "_has_bfloat16_products", lambda: False)
    fused = attention(x, *attention.keys_values(x), bias=bias, attn_mask=attn_mask)
    torch.testing.assert_close(found, fused, atol=0.01, rtol=0.02)
    assert not found.equal(fused)
