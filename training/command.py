"""Trains a task. `python train.py DATA --task refcoco --arch refhcm ...`, or the same under `torchrun`.

`run_scripts/` holds the published settings. Runs on GPUs, and on the CPU where there is none.
"""

import argparse
import logging
import os
import sys
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import NoReturn

import torch
from omegaconf import open_dict

with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of fairseq's torch.jit.script
    logging.getLogger("fairseq.tasks.text_to_speech").setLevel(logging.WARNING)  # it asks for tensorboardX
    from fairseq import options
    from fairseq.dataclass.configs import FairseqConfig
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq.distributed import utils as distributed_utils

from ..tasks import fairseq_tasks  # noqa: F401  registers tasks, network, criterion and an optimiser
from ..utils.devices import choose_kernels, ranks
from ..utils.errors import UserError, exit_status
from ..utils.files import claim
from ..utils.memory import keep_freed_memory
from .help import help_parser
from .loop import train

logger = logging.getLogger("refhcm.train")
# fairseq's names for torch's wrapper, which demands a gradient for every weight; no task uses all of them.
TORCH_DDP = ("c10d", "pytorch_ddp")
# of fairseq's flags, which it does not check
LEAST = {"num_workers": 0, "data_buffer_size": 0, "max_epoch": 0, "max_update": 0} | dict.fromkeys(
    ("batch_size", "update_freq", "log_interval", "save_interval", "validate_interval"), 1
)


def add_training_flags(parser: argparse._ActionsContainer) -> None:
    """Flags of the published scripts that fairseq lacks. fairseq calls this twice with one parser."""
    if "--warmup-ratio" in parser._option_string_actions:
        return
    parser.add_argument(
        "--warmup-ratio",
        type=float,
        default=-1.0,
        help="Warm up for this share of all updates (default: use --warmup-updates).",
    )
    parser.add_argument(
        "--autocast-bf16", action="store_true", help="Multiply matrices in bfloat16, the rest in float32."
    )
    parser.add_argument("--use-ema-weights-to-init-param", action="store_true", help="Start from averaged weights.")
    parser.add_argument("--use-latest-weights-to-init-ema", action="store_true", help="Start the average afresh.")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """fairseq's flags, the task's, the network's and the criterion's. Exits with 2 for a wrong one."""
    if {"-h", "--help"} & set(sys.argv[1:] if arguments is None else arguments):
        help_parser(add_training_flags).print_help()
        raise SystemExit(0)
    parser = options.get_training_parser(default_task="refcoco")
    args = options.parse_args_and_arch(parser, arguments, modify_parser=add_training_flags)
    args.tpu = False  # fairseq takes --bf16 for a TPU
    if getattr(args, "total_num_update", 0) is None:
        args.total_num_update = args.max_update or 1_000_000  # the published default
    if args.amp:
        raise UserError("--amp: fairseq divides the gradients by the loss scale twice; use --autocast-bf16 or --fp16")
    if args.train_subset != "train":
        raise UserError("--train-subset: training files are named in DATA (all but the last)")
    if args.max_tokens is not None:
        raise UserError("--max-tokens: batches are counted in rows; use --batch-size")
    if args.ddp_backend == "fully_sharded":
        raise UserError("--ddp-backend fully_sharded: needs fairscale, which nobody keeps; each rank holds all weights")
    if args.fp16 and args.bf16:
        raise UserError("--fp16 and --bf16 exclude each other")
    if args.fp16 and (args.cpu or not torch.cuda.is_available()):
        raise UserError("--fp16 needs a GPU; use --bf16 or --autocast-bf16")
    for name, least in LEAST.items():
        given = getattr(args, name)
        for number in given if isinstance(given, list) else [given]:
            if number is not None and number < least:
                raise UserError(f"--{name.replace('_', '-')}: needs a whole number of at least {least}, got {number}")
    return args


def configure(args: argparse.Namespace) -> FairseqConfig:
    """fairseq's configuration for this machine and for the ranks that torchrun started."""
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # fairseq calls hydra as it was in 2020
        cfg = convert_namespace_to_omegaconf(args)
    choose_kernels()
    rank, world = ranks()
    on_cpu = args.cpu or not torch.cuda.is_available()
    with open_dict(cfg):
        cfg.distributed_training.distributed_world_size = world
        cfg.common.cpu = on_cpu
        if world > 1:
            cfg.distributed_training.distributed_rank = rank
            cfg.distributed_training.device_id = int(os.environ["LOCAL_RANK"])
            cfg.distributed_training.distributed_init_method = "env://"
            cfg.distributed_training.distributed_no_spawn = True
            # torch refuses checkpoints that are sent between ranks
            cfg.checkpoint.load_checkpoint_on_all_dp_ranks = True
            if on_cpu:
                cfg.distributed_training.distributed_backend = "gloo"
            if on_cpu or cfg.distributed_training.ddp_backend in TORCH_DDP:
                logger.info("gradients are averaged by fairseq's legacy_ddp")
                cfg.distributed_training.ddp_backend = "legacy_ddp"
    return cfg


def _is_news(record: logging.LogRecord) -> bool:
    """Not fairseq's line for every bias that a layer lacks, which it takes for shared weights."""
    return not record.getMessage().startswith("detected shared parameter")


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, 2 after one line about a user's mistake, or 130 after Ctrl-C."""
    level = logging.INFO if ranks()[0] == 0 else logging.WARNING
    logging.basicConfig(
        level=level, format="%(asctime)s | %(levelname)s | %(name)s | %(message)s", stream=sys.stdout, force=True
    )
    logging.getLogger("fairseq.tasks.fairseq_task").setLevel(logging.WARNING)
    logging.getLogger("fairseq.trainer").addFilter(_is_news)
    warnings.filterwarnings("ignore", message="'pin_memory' argument is set as true")  # fairseq's, on a CPU

    def run() -> int:
        if not torch.cuda.is_available():
            keep_freed_memory()
        args = parse(arguments)
        cfg = configure(args)
        try:
            with nullcontext() if ranks()[0] or args.no_save else claim(Path(args.save_dir)):
                distributed_utils.call_main(cfg, train, args=args)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("interrupted; run the same command again to resume") from None
        return 0

    return exit_status(run)


def main_and_exit(arguments: list[str] | None = None) -> NoReturn:
    """Runs `main` and exits at once: fairseq's reader thread may still run, and Python's own exit would abort on it."""
    status = main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
