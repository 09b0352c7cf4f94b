"""Backbone and encoder learn to see what is asked about, before the whole network answers.

From nothing, answers alone teach slowly: a box asks for no colours, and what is not asked for is lost. The published
networks start from ImageNet's and OFA's weights. Here the backbone first learns what each cell of drawn pictures shows;
then the encoder, too, which part of that is the person's of a question, and where all of that person is. Words and
bins share the network's symbol embedding, so a patch and the symbols for it start alike. The checkpoint is a network
for --finetune-from-model.
"""

import argparse
import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from ...data.canvas import Placed
from ...data.text import TextEncoder
from ...models.refhcm.config import SIZES, NetworkConfig
from ...models.refhcm.loading import fit_weights
from ...models.refhcm.network import Network
from ...tasks.base import Annotation, Task
from ...utils.checkpoints import load_file, read_checkpoint, save_file
from ...utils.errors import CheckpointError, UserError
from ...utils.interrupt import Interrupt
from .cells import Cells, CellTruth, Target
from .readers import CellReader, Close, PlaceReader, Tally

logger = logging.getLogger(__name__)
WARM_UP = 100  # updates
LOG_EVERY = 50  # updates
VALID, VALID_SHARE = 256, 0.1  # at most so many pictures, or this share, are scored and not learned from
PATCH = 16  # px of a cell's side
QUESTIONS = 4  # about one picture in an update
LEAST = 0.02  # of the learning rate, at the end
SEEING = ("backbone", "encoder")
ASKED_LR = 0.25  # of the learning rate, for backbone and encoder together
ASKED = ("refcoco", "rkpt", "rpar", "rhrc")  # the tasks whose questions it hears


@dataclass(frozen=True, kw_only=True)
class PretrainSettings:
    """What a run is determined by, with its world. A resumed run must have the same."""

    arch: str
    backbone_updates: int
    updates: int
    batch_size: int
    lr: float
    seed: int
    patch_image_size: int

    def rate(self, step: int) -> float:
        """Learning rate of update `step`, from 0: in both parts up for WARM_UP updates, then down by half a cosine."""
        alone = step < self.backbone_updates
        place, length = (step, self.backbone_updates) if alone else (step - self.backbone_updates, self.updates)
        falling = max(LEAST, (1 + math.cos(math.pi * place / length)) / 2)
        return self.lr * (1 if alone else ASKED_LR) * min(1.0, (place + 1) / WARM_UP) * falling


class PretrainTrainer:
    """Network, readers, optimiser and progress of one run; all of it is in the checkpoint."""

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
        self.settings, self.cells, self.tasks, self.step, self.device = settings, cells, tasks, 0, device
        order = np.random.default_rng(settings.seed).permutation(len(cells))
        self.valid, self.train = np.split(order, [min(VALID, int(VALID_SHARE * len(cells)))])
        self.vocabulary = text.vocabulary
        self.network = Network(
            NetworkConfig(**SIZES[settings.arch]), len(self.vocabulary), padding_idx=self.vocabulary.pad()
        )
        self.encoder = self.network.to(device).encoder
        width = self.encoder.config.encoder_embed_dim
        of_backbone, of_encoder = (CellReader(cells.tags, cells.class_weights(), width, text) for _ in range(2))
        self.readers = nn.ModuleList([of_backbone, of_encoder, PlaceReader(width)]).to(device)
        self.parameters = [*self.encoder.parameters(), *self.readers.parameters()]
        given = {"betas": (0.9, 0.98), "weight_decay": 0.01, "fused": True}
        self.optimizer = torch.optim.AdamW(self.parameters, lr=settings.lr, **given)

    def update(self) -> dict[str, float]:
        """One step; the losses."""
        torch.manual_seed(self.settings.seed + self.step)  # dropout does not depend on the past
        self.network.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.rate(self.step)
        rng = np.random.default_rng((self.settings.seed, self.step))  # so a resumed run sees what it would have
        alone = self.step < self.settings.backbone_updates
        pictures = self.settings.batch_size // (1 if alone else QUESTIONS)
        chosen = rng.choice(self.train, pictures, replace=False)
        with torch.autocast(self.device.type, torch.bfloat16):
            losses = self.losses(chosen, None if alone else rng)
        loss = sum(losses.values())
        if not loss.isfinite():
            raise UserError(f"update {self.step + 1}: the loss is {loss.item()}: try a smaller --lr")
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.step += 1
        return {name: value.item() for name, value in losses.items()}

    def losses(self, chosen: np.ndarray, rng: np.random.Generator | None) -> dict[str, Tensor]:
        """Two losses: the backbone describes everybody, the encoder the person asked about. rng: draws questions."""
        patches, states, targets, asked = self._seen(chosen, rng)
        embedding, losses = self.encoder.embed_tokens.weight, {}
        for name, reader, x, target in zip(SEEING, self.readers[:2], (patches, states), targets, strict=True):
            if target is not None:
                losses |= {f"{name} {what}": loss for what, loss in reader.losses(x, embedding, target).items()}
        return losses if rng is None else losses | {"places": self.readers[2].loss(self._close(states, asked, rng))}

    def _close(self, states: Tensor, asked: Sequence[Target], rng: np.random.Generator) -> Close:
        bins = self.vocabulary.bin_ids
        embedding = self.encoder.embed_tokens.weight[bins.start : bins.stop]
        return Close.drawn(states, embedding, asked, self.cells.side, rng)

    def _seen(
        self, chosen: np.ndarray, rng: np.random.Generator | None
    ) -> tuple[Tensor, Tensor | None, tuple[CellTruth, CellTruth | None], list[Target]]:
        """Patches and states, what they should show, and who is asked about."""
        pictures = torch.from_numpy(self.cells.pictures[chosen]).to(self.device).float().div_(127.5).sub_(1)
        image_features = self.encoder.encode_image(pictures)
        people = [self.cells.people[index] for index in chosen]
        everything = self.cells.target(people).to(self.device)
        if rng is None:
            return image_features.patches, None, (everything, None), []
        rows = np.repeat(np.arange(len(chosen)), QUESTIONS)
        asked = [people[row][rng.integers(len(people[row]))] for row in rows]
        sources = pad_sequence([self._source(one, rng) for one in asked], True, self.vocabulary.pad()).to(self.device)
        places = torch.from_numpy(rows).to(self.device)
        masks = torch.ones_like(places, dtype=torch.bool)
        states = self.encoder(sources, patch_masks=masks, patch_rows=places, image_features=image_features).states
        target = self.cells.target([[one] for one in asked]).to(self.device)
        return image_features.patches, states[:, : target.tags.shape[1]], (everything, target), asked

    def _source(self, person: Target, rng: np.random.Generator) -> Tensor:
        """A question about a person, as one of the tasks asks it."""
        task, size = self.tasks[rng.integers(len(self.tasks))], self.settings.patch_image_size
        said = person.expressions[rng.integers(len(person.expressions))]
        box_xyxy = (person.box_xyxy * size).astype(np.float32)
        one = Annotation("", "", None, box_xyxy=box_xyxy, expression=said)
        bos, eos = torch.tensor([self.vocabulary.bos()]), torch.tensor([self.vocabulary.eos()])
        return torch.cat([bos, task.source(one, Placed(torch.empty(0), 1.0, 1.0)), eos])

    @torch.no_grad()
    def score(self) -> dict[str, float]:
        """Of pictures not learned from: F1 of each kind of tag at even odds, mIoU of parts, and close places' share."""
        self.network.eval()
        tallies = [Tally(self.cells.tags) for _ in SEEING]
        near, rng = np.zeros(2), np.random.default_rng(self.settings.seed)
        for chosen in np.array_split(self.valid, -(-len(self.valid) // 32)):
            patches, states, targets, asked = self._seen(chosen, rng)
            near += self.readers[2].right(self._close(states, asked, rng))
            for tally, reader, x, target in zip(tallies, self.readers[:2], (patches, states), targets, strict=True):
                tally.add(reader(x, self.encoder.embed_tokens.weight), target)
        named = zip(SEEING, tallies, strict=True)
        scores = {f"{name} {what}": score for name, tally in named for what, score in tally.scores().items()}
        return scores | {"places": near[0] / max(near[1], 1)}

    def _fixed(self) -> dict[str, Any]:
        """What must not change between the parts of a run."""
        return asdict(self.settings) | {"symbols": len(self.vocabulary), "tags": list(self.cells.tags)}

    def save(self, path: Path) -> None:
        """Writes the checkpoint, whole or not at all."""
        flags = argparse.Namespace(arch=self.settings.arch)
        run = {"settings": self._fixed(), "step": self.step}
        run |= {"optimizer": self.optimizer.state_dict(), "readers": self.readers.state_dict()}
        save_file({"args": None, "cfg": {"model": flags}, "model": self.network.state_dict(), "pretrain": run}, path)

    def start_from(self, path: Path) -> None:
        """Takes the weights of a network, and nothing else. CheckpointError if it is of another size."""
        checkpoint = read_checkpoint(path)
        fitted, report = fit_weights(checkpoint.weights, self.network, where=str(path))
        self.network.load_state_dict(fitted, strict=False)
        report.log(str(path))

    def resume(self, path: Path) -> None:
        """Takes up a run where `save` left it. CheckpointError if it is of other settings or another world."""
        content = load_file(path)
        run: dict[str, Any] | None = content.get("pretrain") if isinstance(content, dict) else None
        if run is None:
            raise CheckpointError(f"{path}: holds no such training to go on from: choose another --save-dir")
        for name, value in self._fixed().items():
            kept = run["settings"].get(name)
            if kept != value:
                raise CheckpointError(f"{path}: was trained with {name} {kept}, now it is {value}")
        try:
            self.network.load_state_dict(content["model"])
            self.readers.load_state_dict(run["readers"])
            self.optimizer.load_state_dict(run["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{path}: is of another version of this training: choose another --save-dir"
            ) from error
        self.step = run["step"]


def train(trainer: PretrainTrainer, checkpoint: Path, *, save_every: int) -> bool:
    """Runs to the end, saving on the way; False if Ctrl-C ended it before (it has saved)."""
    last, sums, since = trainer.settings.backbone_updates + trainer.settings.updates, Counter(), trainer.step
    with Interrupt() as interrupt, tqdm(total=last, initial=trainer.step, desc="pretrain", unit="update") as progress:
        while trainer.step < last and not interrupt.asked:
            losses = trainer.update()
            sums.update(losses)
            progress.set_postfix(losses, refresh=False)
            progress.update()
            if trainer.step % LOG_EVERY == 0 or trainer.step == last:
                shown = ", ".join(f"{name} {total / (trainer.step - since):.3f}" for name, total in sums.items())
                logger.info("update %d of %d: loss %s", trainer.step, last, shown)
                sums, since = Counter(), trainer.step
            if trainer.step % save_every == 0 or interrupt.asked or trainer.step == last:
                trainer.save(checkpoint)
    return trainer.step == last
