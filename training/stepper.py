"""The loop of the tokenizer's training and of pretraining: update, log, save, stop at Ctrl-C, resume."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..utils.checkpoints import save_file
from ..utils.errors import CheckpointError, UserError
from ..utils.interrupt import Interrupt

logger = logging.getLogger(__name__)
LOG_EVERY = 50  # updates
Batch = TypeVar("Batch")


class Stepper(ABC, Generic[Batch]):
    """Settings, optimiser and progress of one run; a sub-class adds networks, batches and losses.

    settings: a dataclass with a `seed`; a resumed run must have the same. updates: in all. step: updates done.
    """

    name: str  # of the progress bar
    settings: Any
    updates: int
    optimizer: torch.optim.Optimizer
    max_norm: float | None = None  # gradients are clipped to it
    step = 0

    @abstractmethod
    def batches(self) -> Iterator[Batch]:
        """A batch for each update from `step` to the last, the same ones in a resumed run."""

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Scalars by name; their sum is minimised."""

    @abstractmethod
    def rate(self) -> float:
        """Learning rate of the next update."""

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """What the checkpoint holds: weights, and `progress()`."""

    @abstractmethod
    def read(self, path: Path) -> dict[str, Any]:
        """A checkpoint's `progress()` beside whatever `load` needs. CheckpointError: why not."""

    @abstractmethod
    def load(self, state: dict[str, Any], path: Path) -> None:
        """Takes over the weights that `read` gave."""

    def fixed(self) -> dict[str, Any]:
        """What must be the same when a run resumes."""
        return asdict(self.settings)

    def progress(self) -> dict[str, Any]:
        """What a resumed run needs besides weights."""
        return {"settings": self.fixed(), "step": self.step, "optimizer": self.optimizer.state_dict()}

    def update(self, batch: Batch) -> dict[str, float]:
        """One step of the optimiser; the losses. UserError when their sum is not finite."""
        torch.manual_seed(self.settings.seed + self.step)  # dropout does not depend on earlier updates
        losses = self.losses(batch)
        loss = torch.stack([*losses.values()]).sum()
        if not loss.isfinite():
            raise UserError(f"update {self.step + 1}: the loss is {loss.item()}: try a smaller --lr")
        self.optimizer.zero_grad()
        loss.backward()
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        if self.max_norm is not None:
            parameters = [weight for group in self.optimizer.param_groups for weight in group["params"]]
            nn.utils.clip_grad_norm_(parameters, self.max_norm)
        self.optimizer.step()
        self.step += 1
        return {name: value.item() for name, value in losses.items()}

    def run(self, checkpoint: Path, *, save_every: int) -> None:
        """Trains to the last update, from `checkpoint` if it exists; writes it every `save_every` updates.

        Ctrl-C saves after the running update, then raises KeyboardInterrupt: a script must not take the run for done.
        """
        if checkpoint.exists():
            self.resume(checkpoint)
            logger.info("%s: resumes at update %d of %d", checkpoint, self.step, self.updates)
        recent: list[dict[str, float]] = []
        progress = tqdm(total=self.updates, initial=self.step, desc=self.name, unit="update")
        with Interrupt() as interrupt, progress:
            for batch in self.batches():
                recent.append(self.update(batch))
                progress.set_postfix(recent[-1], refresh=False)
                progress.update()
                last = self.step == self.updates
                if last or self.step % LOG_EVERY == 0:
                    means = {name: fmean(one[name] for one in recent if name in one) for name in recent[-1]}
                    shown = ", ".join(f"{name} {mean:.3f}" for name, mean in means.items())
                    logger.info("update %d of %d: %s", self.step, self.updates, shown)
                    recent.clear()
                if last or interrupt.asked or self.step % save_every == 0:
                    self.save(checkpoint)
                if interrupt.asked and not last:
                    at = f"stopped at update {self.step} of {self.updates}"
                    raise KeyboardInterrupt(f"{checkpoint}: {at}; run the same command again to resume")

    def save(self, path: Path) -> None:
        """Writes the checkpoint atomically."""
        save_file(self.content(), path)

    def resume(self, path: Path) -> None:
        """Takes up the run that `save` wrote. CheckpointError if its settings or its kind of training differ."""
        state = self.read(path)
        if not isinstance(state.get("settings"), dict) or not self.progress().keys() <= state.keys():
            raise CheckpointError(f"{path}: holds no training to resume: choose another --save-dir")
        for name, value in self.fixed().items():
            kept = state["settings"].get(name)
            if kept != value and not (name == "data" and kept is None):  # earlier versions did not keep that
                raise CheckpointError(f"{path}: was trained with {name} {kept}, now it is {value}")
        try:
            self.load(state, path)
            self.optimizer.load_state_dict(state["optimizer"])
        except CheckpointError:
            raise
        except (RuntimeError, ValueError) as error:  # torch's: other names, shapes or numbers of weights
            raise CheckpointError(f"{path}: its weights are not of this training: choose another --save-dir") from error
        self.step = state["step"]
