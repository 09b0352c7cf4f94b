"""The tasks by name: those that answer, and those that can be trained."""

from .base import Task
from .multitask import Multitask
from .refcoco import ReferringComprehension
from .rhrc import ReferringCaption
from .rkpt import ReferringKeypoints
from .rpar import ReferringParsing
from .rpar_full_mask import ReferringParsingParallel

TASKS: dict[str, type[Task]] = {
    task.name: task
    for task in (
        ReferringComprehension,
        ReferringKeypoints,
        ReferringParsing,
        ReferringParsingParallel,
        ReferringCaption,
    )
}
TRAINABLE: dict[str, type[Task]] = {**TASKS, Multitask.name: Multitask}
