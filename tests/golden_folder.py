"""The folder of golden numbers, and what its own files say of it: no test knows a size, a setting or a name of it."""

import json
import os
import re
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from refhcm.tasks.rpar_full_mask import BEGIN

HERE = Path(__file__).resolve().parent


def named_folder(variable: str, default: Path) -> Path:
    """The folder that an environment variable names. NotADirectoryError when it does not exist."""
    folder = Path(os.environ.get(variable) or default).resolve()
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: no such folder (${variable})")
    return folder


GOLDEN = named_folder("REFHCM_GOLDEN", HERE / "golden")
BPE = named_folder("REFHCM_BPE", HERE / "bpe")


def numbers(name: str) -> Any:
    """The content of `<name>.json`."""
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


def tensors(name: str, *, below: str = "") -> dict[str, Tensor]:
    """The tensors of `<name>.safetensors`; `below`: only those with this prefix, which their names then lack."""
    found = load_file(GOLDEN / f"{name}.safetensors")
    return {key.removeprefix(below): value for key, value in found.items() if key.startswith(below)}


def names(pattern: str) -> list[str]:
    """What stands in place of the `*` in the names of the files that are there, sorted."""
    before, after = pattern.split("*")
    return sorted(str(path.relative_to(GOLDEN))[len(before) : -len(after)] for path in GOLDEN.glob(pattern))


CHECKPOINTS = [name for name in names("checkpoints/tiny_*.pt.xz") if name != "trace_init"]
DATASETS = [name for name in numbers("dataset_golden") if name != "multitask"]
# (file, task): a task on its own checkpoint, or on that of all tasks
MODELS = [(file, task) for file in names("model/model_*.json") for task in numbers(f"model/model_{file}")["tasks"]]


def table(task: str) -> dict[str, str]:
    """`tsv`, the file of a task's rows in data/, and its `selected_cols`."""
    case = next(case for name, case in numbers("dataset_golden").items() if name.startswith(f"{task}/"))
    return {field: case[field] for field in ("tsv", "selected_cols")}


def number_in(names_of_values: Any, pattern: str) -> tuple[str, int]:
    """(name, number): the name that matches a pattern, and the stride or count that it gives in its one group."""
    found = [match for name in names_of_values if (match := re.fullmatch(pattern, name))]
    if len(found) != 1:
        raise ValueError(f"one name of the form {pattern} is needed, got {found} of {sorted(names_of_values)}")
    return found[0][0], int(found[0][1])


def vq_n_embed(task: str) -> int:
    """Number of codes of the tokenizer; Query Parallel Generation may use those below its reserved ones."""
    known = numbers("vqgan/vqgan_golden")["vq_n_embed"]
    return min(known, BEGIN) if task == "rpar_full_mask" else known
