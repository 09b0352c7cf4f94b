"""Backbone and encoder learn to see what is asked about, before the whole network answers.

From random weights, answers alone teach slowly: a box asks for no colours, and what is not asked for is lost. The
published networks start from weights of ImageNet and OFA. Here the backbone first learns what each cell of a drawn
picture shows. Then the encoder, too, learns which part of that belongs to whom it is asked about, who may be nobody or
several, and where all of a person is. Words and bins share the network's symbol embedding, so a patch and the symbols
for it start alike. The checkpoint is a network for --finetune-from-model.
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ...data.annotation import Annotation
from ...data.canvas import Placed
from ...data.columns import NO_EXPRESSION
from ...data.text import TextEncoder
from ...models.refhcm.config import SIZES, NetworkConfig
from ...models.refhcm.encoder import ImageFeatures
from ...models.refhcm.loading import fit_weights
from ...models.refhcm.network import Network
from ...tasks.base import Task
from ...utils.checkpoints import load_file, read_checkpoint
from ..stepper import Stepper
from .cells import Cells, CellTruth, Target
from .readers import CellReader, Close, PlaceReader, Tally

WARM_UP = 100  # updates
VALID, VALID_SHARE = 256, 0.1  # at most so many pictures, and at most this share, are scored and not learned from
QUESTIONS = 4  # about one picture in an update
LEAST = 0.02  # of the learning rate, at the end
ASKED_LR = 0.25  # of the learning rate, for backbone and encoder together
Value = TypeVar("Value")
ASKED = ("refcoco", "rkpt", "rpar", "rhrc", "grec")  # the tasks whose questions are used; the last, for everyone
GROUPS, BY_BOX = 0.4, 0.25  # shares of the questions for everyone, and by box where an expression could be used


@dataclass(frozen=True, kw_only=True)
class PretrainSettings:
    """What decides a run, besides its world."""

    arch: str
    backbone_updates: int
    updates: int
    batch_size: int
    lr: float
    seed: int
    patch_image_size: int
    data: str = ""  # mark of the worlds' facts

    def rate(self, step: int) -> float:
        """Learning rate of update `step`, from 0: in both parts up for WARM_UP updates, then down by half a cosine."""
        alone = step < self.backbone_updates
        place, length = (step, self.backbone_updates) if alone else (step - self.backbone_updates, self.updates)
        falling = max(LEAST, (1 + math.cos(math.pi * place / length)) / 2)
        return self.lr * (1 if alone else ASKED_LR) * min(1.0, (place + 1) / WARM_UP) * falling


class Asked(NamedTuple):
    """The encoder's states of Q questions, [Q, P, D], what cells show of the people asked about, and a few patches."""

    states: Tensor
    shown: CellTruth
    close: Close


class PretrainTrainer(Stepper[np.random.Generator]):
    """Trains network and readers. A batch is the source of its chance: which pictures, which questions."""

    name, max_norm = "pretrain", 1.0

    def __init__(
        self,
        settings: PretrainSettings,
        cells: Cells,
        text: TextEncoder,
        tasks: Sequence[Task],
        *,
        device: torch.device,
    ) -> None:
        torch.manual_seed(settings.seed)
        self.settings: PretrainSettings = settings
        self.updates = settings.backbone_updates + settings.updates
        self.cells, self.tasks, self.device = cells, tasks, device
        order = np.random.default_rng(settings.seed).permutation(len(cells))
        self.valid, self.train = np.split(order, [min(VALID, int(VALID_SHARE * len(cells)))])
        self.vocabulary = text.vocabulary
        config = NetworkConfig(**SIZES[settings.arch])
        self.network = Network(config, len(self.vocabulary), padding_idx=self.vocabulary.pad())
        self.encoder = self.network.to(device).encoder
        width = self.encoder.config.encoder_embed_dim
        weights = cells.class_weights()
        self.patch_reader, self.state_reader = (CellReader(cells.tags, weights, width, text) for _ in range(2))
        self.place_reader = PlaceReader(width)
        self.readers = nn.ModuleList([self.patch_reader, self.state_reader, self.place_reader]).to(device)
        self.optimizer = torch.optim.AdamW(
            [*self.encoder.parameters(), *self.readers.parameters()],
            lr=settings.lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True,
        )  # fmt: skip

    def batches(self) -> Iterator[np.random.Generator]:
        """By seed and step alone, so that a resumed run sees the same pictures and questions."""
        while self.step < self.updates:
            yield np.random.default_rng((self.settings.seed, self.step))

    def rate(self) -> float:
        """As the settings say."""
        return self.settings.rate(self.step)

    def losses(self, batch: np.random.Generator) -> dict[str, Tensor]:
        """The backbone describes every person of a picture; after its own updates the encoder the one asked about."""
        self.network.train()
        alone = self.step < self.settings.backbone_updates
        chosen = batch.choice(self.train, self.settings.batch_size // (1 if alone else QUESTIONS), replace=False)
        with torch.autocast(self.device.type, torch.bfloat16):
            features, shown = self._see(chosen)
            losses = _named("backbone", self.patch_reader.losses(features.patches, self._embedding, shown))
            if alone:
                return losses
            asked = self._ask(chosen, features, batch)
            losses |= _named("encoder", self.state_reader.losses(asked.states, self._embedding, asked.shown))
            return losses | {"places": self.place_reader.loss(asked.close)}

    @property
    def _embedding(self) -> Tensor:
        return self.encoder.embed_tokens.weight

    def _see(self, chosen: np.ndarray) -> tuple[ImageFeatures, CellTruth]:
        """What the backbone sees in pictures, and what they show of everybody."""
        pictures = torch.from_numpy(self.cells.pictures[chosen]).to(self.device).float().div_(127.5).sub_(1)
        shown = self.cells.target([self.cells.people[index] for index in chosen])
        return self.encoder.encode_image(pictures), shown.to(self.device)

    def _ask(self, chosen: np.ndarray, features: ImageFeatures, rng: np.random.Generator) -> Asked:
        """QUESTIONS about people of each picture."""
        questions = [self._question(row, rng, alone=k == 0) for row in chosen for k in range(QUESTIONS)]
        asked = [people for _, people in questions]
        sources = pad_sequence([ids for ids, _ in questions], True, self.vocabulary.pad()).to(self.device)
        places = torch.arange(len(chosen), device=self.device).repeat_interleave(QUESTIONS)
        masks = torch.ones_like(places, dtype=torch.bool)
        states = self.encoder(sources, patch_masks=masks, patch_rows=places, image_features=features).states
        shown = self.cells.target(asked).to(self.device)
        bins = self.vocabulary.bin_ids
        close = Close.drawn(states, self._embedding[bins.start : bins.stop], asked, self.cells.side, rng)
        return Asked(states[:, : self.cells.side**2], shown, close)

    def _question(self, row: int, rng: np.random.Generator, *, alone: bool) -> tuple[Tensor, list[Target]]:
        """Ids of a question about a picture, and whom it is about. alone: one person, so that places are learned."""
        (*tasks, everyone), groups = self.tasks, self.cells.groups[row]
        if groups and not alone and rng.random() < GROUPS:
            text, people = groups[rng.integers(len(groups))]
            return self._source(everyone, Annotation("", "", None, expression=text)), people
        task = tasks[rng.integers(len(tasks))]
        person = self.cells.people[row][rng.integers(len(self.cells.people[row]))]
        box_xyxy = (person.box_xyxy * self.settings.patch_image_size).astype(np.float32)
        by_box = task.asks_by_box and rng.random() < BY_BOX
        text = NO_EXPRESSION if by_box else person.expressions[rng.integers(len(person.expressions))]
        return self._source(task, Annotation("", "", None, box_xyxy=box_xyxy, expression=text)), [person]

    def _source(self, task: Task, annotation: Annotation) -> Tensor:
        return torch.from_numpy(task.whole_source(annotation, Placed(np.empty(0, np.float32), 1.0, 1.0)))

    @torch.no_grad()
    def score(self) -> dict[str, float]:
        """On the held-out pictures: F1 of each kind of tag, mIoU of parts, and the share of places within NEAR."""
        self.network.eval()
        backbone, encoder = Tally(self.cells.tags), Tally(self.cells.tags)
        near, rng = np.zeros(2), np.random.default_rng(self.settings.seed)
        for chosen in np.array_split(self.valid, -(-len(self.valid) // 32)):
            features, shown = self._see(chosen)
            backbone.add(self.patch_reader(features.patches, self._embedding), shown)
            asked = self._ask(chosen, features, rng)
            encoder.add(self.state_reader(asked.states, self._embedding), asked.shown)
            near += self.place_reader.right(asked.close)
        scores = _named("backbone", backbone.scores()) | _named("encoder", encoder.scores())
        return scores | {"places": near[0] / max(near[1], 1)}

    def fixed(self) -> dict[str, Any]:
        """The settings, and what the vocabulary and the world decide."""
        return super().fixed() | {"symbols": len(self.vocabulary), "tags": list(self.cells.tags)}

    def content(self) -> dict[str, Any]:
        """A fairseq checkpoint of the network, with the run under `pretrain`."""
        run = self.progress() | {"readers": self.readers.state_dict()}
        flags = argparse.Namespace(arch=self.settings.arch)
        return {"args": None, "cfg": {"model": flags}, "model": self.network.state_dict(), "pretrain": run}

    def read(self, path: Path) -> dict[str, Any]:
        """The run, and the network's weights."""
        content = load_file(path)
        if not isinstance(content, dict) or "pretrain" not in content:
            return {}
        return content["pretrain"] | {"model": content["model"]}

    def load(self, state: dict[str, Any], path: Path) -> None:
        """Network and readers."""
        self.network.load_state_dict(state["model"])
        self.readers.load_state_dict(state["readers"])

    def start_from(self, path: Path) -> None:
        """Takes over the weights of a network, and nothing else. CheckpointError if its size differs."""
        fitted, report = fit_weights(read_checkpoint(path).weights, self.network, where=str(path))
        self.network.load_state_dict(fitted, strict=False)
        report.log(str(path))


def _named(name: str, values: dict[str, Value]) -> dict[str, Value]:
    return {f"{name} {what}": value for what, value in values.items()}
