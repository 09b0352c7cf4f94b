"""Relative position buckets, grids and biases by hand (docs/network.md, "Positions")."""

import math

import pytest
import torch
from torch.testing import assert_close

from refhcm.models.refhcm import Network, NetworkConfig
from refhcm.models.refhcm.positions import (
    bias_of,
    image_bias,
    image_buckets,
    image_positions,
    sinusoids,
    token_buckets,
    with_relative,
)

SIZE = {"arch": "refhcm_test", "encoder_embed_dim": 32, "encoder_ffn_embed_dim": 32, "resnet_width": 8}


def published_bucket(relative, size):
    """The formula of docs/network.md for one pair."""
    middle, sign = size // 2, (relative > 0) - (relative < 0)
    distance = middle - 1 if -middle < relative < middle else abs(relative)
    if distance <= middle:
        return relative + size - 1
    far = math.ceil(math.log(distance / middle) / math.log(1023 / middle) * (middle - 1)) + middle
    return far * sign + size - 1


@pytest.mark.parametrize("size", [8, 64])
def test_token_buckets_follow_the_formula(size):
    buckets = token_buckets(300, size)
    for i, j in ((0, 0), (5, 2), (2, 5), (299, 0), (0, 299), (200, 77), (50, 50 + size // 2), (60, 59 - size // 2)):
        assert int(buckets[i, j]) == published_bucket(i - j, size), (i, j)
    assert buckets.min() >= 0
    assert buckets.max() <= 2 * size - 2


def test_near_tokens_have_buckets_of_their_own():
    assert token_buckets(3, 8).tolist() == [[7, 6, 5], [8, 7, 6], [9, 8, 7]]


def test_rows_of_a_grid_that_is_not_square():
    assert image_positions(2, 3, 12).tolist() == [1, 2, 3, 13, 14, 15]
    assert image_positions(3, 2, 12).tolist() == [1, 2, 13, 14, 25, 26]
    assert image_positions(0, 0, 12).tolist() == []


def test_image_buckets_of_a_two_by_two_grid():
    # side 3: a pair dr rows and dc columns apart has bucket (dr + 1) * 3 + dc + 1; "no position" has the last three
    buckets = image_buckets(torch.arange(5), 2)
    assert buckets.tolist() == [
        [11, 9, 9, 9, 9],
        [10, 4, 3, 1, 0],
        [10, 5, 4, 2, 1],
        [10, 7, 6, 4, 3],
        [10, 8, 7, 5, 4],
    ]


@pytest.mark.parametrize("grid", [(2, 3), (3, 2), (4, 4), (1, 1), (1, 4), (0, 0)])
def test_biases_of_a_grid(grid):
    table = torch.randn((2 * 4 - 1) ** 2 + 3, 5)
    assert torch.equal(image_bias(table, grid, 4), bias_of(table, image_buckets(image_positions(*grid, 4), 4)))


def test_relative_biases_keep_to_their_blocks():
    torch.manual_seed(0)
    encoder = Network(NetworkConfig.from_args(SIZE), 30).encoder
    text = token_buckets(3, 64)
    for linear in (encoder.pos_q_linear, encoder.pos_k_linear):  # no absolute bias
        torch.nn.init.zeros_(linear.weight)
    _, bias = (make()[0] for make in encoder._makers((1, 2), 3))
    image_table, token_table = (
        tables[1].weight for tables in (encoder.image_rel_pos_table_list, encoder.token_rel_pos_table_list)
    )
    assert torch.equal(bias[:, :2, 2:], torch.zeros(4, 2, 3))
    assert torch.equal(bias[:, 2:, :2], torch.zeros(4, 3, 2))
    assert_close(bias[:, 0, 1], image_table[11 * 23 + 10])  # one column to the right: c_i - c_j = -1
    assert_close(bias[:, 4, 2], token_table[63 + 2])  # two symbols back
    assert_close(bias_of(token_table, text)[3], token_table[:, 3][text])


def test_a_longer_text_does_not_move_the_patches():
    torch.manual_seed(0)
    encoder = Network(NetworkConfig.from_args(SIZE), 30).encoder
    short, long = (encoder._positions((2, 3), length)[1][0] for length in (2, 5))
    assert_close(long[:8], short)
    norm = encoder.image_pos_ln
    assert_close(short[4], norm(encoder.embed_image_positions.weight[14]))
    assert_close(long[10], encoder.pos_ln(encoder.embed_positions.weight[4]))


def test_sinusoids_by_hand():
    made = sinusoids(torch.arange(4), 6, longest=100)  # waves of 1, 10 and 100
    for position in range(4):
        angles = [position / wave for wave in (1, 10, 100)]
        assert_close(made[position], torch.tensor([f(a) for a in angles for f in (math.sin, math.cos)]))


def test_positions_that_start_as_sinusoids_tell_rows_and_columns_apart():
    encoder = Network(NetworkConfig.from_args(SIZE | {"sinusoidal_positions": True}), 10).encoder
    side = encoder.config.image_bucket_size
    grid = encoder.embed_image_positions.weight[1:].view(side, side, -1).detach()
    half = grid.shape[-1] // 2
    assert_close(grid[3, 1, :half], grid[3, 7, :half])  # the first half tells the row
    assert_close(grid[3, 1, half:], grid[9, 1, half:])  # the second half tells the column
    assert_close(grid[5, 2, :half], grid[2, 5, half:])
    assert torch.cdist(grid.flatten(0, 1), grid.flatten(0, 1)).fill_diagonal_(1).min() > 0.1
    texts = encoder.embed_positions.weight[:, :2].detach()
    assert_close(texts[2], 0.5 * torch.tensor([math.sin(2), math.cos(2)]))


def test_gradients_of_relative_biases_are_torch_s_own():
    torch.manual_seed(0)
    image, text = image_buckets(image_positions(2, 3, 4), 4), token_buckets(5, 8)
    inputs = [torch.randn(shape, dtype=torch.float64) for shape in ((1, 2, 11, 11), (52, 2), (15, 2))]
    weights = torch.randn(1, 2, 11, 11, dtype=torch.float64)

    def gradients(biases_of):
        leaves = [x.clone().requires_grad_() for x in inputs]
        (biases_of(*leaves) * weights).sum().backward()
        return [leaf.grad for leaf in leaves]

    def plain(absolute, image_table, text_table):
        text_rows = torch.nn.functional.pad(text_table[text].permute(2, 0, 1), (6, 0, 6, 0))
        return absolute + torch.nn.functional.pad(image_table[image].permute(2, 0, 1), (0, 5, 0, 5)) + text_rows

    ours = gradients(lambda absolute, i, t: with_relative(absolute, image_bias(i, (2, 3), 4), bias_of(t, text)))
    for mine, its in zip(ours, gradients(plain), strict=True):
        assert_close(mine, its)
