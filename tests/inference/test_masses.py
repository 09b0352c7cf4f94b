"""Raw confidence, by hand: of all the truths that the distributions hold, how many would make the answer right."""

import numpy as np
import pytest
import torch

from refhcm.inference.masses import RIGHT_OKS, box_mass, keypoint_masses, right_distances, word_probabilities
from refhcm.utils.keypoints import SIGMAS, oks

BINS = 101


def spread(*each):
    """Probabilities [N, BINS]; each row by bin."""
    rows = torch.zeros(len(each), BINS)
    for row, shares in zip(rows, each, strict=True):
        for k, share in shares.items():
            row[k] = share
    return rows


def test_a_certain_box():
    assert box_mass(spread({10: 1}, {20: 1}, {50: 1}, {80: 1}), torch.tensor([10, 20, 50, 80])) == 1


def test_neighbours_count_and_another_person_does_not():
    # x0 lies within a bin or two in .75, elsewhere in .25; the mean of the chosen bins' probabilities would be .85
    shares = spread({9: 0.25, 10: 0.375, 12: 0.125, 45: 0.25}, {20: 1}, {50: 1}, {80: 1})
    assert box_mass(shares, torch.tensor([10, 20, 50, 80])) == 0.75


def test_corners_count_together():
    # a side of 40 bins: cut by 12 on one side the IoU is .7, on both sides .4
    shares = spread({10: 0.5, 22: 0.5}, {20: 1}, {50: 0.5, 38: 0.5}, {80: 1})
    assert box_mass(shares, torch.tensor([10, 20, 50, 80])) == 0.75


def test_a_box_within_a_bin_is_its_own_bins():
    # as wide as nothing: only the same bins are right
    shares = spread({10: 1}, {20: 1}, {10: 0.75, 11: 0.25}, {60: 1})
    assert box_mass(shares, torch.tensor([10, 20, 10, 60])) == 0.75
    assert box_mass(shares, torch.tensor([10, 20, 10, 59])) == 0


def test_what_is_no_bin_is_not_right():
    shares = spread({10: 0.5}, {20: 1}, {50: 1}, {80: 1})  # the other half: eos, say
    assert box_mass(shares, torch.tensor([10, 20, 50, 80])) == 0.5
    assert box_mass(torch.zeros(4, BINS), torch.tensor([10, 20, 50, 80])) == 0


def test_a_point_is_near_within_a_circle_of_image_px():
    # a bin is 2 px wide and 1 px high; the reach is sqrt(2) * 10 px, about 14.1
    shares = spread({50: 0.5, 57: 0.25, 58: 0.25}, {30: 1}, {50: 0.5, 55: 0.5}, {30: 0.5, 41: 0.5}).view(2, 2, BINS)
    bins = torch.tensor([[50, 30], [50, 30]])
    found = keypoint_masses(shares, bins, distances_px=torch.tensor([10.0, 10.0]), bin_px=(2.0, 1.0))
    assert found == [0.75, 0.75]  # 14 px is near, 16 is not; (10, 11) is 14.9 away


def test_at_the_right_distance_the_term_of_oks_is_one_half():
    area = 40 * 90
    (distance,) = right_distances([9], area).tolist()
    assert distance == pytest.approx(2 * SIGMAS[9] * 60 * (2 * np.log(2)) ** 0.5)
    label = np.zeros((1, 17, 2), np.float32)
    label[0, 9] = 50, 50
    near = label.copy()
    near[0, 9, 0] += distance
    assert oks(near, label, [[0, 0, 40, 90]])[0] == pytest.approx(0.5, abs=1e-4)
    assert pytest.approx(2.3548, abs=1e-4) == RIGHT_OKS


def test_words_are_products_of_their_pieces():
    assert word_probabilities([0.5, 0.5, 0.9, 0.8], [0, 0, 1, 2]) == pytest.approx((0.25, 0.9, 0.8))
    assert word_probabilities([], []) == ()
