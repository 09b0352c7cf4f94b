"""What ComfyUI provides: its model folders, its device, its progress bar. Outside ComfyUI there are defaults."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...inference.loading import ROOT, SHIPPED
from ...utils.files import files_below

FOLDER = "refhcm"  # in ComfyUI's models folder


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
            if path.suffix == ".pt" and path != SHIPPED:
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


def batches(count: int, size: int) -> Iterator[slice]:
    """Slices of `size` items under ComfyUI's progress bar, which also ends the loop when the user cancels."""
    try:
        from comfy.utils import ProgressBar
    except ImportError:
        bar = None
    else:
        bar = ProgressBar(count)
    for start in range(0, count, size):
        at = slice(start, min(start + size, count))
        yield at
        if bar is not None:
            bar.update(at.stop - at.start)
