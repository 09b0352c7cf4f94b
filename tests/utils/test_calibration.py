"""Calibration error, AUROC and curves, by hand."""

import numpy as np
import pytest

from refhcm.utils.calibration import Curve, auroc, ece, fit, reliability


def test_reliability_by_hand():
    # of 15 bins, 0.1 and 0.12 are in the second, 0.9 and 0.92 in the last but one
    table = reliability([0.1, 0.12, 0.9, 0.92, 1.0], [0, 1, 1, 1, 0])
    assert table[1] == pytest.approx([2, 0.11, 0.5])
    assert table[13] == pytest.approx([2, 0.91, 1])
    assert table[14] == pytest.approx([1, 1, 0])
    assert np.isnan(table[2, 1:]).all()


def test_ece_by_hand():
    # |.11 - .5| and |.91 - 1|, two of four each
    assert ece([0.1, 0.12, 0.9, 0.92], [0, 1, 1, 1]) == pytest.approx(0.5 * 0.39 + 0.5 * 0.09)
    assert ece([0.75] * 4, [1, 1, 1, 0]) == pytest.approx(0)
    assert ece([], []) == 0


def test_auroc_by_hand():
    # of the four pairs (right, wrong) two and a tie are in order
    assert auroc([0.9, 0.5, 0.5, 0.7], [1, 1, 0, 0]) == pytest.approx((2 + 0.5) / 4)
    assert auroc([0.1, 0.2], [0, 1]) == 1
    assert auroc([0.1, 0.2], [1, 1]) is None
    assert auroc([], []) is None


def test_a_curve_joins_the_centres_of_the_steps():
    # .2 and .4 are out of order: one step of 1/2 at .3; below it 0, above it 1, which are held off by 1 / (4 + 2)
    curve = fit([0.1, 0.2, 0.4, 0.9], [0, 1, 0, 1])
    assert curve.raw == pytest.approx((0.1, 0.3, 0.9))
    assert curve.probability == pytest.approx((1 / 6, 0.5, 5 / 6), abs=1e-6)
    assert curve([0.0, 0.2, 0.6, 1.0]) == pytest.approx([1 / 6, 1 / 3, 2 / 3, 5 / 6], abs=1e-6)


def test_a_curve_may_reach_0_and_1_and_its_knots_have_six_decimals():
    assert Curve((0, 1), (0, 1))([0, 0.25, 1]).tolist() == [0, 0.25, 1]
    curve = fit([0.12345678, 0.1234569, 0.9], [0, 0, 1])  # the first two are one knot
    assert curve == Curve((0.123457, 0.9), (0.2, 0.8))


def test_equal_confidences_count_by_their_number():
    curve = fit([0.5, 0.5, 0.5, 0.5, 1.0], [1, 0, 0, 0, 1])
    assert curve([0.5, 1.0]) == pytest.approx([0.25, 6 / 7], abs=1e-6)


def test_a_calibrated_confidence_has_a_small_error_and_keeps_its_order():
    random = np.random.default_rng(0)
    raw = random.random(4000) ** 0.2  # overconfident
    right = random.random(4000) < raw**4
    curve = fit(raw[:2000], right[:2000])
    assert ece(raw[2000:], right[2000:]) > 0.1
    assert ece(curve(raw[2000:]), right[2000:]) < 0.05
    assert auroc(curve(raw[2000:]), right[2000:]) == pytest.approx(auroc(raw[2000:], right[2000:]), abs=0.01)


@pytest.mark.parametrize(
    ("raw", "probability"),
    [
        ((), ()),
        ((0.1,), (0.1, 0.2)),
        ((0.2, 0.1), (0.1, 0.2)),
        ((0.1, 0.2), (0.2, 0.1)),
        ((0.1, 1.2), (0.1, 0.2)),
        ((0.1, 0.2), (0.1, float("nan"))),
    ],
)
def test_what_does_not_rise_is_no_curve(raw, probability):
    with pytest.raises(ValueError, match="curve"):
        Curve(raw, probability)
