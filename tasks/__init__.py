"""The tasks by name."""

from .base import Task
from .refcoco import ReferringComprehension

TASKS: dict[str, type[Task]] = {task.name: task for task in (ReferringComprehension,)}
