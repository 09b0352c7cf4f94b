"""How far each number format is from the published implementation's numbers (tests/golden), on this device."""

import json
import lzma
import re
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...models.generation import SequenceGenerator
from ...models.generation_settings import GenerationSettings
from ...models.refhcm.loading import load_network
from ...models.refhcm.network import Network
from ...utils.checkpoints import read_checkpoint
from ...utils.devices import choose_kernels, move
from ...utils.errors import UserError
from .settings import GOLDEN, Part, allow_tf32, cuda_graphs, formats

SYMBOLS = 59457
TOLERANCE = 1e-4  # absolute, of float32 (tests/golden/README.md)


def run(part: Part) -> None:
    """One row for each golden network and number format; `near`: within the goldens' tolerance."""
    files = sorted(GOLDEN.glob("model/model_*.json"))
    if not files:
        raise UserError(f"{GOLDEN}: no golden numbers here; run this in a clone of the repository")
    jobs: dict[str, Callable[[], dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for form in formats(part.device):
            for file in files:
                name = file.stem.removeprefix("model_")
                jobs[f"{name}, {form}"] = partial(compare, file, form, part.device, Path(folder))
        part.each(jobs)


def compare(file: Path, form: str, device: torch.device, folder: Path) -> dict[str, Any]:
    """The largest differences of one checkpoint's tasks, and how many symbols and answers are the same."""
    from safetensors.torch import load_file  # here: only this comparison needs it

    name, tasks = file.stem.removeprefix("model_"), json.loads(file.read_text(encoding="utf-8"))["tasks"]
    values = load_file(file.with_suffix(".safetensors"))
    checkpoint = folder / f"{name}.pt"
    if not checkpoint.exists():
        checkpoint.write_bytes(lzma.decompress((GOLDEN / "checkpoints" / f"tiny_{name}.pt.xz").read_bytes()))
    dtype = torch.float32 if form == "tf32" else getattr(torch, form)
    choose_kernels()
    allow_tf32(form == "tf32")
    try:
        network = load_network(read_checkpoint(checkpoint), SYMBOLS, device=device, dtype=dtype)
        found = [_task(network, _below(values, task), golden, device, dtype) for task, golden in tasks.items()]
    finally:
        allow_tf32(False)
    row: dict[str, Any] = {"golden": name, "format": form}
    row |= {key: max(one[key] for one in found) for key in ("encoder", "features", "logits")}
    for key in {"argmax", "answers", "graphs"} & found[0].keys():
        same, count = (sum(one[key][k] for one in found) for k in (0, 1))
        row[key] = [same, count]
    return row | {"near": all(row[key] <= TOLERANCE for key in ("encoder", "features", "logits"))}


def _below(values: dict[str, Tensor], task: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{task}/"): value for key, value in values.items() if key.startswith(f"{task}/")}


def _task(
    network: Network, golden: dict[str, Tensor], facts: dict[str, Any], device: torch.device, dtype: torch.dtype
) -> dict[str, Any]:
    """Differences [absolute] of one task; argmax, answers, graphs (on a GPU): (the same, of how many)."""
    images = (golden["patch_images_u8"].float() / 255 - 0.5) / 0.5
    source = {"src_tokens": golden["src_tokens"], "patch_images": images, "patch_masks": golden["patch_masks"]}
    source = move(source, device, dtype)
    with torch.inference_mode():
        encoder = network.encode(source)
        features = network.decoder(golden["prev_output_tokens"].to(device), encoder)
        logits = network.decoder.project(features).float().cpu()
    columns = next(name for name in golden if re.fullmatch(r"decoder_causal_logits_cols_every\d+", name))
    every = int(columns.rpartition("every")[2])
    argmax = torch.tensor(facts["full_logits_argmax"])
    ways = {"answers": _answers(network, source, facts)}
    if device.type == "cuda":
        with cuda_graphs(network, True):
            ways["graphs"] = _answers(network, source, facts)
    return {
        "encoder": _furthest(encoder.states.transpose(0, 1), golden["encoder_out"]),
        "features": _furthest(features, golden["decoder_causal_features"]),
        "logits": _furthest(logits[..., ::every], golden[columns]),
        "argmax": (int((logits.argmax(-1) == argmax).sum()), argmax.numel()),
        **{way: (sum(same), len(same)) for way, same in ways.items()},
    }


def _answers(network: Network, source: dict[str, Any], facts: dict[str, Any]) -> list[bool]:
    """Whether each best answer is the published one."""
    same = []
    for case in facts.get("generation", []):
        settings = GenerationSettings(constraint_range=case["constraint_range"], **case["args"])
        found = SequenceGenerator(settings).generate([network], {"net_input": source})
        same += [
            ours[0]["tokens"].tolist() == theirs[0]["tokens"] for ours, theirs in zip(found, case["hypos"], strict=True)
        ]
    return same


def _furthest(ours: Tensor, theirs: Tensor) -> float:
    return float((ours.float().cpu() - theirs).abs().max())
