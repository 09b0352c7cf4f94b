"""The flags of a golden trace, told from the trace itself and from the checkpoints beside it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from golden_folder import CHECKPOINTS, numbers, vq_n_embed

from refhcm.data.text import TextEncoder
from refhcm.models.refhcm import NetworkConfig
from refhcm.tasks import TASKS, TRAINABLE
from refhcm.tasks.settings import TaskSettings
from refhcm.utils.checkpoints import read_checkpoint

RECIPE = ("label_smoothing", "clip_norm", "adam_betas", "adam_eps", "weight_decay", "power", "end_learning_rate")
SAMPLES = ("selected_cols", "num_bins", "code_dict_size", "max_src_length", "max_tgt_length", "patch_image_size")
PARTS = ("refpose_dataset", "refparsing_dataset", "regcaption_dataset")  # of multitask training
EMBEDDING = "encoder.embed_tokens.weight"
Updates = list[dict[str, Any]]


def task_of(trace: str) -> str:
    """The task whose name begins the trace's."""
    return max((task for task in TRAINABLE if trace.startswith(task)), key=len)


def trace_flags(trace: str, *, data: Path, text: TextEncoder, checkpoint: Callable[[str], Path]) -> list[str]:
    """The table, then the flags of train.py; what is written where is left to the caller.

    data: a copy of the folder's data/. checkpoint: gives the path of a checkpoint by its name.
    """
    content, task = numbers(f"trace/trace_{trace}"), task_of(trace)
    updates = content["updates"]
    trained = read_checkpoint(checkpoint(task if task in CHECKPOINTS else "trace_init")).flags()
    file = data / Path(trained["data"].split(",")[0]).name
    parts = {name: str(data / Path(trained[name]).name) for name in PARTS if trained.get(name)}
    parts |= {name: value for name, value in trained.items() if name.endswith("_selected_cols") and value}
    samples = {name: trained[name] for name in SAMPLES if trained[name] is not None}
    samples |= {"annotation_root": str(data / "rpar_annos"), "vq_n_embed": vq_n_embed(task)}
    if task in TASKS:
        samples["max_tgt_length"] = _max_tgt_length(updates, task, samples, file=file, text=text)
    # The learning rate of the first update is 0: what is the same after the last was not trained.
    frozen = content["final_param_stats"][EMBEDDING] == updates[0]["param_stats_after"][EMBEDDING]
    network = vars(NetworkConfig.from_args(trained)) | dict.fromkeys(
        ("freeze_encoder_embedding", "freeze_decoder_embedding"), frozen
    )
    flags = {name: trained[name] for name in RECIPE} | samples | parts | network
    flags |= _schedule(updates) | _dropping(updates)
    return [str(file), f"--task={task}", *(_flag(name, value) for name, value in flags.items())]


def _flag(name: str, value: Any) -> str:
    name = name.replace("_", "-")
    return f"--{name}={value}" if not isinstance(value, bool) else f"--{'' if value else 'no-'}{name}"


def _max_tgt_length(updates: Updates, task: str, samples: dict[str, Any], *, file: Path, text: TextEncoder) -> int:
    """The limit that gives the trace's numbers of symbols: the checkpoint's, or the first other one."""
    wanted = {tuple(ids): count for update in updates for ids, count in zip(*_batches(update), strict=True)}
    for limit in (samples["max_tgt_length"], *range(1, 200)):
        settings = TaskSettings(**samples | {"max_tgt_length": limit})
        rows = TASKS[task](text, settings).open(file, training=True)
        targets = {sample["id"]: sample["target"] for sample in (rows[i] for i in range(len(rows)))}
        counts = {name: int((target != text.vocabulary.pad()).sum()) for name, target in targets.items()}
        if all(sum(counts[name] for name in ids) == count for ids, count in wanted.items()):
            return limit
    raise ValueError(f"{file}: no max_tgt_length gives the trace's numbers of symbols")


def _batches(update: dict[str, Any]) -> tuple[list[list[str]], list[int]]:
    return update["micro_batches"], update["ntokens"]


def _schedule(updates: Updates) -> dict[str, Any]:
    """Batches, epochs and the learning rate, which rises, then falls along a line to 0."""
    rates = [updates[0]["lr_before"], *(update["lr_after"] for update in updates)]
    highest = max(rates)
    warm_up = rates.index(highest)
    total = warm_up + round(highest / (highest - rates[warm_up + 1]))
    first = updates[0]["micro_batches"][0]
    epoch = next((n for n, update in enumerate(updates) if n and update["micro_batches"][0] == first), len(updates))
    return {
        "lr": highest,
        "warmup_ratio": (warm_up + 0.5) / total,  # rounded down to whole updates
        "max_epoch": total // epoch,
        "max_update": len(updates),
        "batch_size": max(len(batch) for update in updates for batch in update["micro_batches"]),
        "update_freq": max(len(update["micro_batches"]) for update in updates),
    }


def _dropping(updates: Updates) -> dict[str, Any]:
    """From which update on, and in what share, the worst positions do not count; nothing where all count."""
    dropping = [update for update in updates if update["sample_size"] < sum(update["ntokens"])]
    if not dropping:
        return {}

    def kept(percent: int, update: dict[str, Any]) -> int:
        return sum(count * (100 - percent) // 100 for count in update["ntokens"])

    percent = next(p for p in range(1, 100) if all(kept(p, u) == u["sample_size"] for u in dropping))
    return {"drop_worst_ratio": percent / 100, "drop_worst_after": dropping[0]["num_updates_before"] - 1}
