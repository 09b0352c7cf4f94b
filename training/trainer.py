"""fairseq's trainer, overridden where our batches differ or where it would lose precision or files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from fairseq import utils as fairseq_utils
from fairseq.models.ema.ema import EMA
from fairseq.trainer import Trainer
from omegaconf import open_dict
from torch import Tensor, nn

from ..utils.checkpoints import ALLOWED_GLOBALS, read_checkpoint, save_file
from ..utils.errors import CheckpointError, UserError

SEED_STEP = 1_000_003  # between the seeds of two ranks


class Average(EMA):
    """Averaged weights (`--store-ema`): each weight once; counters, which have no average, are copied."""

    def step(self, new_model: nn.Module, updates: int | None = None) -> None:
        """One update of the average."""
        super().step(_Weights(new_model), updates)
        counters = {name: value for name, value in new_model.state_dict().items() if not value.is_floating_point()}
        self.restore(counters)

    def restore(self, state_dict: Mapping[str, Tensor], build_fp32_params: bool = False) -> None:
        """Loads weights, some or all."""
        nn.Module.load_state_dict(self.model, state_dict, strict=False)  # a part of the names is given on purpose
        if build_fp32_params:
            self.build_fp32_params(state_dict)

    def build_fp32_params(self, state_dict: Mapping[str, Tensor] | None = None) -> None:
        """Float32 averages; all names of a tied weight share one."""
        super().build_fp32_params(state_dict)
        first: dict[int, str] = {}
        for name, value in self.model.state_dict().items():
            self.fp32_params[name] = self.fp32_params[first.setdefault(value.data_ptr(), name)]


class _Weights:
    """A network's floating-point weights and buffers; a tied weight, such as the embedding, appears once."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def state_dict(self) -> dict[str, Tensor]:
        every = {name: value for name, value in self.model.state_dict().items() if value.is_floating_point()}
        return {name: every[name] for name in {value.data_ptr(): name for name, value in every.items()}.values()}


class ReferringTrainer(Trainer):
    """Averages by `Average`, ignores stand-ins for empty batches, and keeps float32 weights in checkpoints."""

    def _build_ema(self) -> None:
        if self.cfg.ema.store_ema:
            with open_dict(self.cfg):  # an average moves in steps too small for half precision
                self.cfg.ema.ema_fp32 |= self.cfg.common.fp16 or self.cfg.common.bf16
            self._ema = Average(self._model, self.cfg.ema, self.device)

    def reset_dummy_batch(self, batch: dict[str, Any]) -> None:
        """batch: the first batch of the data, as it was collated."""
        super().reset_dummy_batch(self.task.stand_in(batch))

    def _prepare_sample(self, sample: Any, is_dummy: bool = False) -> tuple[Any, bool]:
        """Hides dummies from fairseq, which would count them or skip the rest of the update; the task handles them."""
        return super()._prepare_sample(sample, is_dummy)[0], False

    def _set_seed(self) -> None:
        """Dropout differs between ranks; fairseq seeds all of them alike."""
        of_rank = SEED_STEP * self.data_parallel_rank
        fairseq_utils.set_torch_seed(self.cfg.common.seed + self.get_num_updates() + of_rank)

    def state_dict(self) -> dict[str, Any]:
        """With float32 weights even when the network trains in half precision, and the vocabulary's digest."""
        state = super().state_dict()
        state["vocabulary"] = self.task.plain.text.digest()
        state["model"] = dict(state["model"]) | self._masters()
        return state

    def save_checkpoint(self, filename: str, extra_state: dict[str, Any]) -> None:
        """Written atomically, with a UserError on a full disk; fairseq would carry on after a failed write."""
        if self.should_save_checkpoint_on_current_rank:
            state = fairseq_utils.move_to_cpu(self.state_dict())
            state["extra_state"].update(extra_state)
            save_file(state, Path(filename))

    def begin_valid_epoch(self, epoch: int) -> None:
        """Gives all ranks the batch-norm statistics of the first, which are those of checkpoints."""
        if self.data_parallel_world_size > 1:
            network = self.get_model()
            stored = network.state_dict().keys()
            for buffer in (buffer for name, buffer in network.named_buffers() if name in stored):
                dist.broadcast(buffer, src=0, group=self.data_parallel_process_group)
        super().begin_valid_epoch(epoch)

    def clip_grad_norm(self, clip_norm: float) -> Tensor:
        """fairseq's, with one line where fp16 finds no loss scale that works."""
        try:
            return super().clip_grad_norm(clip_norm)
        except FloatingPointError as error:
            self._give_up(f"--fp16: {str(error).split('. ')[0]}", hint="try --bf16, or a lower --lr")

    def _check_grad_norms(self, grad_norm: Tensor) -> None:
        """One line for gradients that no update can use; fairseq would look for their module, and fail at ours."""
        differ = False
        try:
            super()._check_grad_norms(grad_norm)
        except FloatingPointError:
            differ = True
        if not bool(torch.isfinite(grad_norm).all()):
            self._give_up("the gradients are not finite (NaN or infinity)")
        if differ:
            self._give_up("the ranks have different gradients", hint="use one kind of GPU, or --ddp-backend=legacy_ddp")

    def _give_up(self, why: str, *, hint: str = "try a lower --lr") -> NoReturn:
        """UserError, after writing the weights before this update to crash.pt."""
        path, kept = Path(self.cfg.checkpoint.save_dir, "crash.pt"), ""
        if not self.cfg.checkpoint.no_save:
            self.consolidate_optimizer()
            try:
                self.save_checkpoint(str(path), {})
                kept = f"; the weights before it are in {path}"
            except UserError as error:
                kept = f"; {error}"
        raise UserError(f"update {self.get_num_updates() + 1}: {why}{kept}: {hint}")

    def load_checkpoint(self, filename: str, *given: Any, **named: Any) -> Any:
        """Restores float32 weights, and starts an average that the stored run did not have."""
        stored, average = read_checkpoint(filename, mmap=True), self.cfg.ema  # for its clear errors
        if "train_iterator" not in (stored.rest.get("extra_state") or {}):
            raise CheckpointError(f"{filename}: no run can resume from it; use --finetune-from-model for its weights")
        begins = average.store_ema and "ema" not in (stored.rest.get("extra_state") or {})
        with open_dict(self.cfg), torch.serialization.safe_globals([*ALLOWED_GLOBALS]):
            average.store_ema = average.store_ema and not begins  # fairseq would look for an average that is not stored
            try:
                extra = super().load_checkpoint(filename, *given, **named)
            except Exception as error:  # fairseq's own, of many kinds: other sizes, another optimiser or criterion
                reason = error.__context__ if isinstance(error.__context__, UserError) else error
                hint = "resume with the flags of its run, or give another --save-dir"
                raise CheckpointError(f"{filename}: does not fit: {str(reason).splitlines()[0]}: {hint}") from error
            average.store_ema = average.store_ema or begins
        for name, master in self._masters().items():
            if name in stored.weights and stored.weights[name].shape == master.shape:
                master.copy_(stored.weights[name])
        if begins:
            self._build_ema()
        return extra

    @torch.no_grad()
    def _masters(self) -> dict[str, Tensor]:
        """The float32 weights that `--fp16` and `--bf16` train, by name; empty in full precision."""
        masters = getattr(self.optimizer, "fp32_params", None)
        if masters is None:
            return {}
        trained = self.optimizer.fp16_params
        if self.optimizer.has_flat_params:
            (flat,) = masters.values()
            masters = [
                part.view_as(p) for part, p in zip(flat.split([p.numel() for p in trained]), trained, strict=True)
            ]
        of = {id(weight): master.detach() for weight, master in zip(trained, masters, strict=True)}
        names = self.get_model().named_parameters(remove_duplicate=False)
        return {name: of[id(weight)] for name, weight in names if id(weight) in of}
