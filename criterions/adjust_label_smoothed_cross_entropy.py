"""The training loss as a fairseq criterion (docs/training.md, "Criterion")."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from omegaconf import II
from torch import Tensor, nn

from ..utils.flags import option
from .label_smoothing import Neighbours, SmoothedLoss, position_losses, range_mask, sum_positions, symmetric_kl


@dataclass
class AdjustLabelSmoothedCrossEntropyConfig(FairseqDataclass):
    """Flags of the criterion."""

    label_smoothing: float = option(0.0, "share of the probability for all other symbols")
    report_accuracy: bool = option(False, "log the share of correct symbols")
    ignore_prefix_size: int = option(0, "number of first target positions without loss")
    ignore_eos: bool = option(False, "no loss at the end symbol")
    sentence_avg: bool = II("optimization.sentence_avg")
    drop_worst_ratio: float = option(0.0, "share of the positions to ignore, those of largest loss")
    drop_worst_after: int = option(0, "updates before --drop-worst-ratio applies")
    use_rdrop: bool = option(False, "R-Drop: two passes, and the divergence between them")
    reg_alpha: float = option(1.0, "weight of R-Drop's divergence")
    bin_smoothing: float = option(0.0, "standard deviation, in bins, over which a coordinate's target is spread")
    # fairseq makes no flag of `str | None`
    constraint_range: Optional[str] = option(None, "ids a,b: only a..b-1 and the special symbols count")  # noqa: UP045


@register_criterion("adjust_label_smoothed_cross_entropy", dataclass=AdjustLabelSmoothedCrossEntropyConfig)
class AdjustLabelSmoothedCrossEntropy(FairseqCriterion):
    """Label-smoothed cross entropy, summed over positions."""

    def __init__(self, task: Any, cfg: AdjustLabelSmoothedCrossEntropyConfig) -> None:
        super().__init__(task)
        self.cfg = cfg
        self.eos = task.target_dictionary.eos()
        self.neighbours = Neighbours(task.target_dictionary.bin_ids, cfg.bin_smoothing) if cfg.bin_smoothing else None
        self.update_num = 0  # set by the task before each step

    def forward(self, model: nn.Module, sample: dict[str, Any]) -> tuple[Tensor, int, dict[str, Any]]:
        """Loss of a batch, its sample size, and what to log. R-Drop doubles the batch here."""
        if self.cfg.use_rdrop:
            sample = doubled(sample)
        logits, _ = model(**sample["net_input"])
        total, right = self.loss(logits, sample)
        sample_size = sample["nsentences"] if self.cfg.sentence_avg else total.count
        logged = {
            "loss": total.loss.detach(),
            "nll_loss": total.nll.detach(),
            "ntokens": sample["ntokens"],
            "nsentences": sample["nsentences"],
            "sample_size": sample_size,
        }
        if self.cfg.report_accuracy:
            logged |= {"n_correct": right.sum(), "total": len(right)}
        return total.loss, sample_size, logged

    def loss(self, logits: Tensor, sample: dict[str, Any]) -> tuple[SmoothedLoss, Tensor]:
        """Sums over the N positions that count, and which of these are right, bool [N]. logits: [B, T, V]."""
        cfg, target = self.cfg, sample["target"]
        counted = target != self.padding_idx
        if cfg.ignore_eos:
            counted = counted & (target != self.eos)
        counted[:, : cfg.ignore_prefix_size] = False
        allowed = self._allowed(logits, sample, counted)
        loss, nll, log_probs = position_losses(
            logits[counted],
            target[counted],
            smoothing=cfg.label_smoothing,
            allowed=allowed,
            neighbours=self.neighbours,
        )
        if sample.get("conf") is not None:
            weight = sample["conf"].to(loss)[:, None].expand_as(target)[counted]
            loss, nll = loss * weight, nll * weight
        parts = [
            sum_positions(loss[part], nll[part], drop_worst_ratio=self._drop_ratio())
            for part in self._parts(sample, counted)
        ]
        total = sum((part.loss for part in parts), loss.new_zeros(()))
        if cfg.use_rdrop:
            total = total + cfg.reg_alpha * symmetric_kl(log_probs, allowed=allowed)
        nll_sum, count = sum((part.nll for part in parts), nll.new_zeros(())), sum(part.count for part in parts)
        answered = log_probs.argmax(-1) if cfg.report_accuracy else torch.full_like(target[counted], self.padding_idx)
        return SmoothedLoss(total, nll_sum, count), answered == target[counted]

    def _allowed(self, logits: Tensor, sample: dict[str, Any], counted: Tensor) -> Tensor | None:
        if sample.get("constraint_masks") is not None:
            return sample["constraint_masks"][counted]  # [N, V]
        if self.cfg.constraint_range is not None:
            return range_mask(logits.shape[-1], self.cfg.constraint_range, logits.device)
        return None

    def _drop_ratio(self) -> float:
        begun = self.training and self.update_num > self.cfg.drop_worst_after
        return self.cfg.drop_worst_ratio if begun else 0.0

    @staticmethod
    def _parts(sample: dict[str, Any], counted: Tensor) -> list[Tensor]:
        """Masks over the N positions that count: one of all, or one each of the parallel positions and the others."""
        span = sample["net_input"].get("full_mask_position")
        if span is None:
            return [torch.ones_like(counted)[counted]]
        position = torch.arange(counted.shape[1], device=counted.device).expand_as(counted)[counted]
        parallel = (position >= span[0]) & (position <= span[1])
        if (rows := sample["net_input"].get("full_mask_rows")) is not None:
            parallel = parallel & rows[:, None].expand_as(counted)[counted]
        return [~parallel, parallel]

    @staticmethod
    def reduce_metrics(logging_outputs: Sequence[dict[str, Any]]) -> None:
        """Means over all ranks. Losses are natural logarithms, and perplexity is exp(nll)."""

        def total(name: str) -> float:
            return float(sum(output.get(name, 0) for output in logging_outputs))

        size = total("sample_size")
        metrics.log_scalar("loss", total("loss") / max(size, 1), size, round=6)
        metrics.log_scalar("nll_loss", total("nll_loss") / max(size, 1), size, round=6)
        metrics.log_derived("ppl", lambda meters: math.exp(min(meters["nll_loss"].avg, 100)))
        metrics.log_scalar("sample_size", size, 1, round=1)
        if total("total"):
            metrics.log_scalar("accuracy", 100 * total("n_correct") / total("total"), total("total"), round=3)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """True: `reduce_metrics` needs only sums over ranks."""
        return True


def doubled(sample: dict[str, Any]) -> dict[str, Any]:
    """The batch twice in a row, for R-Drop, with doubled counts and without the labels of metrics."""
    twice = {name: torch.cat([value, value]) for name, value in sample.items() if isinstance(value, Tensor)}
    once = {"patch_images"} if "patch_rows" in sample["net_input"] else set()  # both halves share them
    net_input = {
        name: torch.cat([value, value]) if isinstance(value, Tensor) and name not in once else value
        for name, value in sample["net_input"].items()
    }
    return twice | {"net_input": net_input, "nsentences": 2 * sample["nsentences"], "ntokens": 2 * sample["ntokens"]}
