"""What a run is trained on, as its checkpoints remember it: a mark of each file, and what orders the rows."""

from collections.abc import Mapping
from typing import Any

from ..tasks.fairseq_tasks import ReferringTask
from ..utils.errors import CheckpointError
from ..utils.files import file_mark

VALIDATION = "validation file"


def run_data(task: ReferringTask, *, validated: bool) -> dict[str, Any]:
    """`files`: path and mark by role. `order`: the settings that decide which row comes when, by flag."""
    settings = vars(task.settings)
    training = task.plain.training_files(task.files)
    files = {f"training file {number}": path for number, path in enumerate(training, start=1)}
    files |= {_flag(name): path for name, path in settings.items() if name.endswith("_dataset") and path}
    if validated:
        files[VALIDATION] = task.files[-1]
    order = {"--seed": task.args.seed, "--curriculum": getattr(task.args, "curriculum", 0)}
    order |= {_flag(name): settings[name] for name in ("rows_together", "part_rows") if name in settings}
    return {"files": {role: {"path": path, **file_mark(path)} for role, path in files.items()}, "order": order}


def check_training_data(now: Mapping[str, Any], stored: Mapping[str, Any], *, where: str) -> None:
    """CheckpointError unless both are trained on the same rows in the same order. stored: empty in old checkpoints."""
    hint = "give another --save-dir, or start an epoch of the new data with --reset-dataloader"
    if not stored:
        return
    for role in dict.fromkeys([*stored["files"], *now["files"]]):
        if role != VALIDATION:
            _check_file(role, now["files"].get(role), stored["files"].get(role), where=where, hint=hint)
    for flag in dict.fromkeys([*stored["order"], *now["order"]]):
        was, given = stored["order"].get(flag), now["order"].get(flag)
        if was != given:
            raise CheckpointError(f"{where}: was trained with {flag}={was}, not {given}: {hint}")


def check_validation_data(now: Mapping[str, Any], stored: Mapping[str, Any], *, where: str) -> None:
    """CheckpointError if both validate, on different rows: the best values so far could not be compared."""
    was, given = (data.get("files", {}).get(VALIDATION) for data in (stored, now))
    if was and given:
        hint = "give another --save-dir, or forget the best value so far with --reset-meters"
        _check_file(VALIDATION, given, was, where=where, hint=hint)


def _check_file(
    role: str, now: Mapping[str, Any] | None, stored: Mapping[str, Any] | None, *, where: str, hint: str
) -> None:
    if now is None or stored is None:
        was, given = (found["path"] if found else "none" for found in (stored, now))
        raise CheckpointError(f"{where}: was trained on another {role}: {was}, not {given}: {hint}")
    if now["size"] != stored["size"]:
        sizes = f"{stored['size']} bytes then, {now['size']} now"
        raise CheckpointError(f"{where}: was trained on another {role}: {now['path']} had {sizes}: {hint}")
    if now["sha256"] != stored["sha256"]:
        raise CheckpointError(f"{where}: was trained on another {role}: {now['path']} had other content: {hint}")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
