"""Models by name, `refhcm.load("refhcm")`: found where `refhcm download` puts them, or downloaded if the user agrees.

A name is one that `refhcm download` knows. REFHCM_OFFLINE=1 asks nobody and downloads nothing.
"""

import sys
from pathlib import Path

from ..utils.download.published import PHOTOS, Place, download_files, in_root, is_offline
from ..utils.download.sources import MODEL_REPO, SOURCES
from ..utils.errors import UserError
from ..utils.model_files import CONFIG, OTHER_WEIGHTS, WEIGHTS

ROOT = Path(__file__).resolve().parent.parent
MODELS = ("refhcm", "refhcm-tuned")  # names of models to ask
SIZE = "1.9 GB"  # of each, with the 2 MB of the vocabulary and the tokenizer


def model_file(given: str | Path) -> Path:
    """The file of weights that a name means, downloaded if it is missing and the user agrees; a path as it is.

    UserError, which ends with the command that gets the file: it is missing, and nobody can be asked, or agrees.
    """
    if not isinstance(given, str) or given not in MODELS or _is_model(Path(given)):
        return path_given(given, "checkpoint")
    folders = [in_root(given, root) for root in (Path(), ROOT)]
    (name,) = SOURCES[given].files
    found = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if found is not None:
        return found
    # a clone is found from everywhere, the folder of an installed package is no place for weights
    root = ROOT if (ROOT / "pyproject.toml").is_file() else Path()
    needed = [*(one for one in PHOTOS if one not in MODELS), given]
    _ask(given, root, command=f"refhcm download {'photos' if given in PHOTOS else given}")
    for one in needed:
        download_files(Place(), SOURCES[one], in_root(one, root))
    return in_root(given, root) / name


def path_given(given: str | Path, name: str) -> Path:
    """What a caller gave for a path. UserError names the argument if it is none."""
    if not isinstance(given, str | Path):
        raise UserError(f"{name}: needs a path, got {type(given).__name__}")
    return Path(given)


def _is_model(path: Path) -> bool:
    """Whether it is a file, or a folder of a model; a clone's folder `refhcm` is neither."""
    return path.is_file() or any((path / name).is_file() for name in (CONFIG, WEIGHTS, OTHER_WEIGHTS))


def _ask(name: str, root: Path, *, command: str) -> None:
    """UserError unless somebody at a terminal agrees to the download."""
    missing = f"{name}: {SOURCES[name].files[0]} is not in {in_root(name, root)}"
    if is_offline():
        raise UserError(f"{missing}, and REFHCM_OFFLINE forbids the download. Without it, run: {command}")
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        raise UserError(f"{missing} ({SIZE} to download). Run: {command}")
    where = f"{SOURCES[name].summary}, {SIZE}, is at https://huggingface.co/{MODEL_REPO}, where its licence stands"
    others = "with it come the parsing-map tokenizer and GPT-2's vocabulary (MIT)"
    print(f"{missing}: {where}; {others}.\nDownload now? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UserError(f"{missing}, and was not downloaded. Later, run: {command}")
