"""The loss by hand (docs/training.md, "Criterion")."""

import math

import pytest
import torch

from refhcm.criterions.label_smoothing import Neighbours, position_losses, range_mask, sum_positions, symmetric_kl


def test_formula_by_hand():
    logits = torch.tensor([[2.0, 1.0, 0.0]])
    lp = [value - math.log(math.e**2 + math.e + 1) for value in (2.0, 1.0, 0.0)]
    loss, nll, _ = position_losses(logits, torch.tensor([1]), smoothing=0.2)
    epsilon = 0.2 / 2
    assert float(nll) == pytest.approx(-lp[1])
    assert float(loss) == pytest.approx((1 - 0.2 - epsilon) * -lp[1] + epsilon * -sum(lp))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    logits = torch.tensor([[8.0, 1.0, 0.5, -4.0]] * 2, dtype=dtype)  # exact in both
    target = torch.tensor([0, 3])
    for found, expected in zip(
        *(position_losses(x, target, smoothing=0.1) for x in (logits, logits.float())), strict=True
    ):
        assert found.dtype == torch.float32
        assert torch.equal(found, expected)


def test_constraint_counts_only_its_symbols():
    logits, target = torch.randn(4, 10), torch.tensor([6, 7, 2, 8])
    allowed = range_mask(10, "6,8", logits.device)
    assert allowed.nonzero().flatten().tolist() == [0, 1, 2, 3, 6, 7]
    loss, _, _ = position_losses(logits, target, smoothing=0.1, allowed=allowed)
    few, _, _ = position_losses(logits[:, allowed], torch.tensor([4, 5, 2, 0]), smoothing=0.1)
    assert torch.allclose(loss[:3], few[:3], atol=1e-5)
    assert loss[3] == torch.inf


def test_worst_positions_are_dropped():
    loss, nll = torch.tensor([3.0, 1.0, 2.0, 9.0, 4.0]), torch.tensor([0.3, 0.1, 0.2, 0.9, 0.4])
    total = sum_positions(loss, nll, drop_worst_ratio=0.2)
    assert (float(total.loss), total.count) == (10.0, 4)
    assert float(total.nll) == pytest.approx(1.0)


def test_symmetric_kl_by_hand():
    p, q = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.25, 0.75]])
    forth = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    back = 0.25 * math.log(1 / 2) + 0.75 * math.log(3 / 2)
    assert float(symmetric_kl(torch.cat([p, q]).log())) == pytest.approx((forth + back) / 2)


def test_symmetric_kl_of_what_is_allowed():
    """Other symbols change nothing and have no gradient."""
    logits, allowed = torch.randn(4, 10, requires_grad=True), range_mask(10, "6,8", torch.device("cpu"))
    log_probs = logits.masked_fill(~allowed, -torch.inf).log_softmax(-1)
    found = symmetric_kl(log_probs, allowed=allowed)
    assert torch.allclose(found, symmetric_kl(logits[:, allowed].log_softmax(-1)))
    (gradient,) = torch.autograd.grad(found, logits)
    assert gradient[:, allowed].abs().min() > 0
    assert not gradient[:, ~allowed].any()


@pytest.mark.parametrize("deviation", [1.0, 2.0])
def test_a_coordinate_is_spread_over_its_neighbours_by_hand(deviation):
    logits = torch.tensor([[0.0, 1.0, 2.0, 0.0, 1.0, 3.0]] * 4)
    target = torch.tensor([3, 0, 1, 5])  # bins are the ids 2, 3, 4; the other targets are no bins
    neighbours = Neighbours(range(2, 5), deviation)
    loss, nll, log_probs = position_losses(logits, target, smoothing=0.0, neighbours=neighbours)
    side = math.exp(-0.5 / deviation**2)
    spread = [side / (1 + 2 * side), 1 / (1 + 2 * side), side / (1 + 2 * side)]
    expected = -sum(share * float(log_probs[0, 2 + k]) for k, share in enumerate(spread))
    assert float(loss[0]) == pytest.approx(expected)
    assert loss[1:].tolist() == nll[1:].tolist()
    plain, _, _ = position_losses(logits, target, smoothing=0.0)
    assert torch.equal(nll, plain)


def test_a_coordinate_at_the_border_keeps_all_of_its_probability():
    logits = torch.zeros(1, 5)
    loss, _, _ = position_losses(logits, torch.tensor([2]), smoothing=0.0, neighbours=Neighbours(range(2, 5), 1.0))
    assert float(loss) == pytest.approx(math.log(5))
