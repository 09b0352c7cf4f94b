"""Training of the parsing-map tokenizer (docs/tokenizer.md; the published repository has no such command).

A codebook that starts at random, far from the latents, collapses to a few codes. So the first updates train encoder and
decoder without it; then it is placed by k-means on the latents, and rows that go out of use are placed anew.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, default_collate

from ...models.vqgan.config import VQConfig
from ...models.vqgan.tokenizer import VQTokenizer, load_weights, read_lightning_checkpoint
from ..stepper import Batch, Stepper
from .masks import Draws, refuse_bad

logger = logging.getLogger(__name__)

WARM_UP = 0.2  # share of the updates that train without the codebook
SETTLED = 0.8  # share after which rows of the codebook are no longer placed anew
REVIVE_EVERY = 25  # updates after which unused rows are placed anew
KMEANS_VECTORS = 16384
KMEANS_ROUNDS = 20


@dataclass(frozen=True, kw_only=True)
class TokenizerSettings:
    """What decides a run, besides configuration and table."""

    updates: int
    batch_size: int
    lr: float
    seed: int
    data: str = ""  # mark of the table
    weights: str = ""  # sha256 of the tokenizer that `adapt` starts from
    answers: str = ""  # sha256 of the answers that it learns from

    @property
    def warm_up(self) -> int:
        """Updates before the codebook is used."""
        return int(WARM_UP * self.updates)


class TokenizerStepper(Stepper[Batch]):
    """A run that trains a tokenizer or part of it; `load_tokenizer` reads its checkpoint."""

    name = "tokenizer"

    def __init__(
        self,
        config: VQConfig,
        settings: TokenizerSettings,
        crops: Draws[Batch],
        *,
        device: torch.device,
        num_workers: int = 0,
    ) -> None:
        """num_workers: processes that read masks."""
        for name in config.unused:
            logger.warning("model.yaml: %s is not used: it belongs to another way of training", name)
        torch.manual_seed(settings.seed)
        self.settings: TokenizerSettings = settings
        self.updates, self.crops, self.num_workers = settings.updates, crops, num_workers
        self.tokenizer = VQTokenizer(config).to(device)
        self.optimizer = torch.optim.Adam(self.trained(), lr=settings.lr)
        self.use = torch.zeros(config.n_embed, dtype=torch.int64, device=device)  # of each code, of late

    def trained(self) -> Iterable[nn.Parameter]:
        """The weights that are trained."""
        return self.tokenizer.parameters()

    def batches(self) -> Iterator[Batch]:
        """Draws of the crops, collated. DataError at the first row that cannot be used."""
        size = self.settings.batch_size
        loader = DataLoader(
            self.crops,
            batch_size=size,
            sampler=range(self.step * size, self.updates * size),
            num_workers=self.num_workers,
            collate_fn=list,
        )
        for batch in loader:
            refuse_bad(batch)
            yield default_collate(batch)

    def rate(self) -> float:
        """Constant, then linearly to 0 over the second half."""
        return self.settings.lr * min(1.0, 2 * (1 - self.step / self.updates))

    def content(self) -> dict[str, Any]:
        """A Lightning checkpoint with the run's progress beside the weights."""
        return {"state_dict": self.tokenizer.state_dict(), "use": self.use} | self.progress()

    def read(self, path: Path) -> dict[str, Any]:
        """The whole file."""
        return read_lightning_checkpoint(path)

    def load(self, state: dict[str, Any], path: Path) -> None:
        """Weights, and the codes in use."""
        load_weights(self.tokenizer, state, where=f"{path} does not match the configuration")
        self.use = state["use"].to(self.use.device)


class TokenizerTrainer(TokenizerStepper[Tensor]):
    """Trains encoder, codebook and decoder on label maps, int64 [B, H, W]."""

    def fixed(self) -> dict[str, Any]:
        """With the one number of model.yaml that changes the loss."""
        return super().fixed() | {"codebook_weight": self.tokenizer.config.codebook_weight}

    def read(self, path: Path) -> dict[str, Any]:
        """Older files do not name the weight, which was 1."""
        content = super().read(path)
        if isinstance(content.get("settings"), dict):
            content["settings"].setdefault("codebook_weight", 1.0)
        return content

    def update(self, batch: Tensor) -> dict[str, float]:
        """An update, with the codebook placed before it or unused rows moved after it where that is due.

        Returns the loss and `codes`, the share of the codebook in use.
        """
        if self.step == self.settings.warm_up:
            self.place_codebook(self._first_crops())
        shown = super().update(batch) | {"codes": (self.use > 0).float().mean().item()}
        if self.step % REVIVE_EVERY == 0:
            self._revive(batch)
        return shown

    def losses(self, batch: Tensor) -> dict[str, Tensor]:
        """The tokenizer's own loss."""
        self.tokenizer.train()
        loss = self.tokenizer(batch, quantized=self.step >= self.settings.warm_up)
        self.use += torch.bincount(loss.codes.flatten(), minlength=len(self.use))
        return {"loss": loss.total}

    def place_codebook(self, label_maps: Tensor) -> None:
        """Puts the codebook at the k-means centres of the latents of label maps, int64 [N, H, W]."""
        self.codebook.data.copy_(kmeans(self._vectors(label_maps), len(self.codebook)))
        self.use.zero_()

    @property
    def codebook(self) -> Tensor:
        """[n_embed, embed_dim]."""
        return self.tokenizer.quantize.embedding.weight

    def _revive(self, label_maps: Tensor) -> None:
        """Moves rows that no vector chose of late to vectors that lie far from every row."""
        dead = (self.use == 0).nonzero().flatten()
        if len(dead) and self.settings.warm_up < self.step < SETTLED * self.updates:
            vectors = self._vectors(label_maps)
            distances = torch.cdist(vectors, self.codebook.data).amin(dim=1).square()
            chosen = torch.multinomial(distances + 1e-9, len(dead), replacement=len(vectors) < len(dead))
            self.codebook.data[dead] = vectors[chosen]
            for name in ("exp_avg", "exp_avg_sq"):
                self.optimizer.state[self.codebook][name][dead] = 0
        self.use.zero_()

    @torch.no_grad()
    def _vectors(self, label_maps: Tensor) -> Tensor:
        """Latents of label maps, [N * cells, embed_dim]."""
        self.tokenizer.eval()
        latents = [self.tokenizer.latents(part) for part in label_maps.split(32)]
        return torch.cat(latents).permute(0, 2, 3, 1).flatten(0, 2)

    def _first_crops(self) -> Tensor:
        """Enough label maps from the start of the stream for k-means, int64 [N, H, W]."""
        torch.manual_seed(self.settings.seed)
        crops = [self.crops[draw] for draw in range(KMEANS_VECTORS // 48)]
        refuse_bad(crops)
        return default_collate(crops)


def kmeans(vectors: Tensor, count: int) -> Tensor:
    """Centres [count, D] of vectors [N, D]: k-means++ with Lloyd's rounds, by torch's global random state."""
    centres = vectors[torch.randint(len(vectors), (1,))]
    for _ in range(count - 1):
        distances = torch.cdist(vectors, centres).amin(dim=1).square()
        centres = torch.cat([centres, vectors[torch.multinomial(distances + 1e-9, 1)]])
    for _ in range(KMEANS_ROUNDS):
        nearest = torch.cdist(vectors, centres).argmin(dim=1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, vectors)
        members = torch.bincount(nearest, minlength=count)[:, None]
        centres = torch.where(members > 0, sums / members.clamp(min=1), centres)
    return centres
