"""The Hugging Face hub: what a repository holds, and getting a file of it.

The hub's own settings hold: `HF_ENDPOINT` names a mirror, `HF_TOKEN` opens a private repository.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .fetch import TIMEOUT_S, FetchError, fetch


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository, as the hub lists it."""

    path: str
    size: int
    sha256: str | None  # of the large ones


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A repository of the hub at a revision."""

    id: str
    kind: str  # "model" or "dataset"
    revision: str | None = None

    def files(self) -> list[RemoteFile]:
        """Everything in it. FetchError: no connection, no such repository or revision."""
        from huggingface_hub import HfApi

        with self._errors():
            api = HfApi(endpoint=_endpoint())
            which = {"repo_type": self.kind, "revision": self.revision}
            found = api.repo_info(self.id, **which, files_metadata=True, timeout=TIMEOUT_S)
            return [
                RemoteFile(file.rfilename, file.size or 0, file.lfs.sha256 if file.lfs else None)
                for file in found.siblings or ()
            ]

    def fetch(self, file: RemoteFile, path: Path) -> None:
        """Downloads a file to `path`, going on where an earlier run stopped: the hub's own client would start anew."""
        from huggingface_hub import get_token, hf_hub_url

        url = hf_hub_url(self.id, file.path, repo_type=self.kind, revision=self.revision, endpoint=_endpoint())
        fetch(url, path, sha256=file.sha256, token=get_token())

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """The hub's and the connection's errors as one line."""
        from huggingface_hub import errors

        name = self.id if self.revision is None else f"{self.id} at {self.revision}"
        try:
            yield
        except errors.RevisionNotFoundError as error:
            raise FetchError(f"{name}: the hub has no such revision") from error
        except errors.GatedRepoError as error:
            raise FetchError(f"{name}: asks for an account with access; log in with `hf auth login`") from error
        except errors.RepositoryNotFoundError as error:
            raise FetchError(f"{name}: the hub has no such {self.kind}, or it is private (404)") from error
        except errors.HFValidationError as error:
            raise FetchError(f"{name}: not a repository's name, expected OWNER/NAME") from error
        except errors.HfHubHTTPError as error:
            raise FetchError(f"{name}: {_first_line(error)}") from error
        except (errors.HTTPError, OSError) as error:
            raise FetchError(f"{name}: can not be had from {_host()}: {_first_line(error)}") from error


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or None


def _host() -> str:
    return _endpoint() or "huggingface.co"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
