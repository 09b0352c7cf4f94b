"""What ComfyUI provides: model folders, memory, progress and cancelling. Outside ComfyUI there are defaults."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...inference.batch_size import BATCH_MEMORY
from ...inference.loading import ROOT, SHIPPED
from ...models.refhcm.network import Network
from ...utils.files import files_below
from ...utils.memory import keep_freed_memory, stop_keeping_freed_memory
from ...utils.model_files import WEIGHTS

FOLDER = "refhcm"  # in ComfyUI's models folder
STEPS = 200  # of the progress bar for each question: no answer is longer


def folders() -> list[Path]:
    """Where to look for weights; `extra_model_paths.yaml` may add folders under the name `refhcm`."""
    try:
        import folder_paths
    except ImportError:
        return [ROOT / "checkpoints"]
    own = str(Path(folder_paths.models_dir) / FOLDER)
    if FOLDER not in folder_paths.folder_names_and_paths or own not in folder_paths.get_folder_paths(FOLDER):
        folder_paths.add_model_folder_path(FOLDER, own)
    return [*map(Path, folder_paths.get_folder_paths(FOLDER)), ROOT / "checkpoints"]


def weights() -> dict[str, Path]:
    """Weights files by their path inside their folder; where two share a name, the first folder's."""
    found: dict[str, Path] = {}
    for folder in folders():
        for path in sorted(files_below(folder)):
            if (path.suffix == ".pt" or path.name == WEIGHTS) and path.parent != SHIPPED:
                found.setdefault(path.relative_to(folder).as_posix(), path)
    return found


def device(needed: int) -> Any:
    """The device that ComfyUI computes on; other models are unloaded from it until `needed` bytes are free."""
    try:
        from comfy.model_management import free_memory, get_torch_device
    except ImportError:
        return "auto"
    free_memory(needed, get_torch_device())
    return get_torch_device()


class RefHCMWeights(nn.Module):
    """The modules that ComfyUI moves together; it logs this class's name."""

    def __init__(self, *modules: nn.Module | None) -> None:
        super().__init__()
        self.parts = nn.ModuleList(module for module in modules if module is not None)


class Memory:
    """A model's place in ComfyUI's memory: unloaded when others need the room, loaded again before it is asked."""

    def __init__(self, *modules: nn.Module | None) -> None:
        self._patcher: Any = None
        try:
            from comfy.model_management import get_torch_device, unet_offload_device
            from comfy.model_patcher import ModelPatcher
        except ImportError:
            return
        weights = RefHCMWeights(*modules)
        self._patcher = ModelPatcher(weights, load_device=get_torch_device(), offload_device=unet_offload_device())

    def load(self) -> None:
        """Puts the whole model on its device, with room for a batch of questions."""
        if self._patcher is not None:
            from comfy.model_management import load_models_gpu

            load_models_gpu([self._patcher], memory_required=BATCH_MEMORY, force_full_load=True)


def on_cpu(network: Network) -> bool:
    """Whether a network's weights are on the CPU."""
    return next(network.encoder.parameters()).device.type == "cpu"


@contextmanager
def keeping_freed_memory(network: Network) -> Iterator[None]:
    """On the CPU, what is freed serves the next step; afterwards it is for the other nodes, too."""
    if not on_cpu(network):
        yield
        return
    keep_freed_memory()
    try:
        yield
    finally:
        stop_keeping_freed_memory()


@contextmanager
def progress(network: Network, questions: int) -> Iterator[None]:
    """Moves ComfyUI's progress bar with every decoding step, and lets the user cancel between two of them.

    questions: how often the network will be asked, as far as known; each is a stretch of the bar.
    """
    try:
        from comfy.model_management import throw_exception_if_processing_interrupted
        from comfy.utils import ProgressBar
    except ImportError:
        yield
        return
    total = max(questions, 1) * STEPS
    bar, asked, steps = ProgressBar(total), 0, 0

    def question(*_: Any) -> None:
        nonlocal asked, steps
        throw_exception_if_processing_interrupted()
        asked, steps = asked + 1, 0
        bar.update_absolute(min((asked - 1) * STEPS, total))

    def step(*_: Any) -> None:
        nonlocal steps
        throw_exception_if_processing_interrupted()
        steps = min(steps + 1, STEPS)
        bar.update_absolute(min(max(asked - 1, 0) * STEPS + steps, total))

    # The decoder embeds once for each step of a search, through this module.
    hooks = [
        network.encoder.register_forward_pre_hook(question),
        network.decoder.layernorm_embedding.register_forward_pre_hook(step),
    ]
    try:
        with keeping_freed_memory(network):
            yield
    finally:
        for hook in hooks:
            hook.remove()
    bar.update_absolute(total)


@contextmanager
def ordinary_tensors() -> Iterator[None]:
    """ComfyUI runs nodes in inference mode and moves weights outside it, which tensors of that mode refuse."""
    with torch.inference_mode(False), torch.no_grad():
        yield
