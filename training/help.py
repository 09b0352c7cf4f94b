"""`refhcm train --help`: the flags of this project first, then fairseq's."""

import argparse
from collections.abc import Callable
from dataclasses import fields

from fairseq import options
from fairseq.dataclass.utils import gen_parser_from_dataclass

from ..criterions.adjust_label_smoothed_cross_entropy import AdjustLabelSmoothedCrossEntropyConfig
from ..models.refhcm.config import SIZES, NetworkConfig
from ..tasks import TRAINABLE
from ..tasks.settings import MultitaskSettings
from ..utils.flags import add_flags, sentence

USAGE = "refhcm train DATA --task TASK --arch ARCH --criterion adjust_label_smoothed_cross_entropy [flags]"
DESCRIPTION = """Trains a task, on GPUs, or on the CPU where there is none. Run the same command again to resume.

    run_scripts/rec/train_refcoco.sh                the paper's settings, on all GPUs
    DRY_RUN=1 run_scripts/rkpt/train_rkpt.sh        print the command that a script runs
    refhcm train train.tsv,val.tsv --task refcoco --arch refhcm_test --criterion adjust_label_smoothed_cross_entropy \\
        --bpe-dir tests/bpe --cpu --batch-size 2 --optimizer adam --lr 1e-4 --max-update 20 --save-dir runs/try

docs/training.md has the published settings."""
FIRST = {  # flags of fairseq that say what to train; its own choices have tasks and networks of others
    "task": f"Train this task: {', '.join(TRAINABLE)}.",
    "arch": f"Train a network of this size: {', '.join(SIZES)}.",
    "criterion": "Use this loss: adjust_label_smoothed_cross_entropy.",
}


def help_parser(add_training_flags: Callable[[argparse._ActionsContainer], None]) -> argparse.ArgumentParser:
    """A parser for its help alone, which knows the flags of all tasks at once.

    add_training_flags: adds those that fairseq's own flags lack.
    """
    parser = options.get_training_parser(default_task="refcoco")
    parser.usage, parser.description = USAGE, DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    theirs = list(parser._action_groups)
    for group in theirs:
        group.title = (
            f"fairseq: {'general' if group.title == 'options' else str(group.title).replace('_', ' ').lower()}"
        )
    ours = [parser.add_argument_group(title) for title in ("what to train", "task", "network", "loss", "training")]
    first, task, network, loss, training = ours
    first.add_argument(
        "data", metavar="DATA", help="Train on these TSV tables, separated by commas; validate on the last."
    )
    for group in theirs:
        for action in [action for action in group._group_actions if action.dest in FIRST]:
            group._group_actions.remove(action)
            first._group_actions.append(action)
            action.choices, action.metavar, action.help = None, action.dest.upper(), FIRST[action.dest]
    add_flags(task, MultitaskSettings)
    add_flags(network, NetworkConfig)
    gen_parser_from_dataclass(loss, AdjustLabelSmoothedCrossEntropyConfig())
    texts = {f.name: sentence(f) for f in fields(AdjustLabelSmoothedCrossEntropyConfig) if "help" in f.metadata}
    for action in loss._group_actions:
        action.help = texts.get(action.dest, action.help)
    add_training_flags(training)
    parser._action_groups = [*ours, *theirs]
    return parser
