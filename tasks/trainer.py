"""fairseq's trainer where it does not know our batches and networks."""

from typing import Any

import torch
from fairseq.models.ema.ema import EMA
from fairseq.trainer import Trainer


class Average(EMA):
    """Averaged weights (`--store-ema`): each weight once, and counters, which have no average, as they are."""

    def step(self, new_model: torch.nn.Module, updates: int | None = None) -> None:
        """One update of the average."""
        super().step(_Weights(new_model), updates)
        counters = {name: value for name, value in new_model.state_dict().items() if not value.is_floating_point()}
        self.restore(counters)


class _Weights:
    """A network's floating weights and buffers. One that has several names, as the embedding has, is there once."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model

    def state_dict(self) -> dict[str, torch.Tensor]:
        every = {name: value for name, value in self.model.state_dict().items() if value.is_floating_point()}
        return {name: every[name] for name in {value.data_ptr(): name for name, value in every.items()}.values()}


class ReferringTrainer(Trainer):
    """With `Average`, and with a stand-in for empty batches that may be answered like any other."""

    def _build_ema(self) -> None:
        if self.cfg.ema.store_ema:
            self._ema = Average(self._model, self.cfg.ema, self.device)

    def reset_dummy_batch(self, batch: dict[str, Any]) -> None:
        """batch: the first one of the data, as it was collated."""
        super().reset_dummy_batch(self.task.stand_in(batch))
