"""Training of the parsing-map tokenizer (docs/tokenizer.md; the published repository has no such command).

A codebook that starts at random far from the latents collapses to a few codes. So the first updates train encoder and
decoder without it, then it is placed by k-means on the latents, and rows that go out of use are placed anew.
"""

import signal
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, default_collate
from tqdm import tqdm

from ...models.vqgan import VQTokenizer
from ...models.vqgan.config import VQConfig
from ...models.vqgan.tokenizer import load_weights, read_lightning_checkpoint
from ...utils.errors import CheckpointError, UserError
from ...utils.files import replacing
from ...utils.interrupt import Interrupt
from .masks import Draws, refuse_bad

WARM_UP = 0.2  # share of the updates that train without the codebook
SETTLED = 0.8  # share after which no row of the codebook is moved any more by hand
REVIVE_EVERY = 25  # updates after which unused rows are placed anew
KMEANS_VECTORS = 16384
KMEANS_ROUNDS = 20


@dataclass(frozen=True, kw_only=True)
class TokenizerSettings:
    """What a training run is determined by, with its configuration and table. A resumed run must have the same."""

    updates: int
    batch_size: int
    lr: float
    seed: int
    weights: str = ""  # sha256 of what a run begins with: of the tokenizer to adapt, and of the answers
    answers: str = ""

    @property
    def warm_up(self) -> int:
        """Updates before the codebook is used."""
        return int(WARM_UP * self.updates)


class TokenizerTrainer:
    """Model, optimiser and progress of one run; all of it is in the checkpoint."""

    def __init__(self, config: VQConfig, settings: TokenizerSettings, *, device: torch.device) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.tokenizer = VQTokenizer(config).to(device)
        self.optimizer = torch.optim.Adam(self.trained(), lr=settings.lr)
        self.step = 0
        self.use = torch.zeros(config.n_embed, dtype=torch.int64, device=device)  # of each code, of late

    def trained(self) -> Iterable[nn.Parameter]:
        """The weights that are trained."""
        return self.tokenizer.parameters()

    def begin(self, crops: Draws) -> None:
        """What an update needs before it: the codebook is placed when the warm-up is over."""
        if self.step == self.settings.warm_up:
            self.place_codebook(_first_crops(crops, self.settings.seed))

    def update(self, drawn: Any) -> dict[str, float]:
        """One step of Adam on a batch of draws. Returns what the progress bar shows of it: the loss, and more."""
        torch.manual_seed(self.settings.seed + self.step)  # dropout and revived rows do not depend on the past
        self._learning_rate()
        self.tokenizer.train()
        loss = self.loss(drawn)
        if not loss.isfinite():
            raise UserError(f"update {self.step + 1}: the loss is {loss.item()}: try a smaller --lr")
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.step += 1
        return {"loss": loss.item()} | self.end(drawn)

    def loss(self, drawn: Tensor) -> Tensor:
        """The tokenizer's own loss of label maps, int64 [B, H, W]; a scalar."""
        loss = self.tokenizer(drawn, quantized=self.step >= self.settings.warm_up)
        self.use += torch.bincount(loss.codes.flatten(), minlength=len(self.use))
        return loss.total

    def end(self, drawn: Tensor) -> dict[str, float]:
        """After an update: unused rows of the codebook are moved from time to time. Returns the share in use."""
        shown = {"codes": (self.use > 0).float().mean().item()}
        if self.step % REVIVE_EVERY == 0:
            self._revive(drawn)
        return shown

    def place_codebook(self, label_maps: Tensor) -> None:
        """Puts the codebook at the k-means centres of the latents of label maps, int64 [N, H, W]."""
        self.codebook.data.copy_(kmeans(self._vectors(label_maps), len(self.codebook)))
        self.use.zero_()

    @property
    def codebook(self) -> Tensor:
        """[n_embed, embed_dim]."""
        return self.tokenizer.quantize.embedding.weight

    def _learning_rate(self) -> None:
        """Constant, then linearly to nothing over the second half."""
        left = 1 - self.step / self.settings.updates
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.lr * min(1.0, 2 * left)

    def _revive(self, label_maps: Tensor) -> None:
        """Moves the rows that no vector chose of late to vectors that lie far from every row."""
        dead = (self.use == 0).nonzero().flatten()
        between = self.settings.warm_up < self.step < SETTLED * self.settings.updates
        if len(dead) and between:
            vectors = self._vectors(label_maps)
            distances = torch.cdist(vectors, self.codebook.data).amin(dim=1).square()
            chosen = torch.multinomial(distances + 1e-9, len(dead), replacement=len(vectors) < len(dead))
            self.codebook.data[dead] = vectors[chosen]
            for name in ("exp_avg", "exp_avg_sq"):
                self.optimizer.state[self.codebook][name][dead] = 0
        self.use.zero_()

    @torch.no_grad()
    def _vectors(self, label_maps: Tensor) -> Tensor:
        self.tokenizer.eval()
        latents = [self.tokenizer.latents(part) for part in label_maps.split(32)]
        return torch.cat(latents).permute(0, 2, 3, 1).flatten(0, 2)

    def save(self, path: Path) -> None:
        """Writes the checkpoint as a whole or not at all; `load_tokenizer` reads it."""
        state = {
            "state_dict": self.tokenizer.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "use": self.use,
            "settings": asdict(self.settings),
        }
        with replacing(path) as part:
            torch.save(state, part)

    def resume(self, path: Path) -> None:
        """Takes up a run where `save` left it. CheckpointError if it is of another configuration or other settings."""
        state = read_lightning_checkpoint(path)
        kept = state.get("settings")
        if not isinstance(kept, dict) or not {"optimizer", "step", "use"} <= state.keys():
            raise CheckpointError(f"{path}: holds no training state to go on from: choose another --save-dir")
        for name, value in asdict(self.settings).items():
            if kept.get(name) != value:
                raise CheckpointError(f"{path}: was trained with {name} {kept.get(name)}, now it is {value}")
        load_weights(self.tokenizer, state, where=f"{path} does not match the configuration")
        try:
            self.optimizer.load_state_dict(state["optimizer"])
        except ValueError as error:  # of other tensors: train's, where adapt goes on, or the other way round
            raise CheckpointError(f"{path}: is of another kind of training: choose another --save-dir") from error
        self.step = state["step"]
        self.use = state["use"].to(self.use.device)


def kmeans(vectors: Tensor, count: int) -> Tensor:
    """Centres [count, D] of vectors [N, D]: k-means++ with Lloyd's rounds, by torch's global random state."""
    centres = vectors[torch.randint(len(vectors), (1,)).item()][None]
    for _ in range(count - 1):
        distances = torch.cdist(vectors, centres).amin(dim=1).square()
        centres = torch.cat([centres, vectors[torch.multinomial(distances + 1e-9, 1)]])
    for _ in range(KMEANS_ROUNDS):
        nearest = torch.cdist(vectors, centres).argmin(dim=1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, vectors)
        members = torch.bincount(nearest, minlength=count)[:, None]
        centres = torch.where(members > 0, sums / members.clamp(min=1), centres)
    return centres


def _let_parent_handle_interrupts(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def train(trainer: TokenizerTrainer, crops: Draws, *, checkpoint: Path, save_every: int, num_workers: int) -> bool:
    """Runs to the end of the settings' updates, saving on the way; False if Ctrl-C ended it before (it has saved)."""
    settings = trainer.settings
    draws = range(trainer.step * settings.batch_size, settings.updates * settings.batch_size)
    loader = DataLoader(
        crops,
        batch_size=settings.batch_size,
        sampler=draws,
        num_workers=num_workers,
        collate_fn=list,
        worker_init_fn=_let_parent_handle_interrupts,
    )
    progress = tqdm(total=settings.updates, initial=trainer.step, desc="tokenizer", unit="update")
    with Interrupt() as interrupt, progress:
        for batch in loader:
            refuse_bad(batch)
            trainer.begin(crops)
            progress.set_postfix(trainer.update(default_collate(batch)), refresh=False)
            progress.update()
            if trainer.step % save_every == 0 or interrupt.asked or trainer.step == settings.updates:
                trainer.save(checkpoint)
            if interrupt.asked:
                return trainer.step == settings.updates
    return True


def _first_crops(crops: Draws, seed: int) -> Tensor:
    """Enough label maps of the stream's beginning for k-means, int64 [N, H, W]."""
    torch.manual_seed(seed)
    batch = [crops[draw] for draw in range(KMEANS_VECTORS // 48)]
    refuse_bad(batch)
    return torch.stack(batch)
