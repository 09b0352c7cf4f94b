"""torch's fused Adam under fairseq: one pass over weights, gradients and moments, on a CPU and on a GPU."""

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from omegaconf import II


@dataclass
class FusedAdamConfig(FairseqDataclass):
    """The flags of fairseq's `--optimizer adam`."""

    adam_betas: Any = field(default=(0.9, 0.999), metadata={"help": "betas of the two moments"})
    adam_eps: float = field(default=1e-8, metadata={"help": "added to the root of the second moment"})
    weight_decay: float = field(default=0.0, metadata={"help": "decoupled weight decay, times the learning rate"})
    lr: list[float] = II("optimization.lr")  # noqa: RUF009  fairseq fills it in


@register_optimizer("fused_adam", dataclass=FusedAdamConfig)
class FusedAdam(FairseqOptimizer):
    """fairseq's `adam`, except that epsilon is added to the bias-corrected root, as in the Adam paper.

    It cannot resume from a state of `adam`: a resumed run keeps its optimiser.
    """

    def __init__(self, cfg: FusedAdamConfig, params: Iterable[torch.nn.Parameter]) -> None:
        super().__init__(cfg)
        self._optimizer = torch.optim.AdamW(params, fused=True, **self.optimizer_config)

    @property
    def supports_flat_params(self) -> bool:
        """fairseq's `--fp16` joins all weights in one tensor; Adam gives the same result."""
        return True

    @property
    def optimizer_config(self) -> dict[str, Any]:
        """The settings that override those of a checkpoint."""
        cfg = self.cfg
        lr = cfg.lr[0] if isinstance(cfg.lr, Sequence) else cfg.lr
        betas = ast.literal_eval(cfg.adam_betas) if isinstance(cfg.adam_betas, str) else tuple(cfg.adam_betas)
        return {"lr": lr, "betas": betas, "eps": cfg.adam_eps, "weight_decay": cfg.weight_decay}
