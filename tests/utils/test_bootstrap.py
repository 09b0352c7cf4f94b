"""Intervals cover the truth, pictures are resampled whole, and paired tests find what is there."""

import numpy as np
import pytest

from refhcm.utils.bootstrap import differences, estimates, resampled
from refhcm.utils.metrics import keypoint_metrics, means, ratios, sum_by_group


def drawn(rng, pictures=120):
    """Rows of pictures, of which some are hard and some easy: right or not, and the picture of each."""
    ease = rng.beta(2, 1, pictures)  # mean 2/3
    groups = np.repeat(np.arange(pictures), rng.integers(1, 6, pictures))
    return (rng.random(len(groups)) < ease[groups]).astype(float), groups


def covered(seed, by_row=False):
    right, groups = drawn(np.random.default_rng(seed))
    metrics = [means(score=right)]
    found = estimates(
        metrics, resampled(metrics, np.arange(len(right)) if by_row else groups, resamples=300, seed=seed)
    )["score"]
    return found.low <= 2 / 3 <= found.high


@pytest.mark.slow
def test_intervals_cover_the_truth_in_95_of_100_tables():
    assert 0.93 <= np.mean([covered(seed) for seed in range(1000)]) <= 0.97
    assert np.mean([covered(seed, by_row=True) for seed in range(300)]) < 0.92  # why pictures are resampled


def test_intervals_cover_the_truth_in_most_tables():
    assert np.mean([covered(seed) for seed in range(60)]) > 0.85


def test_pictures_are_drawn_whole():
    metrics = [means(a=[1, 1, 0, 0], b=[0, 0, 1, 1])]
    draws = resampled(metrics, np.array([0, 0, 1, 1]), resamples=200, seed=1)
    assert set(draws["a"].tolist()) == {0, 0.5, 1}  # a picture's rows are right or wrong together
    assert draws["a"] + draws["b"] == pytest.approx(1)


def test_a_seed_gives_the_same_resamples():
    metrics, groups = [means(a=np.arange(9.0))], np.arange(9)
    same = [resampled(metrics, groups, resamples=70, seed=3)["a"] for _ in range(2)]
    assert np.array_equal(*same)
    assert not np.array_equal(same[0], resampled(metrics, groups, resamples=70, seed=4)["a"])
    assert np.array_equal(same[0][:30], resampled(metrics, groups, resamples=30, seed=3)["a"])


def test_an_interval_is_the_middle_95_percent():
    draws = np.append(np.arange(1001.0), [np.nan] * 9)[::-1]  # what is not known is left out
    found = estimates([means(score=[0, 1])], {"score": draws})["score"]
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 25, 975))


def test_p_by_hand():
    """A difference of 1/10: of four known resamples, those of 0 and 2/10 lie as far from it, whatever rounding does."""
    mine, theirs = [means(a=[0.1], b=[1])], [means(a=[0], c=[1])]
    draws, other = {"a": np.array([0.3, 0.3, 0.25, 0.12, np.nan])}, {"a": np.array([0.3, 0.1, 0.1, 0, 0])}
    assert abs((0.3 - 0.1) - 0.1) < 0.1
    found = differences(mine, draws, other=theirs, other_draws=other)
    assert list(found) == ["a"]  # what only one of them has is not compared
    assert found["a"].p == pytest.approx((2 + 1) / (4 + 1))
    low, high = np.quantile([0, 0.2, 0.15, 0.12], [0.025, 0.975])
    assert (found["a"].value, found["a"].low, found["a"].high) == pytest.approx((0.1, low, high))


def compared(mine, theirs, groups):
    metrics = [[means(score=values)] for values in (mine, theirs)]
    draws = [resampled(one, groups, resamples=500, seed=0) for one in metrics]
    return differences(metrics[0], draws[0], other=metrics[1], other_draws=draws[1])["score"]


def test_paired_differences():
    right, groups = drawn(np.random.default_rng(0))
    worse = right.copy()
    worse[::8] = 0
    found = compared(right, worse, groups)
    assert found.value == pytest.approx(right.mean() - worse.mean())
    assert 0 < found.low < found.value < found.high
    assert found.p <= 0.01
    same = compared(right, right, groups)
    assert (same.value, same.low, same.high, same.p) == (0, 0, 0, 1)
    shuffled = compared(right, right[np.random.default_rng(1).permutation(len(right))], groups)
    assert shuffled.p > 0.05


def test_p_is_small_as_often_as_it_says():
    rng = np.random.default_rng(0)
    found = [compared(*rng.integers(0, 2, (2, 150)).astype(float), np.arange(150)).p for _ in range(100)]
    assert np.mean(np.array(found) < 0.1) < 0.2


def test_a_share_of_nothing_is_not_known():
    metrics = [ratios(n_acc=(np.zeros(3), np.zeros(3)))]
    found = estimates(metrics, resampled(metrics, np.arange(3), resamples=5, seed=0))["n_acc"]
    assert np.isnan([found.value, found.low, found.high]).all()


def test_sums_by_group():
    rows = np.array([[1, 10], [2, 20], [4, 40]])
    assert sum_by_group(rows, np.array([1, 0, 1]), 2).tolist() == [[2, 20], [5, 50]]


def test_oks_counts_from_one_half_on():
    points, box = np.zeros((3, 17, 2)), np.array([[0, 0, 10, 10]] * 3)
    metrics = keypoint_metrics(None, [0.49, 0.5, 1], prediction=points, label=points, box_xyxy=box, scores=None)
    assert metrics[0].values() == pytest.approx({"oks_score": 2 / 3, "oks": 1.99 / 3})  # and no accuracy of boxes
