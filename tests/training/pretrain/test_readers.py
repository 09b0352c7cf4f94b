"""Places and tallies of the heads that read patches, by hand."""

import numpy as np
import pytest
import torch

from refhcm.training.pretrain.cells import CellTruth
from refhcm.training.pretrain.readers import PLACES, Close, PlaceReader, Tally


def test_a_tally_is_f1_and_miou():
    """Two of four cells show the tag; two are found, one of them correctly. One of 64 points is wrong."""
    tally = Tally(("red", "mark:person"))
    tags, parts = torch.zeros(1, 4, 2), torch.zeros(1, 4, 16, dtype=torch.long)
    tags[0, :2, 1] = 1
    found = torch.full((1, 4, 2), -1.0)
    found[0, 1:3, 1] = 1
    told = torch.nn.functional.one_hot(parts, 20).float()
    told[0, 0, 0, 3] = 2
    tally.add((found, torch.empty(0), told), CellTruth(tags, parts))
    assert tally.scores() == {"word": 0, "mark": 0.5, "parts, mIoU": pytest.approx(63 / 64 / 2)}


def test_places_are_read_by_the_symbols_of_bins():
    """One patch, read by hand with the embedding of bins."""
    torch.manual_seed(0)
    reader, bins = PlaceReader(8), torch.randn(64, 8)
    close = Close(torch.randn(1, 8), bins, torch.full((1, PLACES), torch.nan))
    close.places[0, :3] = torch.tensor([0.0, 20.4 / 63, 1.0])
    places = reader(close)
    assert places.shape == (1, PLACES, 64)
    second = reader.places.weight[8:16] @ close.states[0] + reader.places.bias[8:16]
    torch.testing.assert_close(places[0, 1], bins @ second)
    nats = []
    for place, logits in zip((0.0, 20.4, 63.0), places[0, :3], strict=True):
        wanted = np.exp(-((np.arange(64) - place) ** 2) / (2 * 1.5**2))
        nats.append(-(wanted / wanted.sum() * logits.log_softmax(-1).detach().numpy()).sum())
    assert reader.loss(close).item() == pytest.approx(2 * np.mean(nats), rel=1e-5)
    found = places.argmax(-1)[0] / 63
    close.places[0, :3] = found[:3] + torch.tensor([0.029, -0.029, 0.031])
    assert reader.right(close) == (2, 3)
