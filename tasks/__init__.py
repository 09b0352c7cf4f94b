"""The tasks by name: TASKS answer, TRAINABLE can be trained.

They are imported on first use (PEP 562): `refhcm --help` and downloads need no torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Task

    TASKS: dict[str, type[Task]]
    TRAINABLE: dict[str, type[Task]]


def __getattr__(name: str) -> Any:
    if name not in ("Task", "TASKS", "TRAINABLE"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .base import Task
    from .grec import GeneralizedComprehension
    from .multitask import Multitask
    from .refcoco import ReferringComprehension
    from .rhrc import ReferringCaption
    from .rkpt import ReferringKeypoints
    from .rpar import ReferringParsing
    from .rpar_full_mask import ReferringParsingParallel

    answering = (
        ReferringComprehension,
        ReferringKeypoints,
        ReferringParsing,
        ReferringParsingParallel,
        ReferringCaption,
        GeneralizedComprehension,
    )
    tasks = {task.name: task for task in answering}
    globals().update(Task=Task, TASKS=tasks, TRAINABLE={**tasks, Multitask.name: Multitask})
    return globals()[name]
