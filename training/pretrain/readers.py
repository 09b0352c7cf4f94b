"""Heads that read patches while backbone and encoder learn to see; they are not part of the network that results."""

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
PATCHES = 4  # of each person asked about, from which places are read in an update
PLACES = COORDINATES + 2
PLACES_WEIGHT, PARTS_WEIGHT = 2.0, 3.0  # in the loss
NEAR = 0.03  # of the side: a place at most this far off counts as found
BLUR = 1.5  # bins: standard deviation of the target around a place


class CellReader(nn.Module):
    """What a patch shows: tags by a linear layer, words also by their symbols, and the part at each point."""

    words: Tensor
    class_weights: Tensor

    def __init__(self, tags: Sequence[str], class_weights: Tensor, width: int, text: TextEncoder) -> None:
        """class_weights: float32 [classes], weight of a point in the loss, by its true class."""
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
        """patches [B, P, D], embedding [V, D] -> log-odds of tags [B, P, tags] and of words' symbols [B, P, W], and
        logits of parts [B, P, DETAIL**2, classes]."""
        words = F.linear(patches, embedding[self.words[:, 1]]).float() + self.word_bias
        return self.tags(patches).float(), words, self.parts(patches).unflatten(-1, (DETAIL**2, -1)).float()

    def losses(self, patches: Tensor, embedding: Tensor, target: CellTruth) -> dict[str, Tensor]:
        """tags: nats for a patch's tags and words. parts: weighted nats for a point."""
        tags, words, parts = self(patches, embedding)
        nats = F.binary_cross_entropy_with_logits(tags, target.tags, reduction="sum")
        nats += F.binary_cross_entropy_with_logits(words, target.tags[..., self.words[:, 0]], reduction="sum")
        of_parts = F.cross_entropy(parts.flatten(0, 2), target.parts.flatten(), self.class_weights)
        return {"tags": nats / target.tags[..., 0].numel(), "parts": PARTS_WEIGHT * of_parts}


class Tally:
    """How well a CellReader reads, summed over batches."""

    def __init__(self, tags: Sequence[str]) -> None:
        self.kinds = np.array(["word" if is_word(tag) else tag.partition(":")[0] for tag in tags])
        self.tags = torch.zeros(3, len(tags))  # found and there, found, there
        self.parts = np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64)

    def add(self, read: tuple[Tensor, Tensor, Tensor], target: CellTruth) -> None:
        """Counts a batch. read: what the reader's `forward` gives."""
        found = read[0] > 0
        self.tags += torch.stack([x.sum((0, 1)).float().cpu() for x in (found * target.tags, found, target.tags)])
        self.parts += confusion_matrix(read[2].argmax(-1).cpu(), label=target.parts.cpu())

    def scores(self) -> dict[str, float]:
        """F1 of each kind of tag (told where its odds are even or better), and mIoU of the parts."""
        scores: dict[str, float] = {}
        for kind in np.unique(self.kinds):
            hits, found, there = self.tags[:, torch.from_numpy(self.kinds == kind)].sum(1)
            scores[str(kind)] = float(2 * hits / (found + there).clamp(min=1))
        return scores | {"parts, mIoU": float(segmentation_scores(self.parts)["miou"])}


@dataclass(frozen=True)
class Close:
    """A few patches of the people asked about, and the embedding of bins, by which their places are read.

    states: [N, D]. bins: [K, D]. places: float32 [N, PLACES], shares of a side: x and y of the box's corners and of
    the joints in the picture, and of the patch's middle in the box; NaN where unknown.
    """

    states: Tensor
    bins: Tensor
    places: Tensor

    @classmethod
    def drawn(
        cls, states: Tensor, bins: Tensor, people: Sequence[Sequence[Target]], side: int, rng: np.random.Generator
    ) -> "Close":
        """At most PATCHES of each question about one person. states: [B, side * side or more, D], a question a row."""
        rows: list[int] = []
        picked, known = [], []
        for row, asked in enumerate(people):
            if len(asked) != 1:
                continue
            (person,) = asked
            cells, middles = person.cells(side)
            some = rng.permutation(len(cells))[:PATCHES]
            rows += [row] * len(some)
            picked.append(cells[some])
            known.append(np.concatenate([np.tile(person.places, (len(some), 1)), middles[some]], axis=1))
        patches, places = (torch.from_numpy(np.concatenate(x)).to(states.device) for x in (picked, known))
        return cls(states[rows, patches], bins, places)


class PlaceReader(nn.Module):
    """Where a patch's person is, by the embedding of bins."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.places = nn.Linear(width, PLACES * width)

    def forward(self, close: Close) -> Tensor:
        """Logits of bins [N, PLACES, K]."""
        return F.linear(self.places(close.states).unflatten(-1, (PLACES, -1)), close.bins).float()

    def loss(self, close: Close) -> Tensor:
        """Nats for a coordinate, times PLACES_WEIGHT."""
        places = self(close)
        known, last = ~close.places.isnan(), len(close.bins) - 1
        bins = close.places[known].mul(last).clamp(0, last).unsqueeze(-1)
        distance = torch.arange(last + 1, device=places.device) - bins
        wanted = distance.div(BLUR).square().div(-2).softmax(-1)
        return PLACES_WEIGHT * F.cross_entropy(places[known], wanted)

    def right(self, close: Close) -> tuple[int, int]:
        """How many places are at most NEAR off, and how many are known."""
        off = (self(close).argmax(-1) / (len(close.bins) - 1) - close.places).abs()
        return int((off <= NEAR).sum()), int((~off.isnan()).sum())
