"""The fused Adam against fairseq's own."""

import pytest
import torch
from torch.testing import assert_close

pytest.importorskip("fairseq")

from fairseq.optim.adam import FairseqAdam, FairseqAdamConfig

from refhcm.utils.fairseq_optimizer import FusedAdam, FusedAdamConfig


def steps(optimizer_class, config_class):
    weight = torch.nn.Parameter(torch.linspace(-1, 1, 7))
    betas = "(0.8,0.95)"
    config = config_class(adam_betas=betas, adam_eps=1e-12, weight_decay=0.3, lr=[0.05])
    optimizer = optimizer_class(config, [weight])
    generator = torch.Generator().manual_seed(0)
    for lr in (0.05, 0.05, 0.02, 0.01):
        optimizer.set_lr(lr)
        weight.grad = 2 * torch.randn(7, generator=generator)
        optimizer.step(scale=2.0)
    return weight.detach()


def test_fp16_may_flatten_the_weights():
    assert FusedAdam(FusedAdamConfig(lr=[0.05]), [torch.nn.Parameter(torch.zeros(2))]).supports_flat_params


def test_rates_betas_decay_and_scale_mean_the_same():
    assert_close(steps(FusedAdam, FusedAdamConfig), steps(FairseqAdam, FairseqAdamConfig))
