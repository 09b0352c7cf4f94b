"""Models of the Hugging Face hub, by OWNER/NAME (docs/models.md).

The hub's own settings hold: HF_ENDPOINT names a mirror, HF_TOKEN opens a private repository, HF_HOME is where downloads
are kept, and HF_HUB_OFFLINE, like REFHCM_OFFLINE, asks nobody.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..utils.download.hub import endpoint, hub_errors
from ..utils.download.published import is_offline
from ..utils.errors import CheckpointError, UserError, shown
from ..utils.model_files import CONFIG, TOKENIZER, WEIGHTS, read_settings

_NAME = re.compile(r"(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)(?:@(?P<revision>.+))?")
FILES = [CONFIG, WEIGHTS, *TOKENIZER, "bpe/*", "*.calibration.json", "results.json", "README.md"]


def repository(given: str | Path) -> tuple[str, str | None] | None:
    """The repository and revision that `OWNER/NAME` or `OWNER/NAME@REVISION` means; None for everything else: a path
    that exists, and a name that ends like a file of weights.
    """
    named = _NAME.fullmatch(given) if isinstance(given, str) else None
    if named is None or Path(given).exists() or named["repo"].endswith((".pt", ".ckpt", ".safetensors")):
        return None
    return named["repo"], named["revision"]


def check_revision(revision: str | None, path: Path) -> None:
    """UserError for a revision of a model that is a path."""
    if revision is not None:
        raise UserError(f"revision: {shown(revision)} is for a model of the hub, OWNER/NAME, not for {path}")


def download(repo: str, revision: str | None = None, *, files: Sequence[str] = FILES) -> Path:
    """The folder of a model, downloaded unless it is known. Its config is read first. files: patterns of its names.

    CheckpointError for a repository without a model of this kind; UserError for one that cannot be had.
    """
    from huggingface_hub import constants, errors, hf_hub_download, snapshot_download

    offline = constants.HF_HUB_OFFLINE or is_offline()
    where = f"{repo} at {revision}" if revision else repo
    at: dict[str, Any] = {"revision": revision, "local_files_only": bool(offline), "endpoint": endpoint()}
    with hub_errors(where, offline=offline, besides="no such file or folder, and "):
        try:
            config = Path(hf_hub_download(repo, CONFIG, **at))
        except errors.LocalEntryNotFoundError:
            raise
        except errors.EntryNotFoundError as error:
            hint = "what was published as files, `refhcm download` gets"
            raise CheckpointError(f"{where}: is not a model of RefHCM on the hub: holds no {CONFIG}; {hint}") from error
        try:
            read_settings(config)
        except CheckpointError as error:
            raise CheckpointError(f"{where}: is not a model of RefHCM ({error})") from error
        return Path(snapshot_download(repo, allow_patterns=list(files), max_workers=2, **at))


def upload(folder: Path, repo: str, *, revision: str | None, private: bool, message: str) -> str:
    """Makes the repository unless it exists, and commits the folder's files to it; the commit's address."""
    from huggingface_hub import HfApi

    with hub_errors(repo):
        api = HfApi(endpoint=endpoint())
        api.create_repo(repo, private=private, exist_ok=True)
        if revision:
            api.create_branch(repo, branch=revision, exist_ok=True)
        done = api.upload_folder(repo_id=repo, folder_path=folder, revision=revision, commit_message=message)
    return str(done.commit_url)
