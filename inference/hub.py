"""Models of the Hugging Face hub, by OWNER/NAME (docs/models.md).

The hub's own settings hold: HF_ENDPOINT names a mirror, HF_TOKEN opens a private repository, HF_HOME is where downloads
are kept, and HF_HUB_OFFLINE, like REFHCM_OFFLINE, asks nobody.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..utils.download.published import is_offline
from ..utils.errors import CheckpointError, UserError, reason_of, shown
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
    at: dict[str, Any] = {"revision": revision, "local_files_only": bool(offline), "endpoint": _endpoint()}
    with _one_line(where, offline=offline):
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

    with _one_line(repo, offline=False):
        api = HfApi(endpoint=_endpoint())
        api.create_repo(repo, private=private, exist_ok=True)
        if revision:
            api.create_branch(repo, branch=revision, exist_ok=True)
        done = api.upload_folder(repo_id=repo, folder_path=folder, revision=revision, commit_message=message)
    return str(done.commit_url)


def _endpoint() -> str:
    from huggingface_hub import constants

    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or constants.ENDPOINT


@contextmanager
def _one_line(where: str, *, offline: bool) -> Iterator[None]:
    """The hub's errors as a UserError of one line."""
    from huggingface_hub import errors

    try:
        yield
    except UserError:
        raise
    except errors.RevisionNotFoundError as error:
        raise UserError(f"{where}: the hub has no such revision") from error
    except errors.GatedRepoError as error:
        raise UserError(f"{where}: needs an account with access; run `hf auth login`") from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(f"{where}: no such file or folder, and the hub has no such model, or it is private") from error
    except errors.HFValidationError as error:
        raise UserError(f"{where}: no such file or folder, nor the name of a repository, OWNER/NAME") from error
    except errors.LocalEntryNotFoundError as error:
        why = "is not among the downloads, and asking the hub is off" if offline else "the hub cannot be reached"
        raise UserError(f"{where}: no such file or folder, and {why} ({_endpoint()})") from error
    except (errors.HTTPError, OSError) as error:  # type: ignore[attr-defined]  # of requests or httpx, by hub version
        raise UserError(f"{where}: {_endpoint()} did not do it ({reason_of(error)})") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:  # a page instead of an answer
        why = f"{type(error).__name__}: {reason_of(error)}"
        raise UserError(f"{where}: {_endpoint()} did not answer as a hub does ({why})") from error
