"""What patches are read by while backbone and encoder learn to see (tasks/pretrain.py); thrown away after it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...data.text import TextEncoder
from ...utils.parsing import NUM_CLASSES, confusion_matrix, segmentation_scores
from .cells import COORDINATES, DETAIL, CellTruth, Target, is_word

RARE = -4.0  # log-odds of a tag before anything is learned
PATCHES = 4  # of each person asked about tell places in an update
PLACES = COORDINATES + 2
PLACES_WEIGHT, PARTS_WEIGHT = 2.0, 3.0  # in the loss
NEAR = 0.03  # of the side: a place that is not further off counts as found
BLUR = 1.5  # bins: standard deviation of what is asked for around a place


class CellReader(nn.Module):
    """What a patch shows: tags by a linear layer, and once more words, by their symbols; the part at each point."""

    def __init__(self, tags: Sequence[str], class_weights: Tensor, width: int, text: TextEncoder) -> None:
        """class_weights: float32 [classes], of a point in the loss, by the class that is there."""
        super().__init__()
        words = ((number, text.encode(" " + tag)) for number, tag in enumerate(tags) if is_word(tag))
        spelled = [(number, symbol) for number, symbols in words for symbol in symbols.tolist()]
        self.register_buffer("words", torch.tensor(spelled).reshape(-1, 2), persistent=False)  # tag, symbol
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.tags = nn.Linear(width, len(tags))
        self.word_bias = nn.Parameter(torch.full((len(spelled),), RARE))
        self.parts = nn.Linear(width, DETAIL**2 * NUM_CLASSES)
        nn.init.constant_(self.tags.bias, RARE)

    def forward(self, patches: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """patches: [B, P, D]; embedding: [V, D] -> log-odds of tags [B, P, tags] and of words [B, P, words], logits of
        parts [B, P, DETAIL**2, classes]."""
        words = F.linear(patches, embedding[self.words[:, 1]]).float() + self.word_bias
        return self.tags(patches).float(), words, self.parts(patches).unflatten(-1, (DETAIL**2, -1)).float()

    def losses(self, patches: Tensor, embedding: Tensor, target: CellTruth) -> dict[str, Tensor]:
        """Nats for a patch's tags and words, and for a point, by its weight."""
        tags, words, parts = self(patches, embedding)
        asked = (tags, target.tags), (words, target.tags[..., self.words[:, 0]])
        told = sum(F.binary_cross_entropy_with_logits(*x, reduction="sum") for x in asked)
        of_parts = F.cross_entropy(parts.flatten(0, 2), target.parts.flatten(), self.class_weights)
        return {"tags": told / target.tags[..., 0].numel(), "parts": PARTS_WEIGHT * of_parts}


class Tally:
    """How well a CellReader reads, summed over batches."""

    def __init__(self, tags: Sequence[str]) -> None:
        self.kinds = np.array(["word" if is_word(tag) else tag.partition(":")[0] for tag in tags])
        self.tags = torch.zeros(3, len(tags))  # found and there, found, there
        self.parts = torch.zeros(NUM_CLASSES, NUM_CLASSES, dtype=torch.long)

    def add(self, read: tuple[Tensor, Tensor, Tensor], target: CellTruth) -> None:
        """Counts a batch: what the reader gave, and the truth."""
        found = read[0] > 0
        self.tags += torch.stack([x.sum((0, 1)).float().cpu() for x in (found * target.tags, found, target.tags)])
        self.parts += confusion_matrix(read[2].argmax(-1), label=target.parts).cpu()

    def scores(self) -> dict[str, float]:
        """F1 of each kind of tag at even odds, and mIoU of the parts."""
        scores = {}
        for kind in np.unique(self.kinds):
            hits, found, there = self.tags[:, torch.from_numpy(self.kinds == kind)].sum(1)
            scores[str(kind)] = float(2 * hits / (found + there).clamp(min=1))
        return scores | {"parts, mIoU": segmentation_scores(self.parts)["miou"]}


@dataclass(frozen=True)
class Close:
    """A few patches of the people asked about. The embedding of bins is beside them, for it is what tells a place.

    states: [N, D]. bins: [K, D]. places: float32 [N, PLACES], shares of a side: x and y of the box's corners and of
    the joints in the picture, and of the patch's middle in the box; NaN: not known.
    """

    states: Tensor
    bins: Tensor
    places: Tensor

    @classmethod
    def drawn(
        cls, states: Tensor, bins: Tensor, people: Sequence[Target], side: int, rng: np.random.Generator
    ) -> "Close":
        """Of each person, at most PATCHES of the states [B, side * side (or more), D]."""
        rows, found = [], []
        for row, person in enumerate(people):
            cells, middles = person.cells(side)
            some = rng.permutation(len(cells))[:PATCHES]
            rows += [row] * len(some)
            places = np.concatenate([np.tile(person.places, (len(some), 1)), middles[some]], axis=1)
            found.append((cells[some], places))
        cells, places = (torch.from_numpy(np.concatenate(x)).to(states.device) for x in zip(*found, strict=True))
        return cls(states[rows, cells], bins, places)


class PlaceReader(nn.Module):
    """Where a patch's person is, by the symbols of bins."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.places = nn.Linear(width, PLACES * width)

    def forward(self, close: Close) -> Tensor:
        """Logits of bins [N, PLACES, K]."""
        return F.linear(self.places(close.states).unflatten(-1, (PLACES, -1)), close.bins).float()

    def loss(self, close: Close) -> Tensor:
        """Nats for a coordinate, times its weight."""
        places = self(close)
        known, last = ~close.places.isnan(), len(close.bins) - 1
        bins = torch.arange(last + 1, device=places.device)
        distance = bins - close.places[known].mul(last).clamp(0, last).unsqueeze(-1)
        wanted = distance.div(BLUR).square().div(-2).softmax(-1)
        return PLACES_WEIGHT * F.cross_entropy(places[known], wanted)

    def right(self, close: Close) -> tuple[int, int]:
        """How many places are at most NEAR off, and of how many."""
        off = (self(close).argmax(-1) / (len(close.bins) - 1) - close.places).abs()
        return int((off <= NEAR).sum()), int((~off.isnan()).sum())
