"""What patches are read by while trunk and encoder learn to see (tasks/pretrain.py); thrown away after it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.synthetic.cells import COORDINATES, DETAIL, Person, is_word
from ..data.text import TextEncoder
from ..utils.parsing import NUM_CLASSES

RARE = -4.0  # log-odds of a tag before anything is learned
PATCHES = 4  # of each person asked about are read closely in an update
PLACES = COORDINATES + 2
PLACES_WEIGHT, PARTS_WEIGHT = 2.0, 3.0  # in the loss
NEAR = 0.03  # of the side: a place that is not further off counts as found
BLUR = 1.5  # bins: standard deviation of what is asked for around a place


class TagReader(nn.Module):
    """What a patch shows: log-odds of all tags, by a linear layer, and once more of words, by their symbols."""

    def __init__(self, tags: Sequence[str], width: int, text: TextEncoder) -> None:
        super().__init__()
        words = ((number, text.encode(" " + tag)) for number, tag in enumerate(tags) if is_word(tag))
        spelled = [(number, symbol) for number, symbols in words for symbol in symbols.tolist()]
        self.register_buffer("words", torch.tensor(spelled).reshape(-1, 2), persistent=False)  # tag, symbol
        self.linear = nn.Linear(width, len(tags))
        self.word_bias = nn.Parameter(torch.full((len(spelled),), RARE))
        nn.init.constant_(self.linear.bias, RARE)

    def forward(self, patches: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """patches: [B, P, D]; embedding: [V, D] -> log-odds [B, P, tags] and [B, P, words]."""
        return self.linear(patches).float(), F.linear(patches, embedding[self.words[:, 1]]).float() + self.word_bias

    def loss(self, patches: Tensor, embedding: Tensor, target: Tensor) -> Tensor:
        """Nats for a patch; target: float32 [B, P, tags]."""
        tags, words = self(patches, embedding)
        asked = (tags, target), (words, target[..., self.words[:, 0]])
        return sum(F.binary_cross_entropy_with_logits(*x, reduction="sum") for x in asked) / target[..., 0].numel()


@dataclass(frozen=True)
class Close:
    """A few patches of the people asked about. The embedding of bins is beside them, for it is what tells a place.

    states: [N, D]. bins: [K, D]. places: float32 [N, PLACES], shares of a side: x and y of the box's corners and of
    the joints in the picture, and of the patch's middle in the box; NaN: not known. parts: int64 [N, DETAIL**2].
    """

    states: Tensor
    bins: Tensor
    places: Tensor
    parts: Tensor

    @classmethod
    def drawn(
        cls, states: Tensor, bins: Tensor, people: Sequence[Person], side: int, rng: np.random.Generator
    ) -> "Close":
        """Of each person, at most PATCHES of the states [B, side * side (or more), D]."""
        rows, found = [], []
        for row, person in enumerate(people):
            cells, middles, parts = person.cells(side)
            some = rng.permutation(len(cells))[:PATCHES]
            rows += [row] * len(some)
            places = np.concatenate([np.tile(person.places, (len(some), 1)), middles[some]], axis=1)
            found.append((cells[some], places, parts[some].astype(np.int64)))
        cells, places, parts = (torch.from_numpy(np.concatenate(x)).to(states.device) for x in zip(*found, strict=True))
        return cls(states[rows, cells], bins, places, parts)


class CloseReader(nn.Module):
    """Where a patch's person is, by the symbols of bins, and which part of them is at its points."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.places = nn.Linear(width, PLACES * width)
        self.parts = nn.Linear(width, DETAIL**2 * NUM_CLASSES)

    def forward(self, close: Close) -> tuple[Tensor, Tensor]:
        """Logits of bins [N, PLACES, K] and of parts [N, DETAIL**2, classes]."""
        places = F.linear(self.places(close.states).unflatten(-1, (PLACES, -1)), close.bins)
        return places.float(), self.parts(close.states).unflatten(-1, (DETAIL**2, -1)).float()

    def losses(self, close: Close) -> dict[str, Tensor]:
        """Nats for a coordinate and for a point, each times its weight."""
        places, parts = self(close)
        known, last = ~close.places.isnan(), len(close.bins) - 1
        bins = torch.arange(last + 1, device=places.device)
        distance = bins - close.places[known].mul(last).clamp(0, last).unsqueeze(-1)
        wanted = distance.div(BLUR).square().div(-2).softmax(-1)
        return {
            "places": PLACES_WEIGHT * F.cross_entropy(places[known], wanted),
            "parts": PARTS_WEIGHT * F.cross_entropy(parts.flatten(0, 1), close.parts.flatten()),
        }

    def right(self, close: Close) -> dict[str, tuple[int, int]]:
        """How many places are at most NEAR off, and how many points of parts are told right; of how many."""
        places, parts = self(close)
        off = (places.argmax(-1) / (len(close.bins) - 1) - close.places).abs()
        seen, told = close.parts > 0, parts.argmax(-1) == close.parts
        pairs = {"places": (off <= NEAR, ~off.isnan()), "parts": (told & seen, seen)}
        return {name: (int(hits.sum()), int(of.sum())) for name, (hits, of) in pairs.items()}
