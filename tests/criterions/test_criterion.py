"""How flags and the fields of a batch change the loss of logits made by hand (docs/training.md, "Criterion")."""

import math

import pytest
import torch
from torch.nn.functional import kl_div

from refhcm.criterions.label_smoothing import position_losses, range_mask

pytest.importorskip("fairseq")
from fairseq.logging import metrics
from losses import criterion

ROWS, LENGTH, SYMBOLS = 2, 6, 9


@pytest.fixture
def logits():
    return torch.randn(ROWS, LENGTH, SYMBOLS, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def target():
    """The last symbol of the second row is padding."""
    target = torch.randint(4, SYMBOLS, (ROWS, LENGTH), generator=torch.Generator().manual_seed(1))
    target[1, -1] = 1
    return target


def loss_of(logits, target, **more):
    """(loss, sample size) of a batch whose model answers `logits`."""
    loss, size, _ = answered(logits, target, **more)
    return float(loss), size


def answered(logits, target, *, net_input=None, fields=None, **options):
    """What the criterion returns for it."""
    counts = {"nsentences": len(target), "ntokens": int((target != 1).sum())}
    sample = {"net_input": net_input or {}, "target": target, **counts, **(fields or {})}
    ours = criterion(**options).train()
    ours.update_num = 1
    return ours(lambda **_: (logits, None), sample)


def test_rows_are_weighted(logits, target):
    first, second = (loss_of(logits[k : k + 1], target[k : k + 1])[0] for k in range(ROWS))
    assert loss_of(logits, target, fields={"conf": torch.tensor([1.0, 0.0])})[0] == pytest.approx(first)
    assert loss_of(logits, target, fields={"conf": torch.tensor([0.5, 5.0])})[0] == pytest.approx(
        first / 2 + 5 * second
    )


def test_plain_likelihood_is_weighted_alike(logits, target):
    first, second = (
        -float(logits[k].log_softmax(-1)[range(LENGTH - k), target[k, : LENGTH - k]].sum()) for k in (0, 1)
    )
    weighted, plain = (answered(logits, target, fields=f)[2] for f in ({"conf": torch.tensor([0.5, 5.0])}, {}))
    assert float(plain["nll_loss"]) == pytest.approx(first + second)
    assert float(weighted["nll_loss"]) == pytest.approx(first / 2 + 5 * second)


def test_symbols_of_each_position_are_restricted(logits, target):
    allowed = range_mask(SYMBOLS, "4,9", logits.device)
    everywhere = loss_of(logits, target, constraint_range="4,9")[0]
    masks = allowed.expand(ROWS, LENGTH, SYMBOLS).clone()
    assert loss_of(logits, target, fields={"constraint_masks": masks})[0] == pytest.approx(everywhere)
    masks[0, 0] = torch.arange(SYMBOLS) == target[0, 0]  # only the target is possible there
    at_first, _, _ = position_losses(logits[0, :1], target[0, :1], smoothing=0.1, allowed=allowed)
    found = loss_of(logits, target, fields={"constraint_masks": masks})[0]
    assert found == pytest.approx(everywhere - float(at_first), abs=1e-5)


def test_divergence_of_the_two_passes_is_added(logits, target):
    """The second half of the batch answers with logits twice as large."""
    model_input = {"logits": logits}
    both = torch.cat([logits, 2 * logits])
    plain, size = loss_of(both, target, net_input=model_input, use_rdrop=True, reg_alpha=0.0)
    added = loss_of(both, target, net_input=model_input, use_rdrop=True, reg_alpha=3.0)[0] - plain
    p, q = (half[target != 1].log_softmax(-1) for half in (logits, 2 * logits))
    forth, back = kl_div(p, q, reduction="sum", log_target=True), kl_div(q, p, reduction="sum", log_target=True)
    assert added == pytest.approx(3 * float(forth + back) / 2, rel=1e-5)
    by_default = loss_of(both, target, net_input=model_input, use_rdrop=True)[0] - plain
    assert by_default == pytest.approx(float(forth + back) / 2, rel=1e-5)
    assert size == 2 * int((target != 1).sum())


def test_parallel_positions_are_a_part_of_their_own(logits, target):
    """The worst positions are dropped in each part; rows without parallel positions are one part."""
    losses = torch.full((ROWS, LENGTH), torch.nan)
    losses[target != 1], _, _ = position_losses(logits[target != 1], target[target != 1], smoothing=0.1)

    def kept(*parts):
        return sum(float(part.sort().values[: len(part) // 2].sum()) for part in parts), sum(len(p) // 2 for p in parts)

    inside = torch.zeros(ROWS, LENGTH, dtype=torch.bool)
    inside[:, 2:4] = True
    for rows in (None, torch.tensor([True, False])):
        given = {"full_mask_position": (2, 3)} | ({} if rows is None else {"full_mask_rows": rows})
        parallel = inside if rows is None else inside & rows[:, None]
        expected = kept(losses[parallel], losses[~parallel & (target != 1)])
        assert loss_of(logits, target, net_input=given, drop_worst_ratio=0.5) == pytest.approx(expected)
    assert expected != pytest.approx(kept(losses[target != 1]))


def test_means_of_all_ranks_are_logged():
    ranks = [
        {"loss": 30.0, "nll_loss": 12.0, "sample_size": 8, "n_correct": torch.tensor(3), "total": 8},
        {"loss": 10.0, "nll_loss": 4.0, "sample_size": 2, "n_correct": torch.tensor(1), "total": 2},
    ]
    with metrics.aggregate() as logged:
        type(criterion()).reduce_metrics(ranks)
    values = logged.get_smoothed_values()
    assert (values["loss"], values["nll_loss"], values["accuracy"]) == pytest.approx((4.0, 1.6, 40.0))
    assert values["ppl"] == pytest.approx(math.exp(1.6))
