"""What a checkpoint has learned beyond the four published tasks, as its flags say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..tasks.grec import GeneralizedComprehension
from ..utils.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from ..utils.checkpoints import Checkpoint

EVERYONE = GeneralizedComprehension.name  # an expression -> all people whom it fits
KEYPOINTS_BY_BOX = "rkpt_by_box"  # RKpt's rows without an expression
PUBLISHED = ("refcoco", "rkpt", "rpar", "rhrc")
FURTHER = (EVERYONE, KEYPOINTS_BY_BOX)


def learned_by(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Those of `FURTHER` that a checkpoint has learned; none for published ones.

    Export writes them as the flag `learned`. Training's own files name the table of `grec`, or the task itself; whether
    the keypoints' table had rows without an expression, they do not say.
    """
    flags = checkpoint.flags()
    stored = flags.get("learned")
    names = set(stored) if isinstance(stored, list | tuple) and all(isinstance(name, str) for name in stored) else set()
    task, table = (flags.get(name) for name in ("task", "refgrec_dataset"))  # of a file: they may be anything
    if (isinstance(task, str) and task == EVERYONE) or (isinstance(table, str) and table):
        names.add(EVERYONE)
    return in_order(names)


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """The known ones of some names, in the order of `FURTHER`."""
    known = set(names)
    return tuple(name for name in FURTHER if name in known)


def described(network: nn.Module, learned: Sequence[str], *, parsing: bool) -> str:
    """A model in a few words: its size, type and device, and its tasks. parsing: whether it has a tokenizer."""
    from torch import Tensor

    weights: list[Tensor] = list(network.parameters())
    packed = (value for module in network.modules() for value in vars(module).values())
    weights += [one for one in packed if isinstance(one, Tensor)]  # they are no parameters any more
    size, kind = sum(one.numel() for one in weights) / 1e6, str(weights[0].dtype).removeprefix("torch.")
    tasks = [name for name in (*PUBLISHED, *learned) if parsing or name != "rpar"]
    return f"{size:.0f} million parameters, {kind} on {weights[0].device}, tasks {', '.join(tasks)}"


def check_learned(learned: Sequence[str], *, keypoints: bool) -> None:
    """UserError for what a checkpoint has not learned and `find` needs."""
    if EVERYONE not in learned:
        raise UserError(
            "find: this model has not learned to give everyone who fits (task grec); ask it about one person, with "
            "keypoints, parsing or caption: model.refer, or refhcm ask without --all"
        )
    if keypoints and KEYPOINTS_BY_BOX not in learned:
        raise UserError(
            "find: this model has not learned keypoints by box; leave keypoints out, or ask about one person: "
            "model.refer, or refhcm ask without --all"
        )
