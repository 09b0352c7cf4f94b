"""What is published where, and where its files can be had: an address, a repository of the Hugging Face hub, a folder.

The hub's own settings hold: `HF_ENDPOINT` names a mirror, `HF_TOKEN` opens a private repository.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from ..errors import UserError, shown
from ..files import files_below
from .answers import TIMEOUT_S, check_address
from .fetch import copy, fetch
from .hub import endpoint, hub_errors

GPT2_BPE = "https://dl.fbaipublicfiles.com/fairseq/gpt2_bpe"
OFA = "https://ofa-beijing.oss-cn-beijing.aliyuncs.com/checkpoints"  # from OFA's list of checkpoints
MODEL_REPO = "JJJYmmm/RefHCM"

SHA256 = {
    "dict.txt": "2c31c5b236661067fe8626775eb995ef5fe808ac87d2ad4a6ddbef68550f5cc6",
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}


@dataclass(frozen=True)
class Source:
    """Something published, and its folder below the root. It has a `url` or a `repo`."""

    summary: str
    folder: str
    files: tuple[str, ...] = ()  # names; empty: everything that the repository holds
    url: str = ""  # the address that the files' names are appended to
    repo: str = ""  # of the hub, OWNER/NAME
    kind: str = "model"  # of the repository: model or dataset


SOURCES = {
    "vocabulary": Source("GPT-2's BPE and fairseq's dictionary", "dataset/bpe", tuple(SHA256), url=GPT2_BPE),
    "refhcm": Source("the released multitask model", "checkpoints", ("refhcm.pt",), repo=MODEL_REPO),
    "refhcm-tuned": Source("that model tuned on ReasonRef", "checkpoints", ("refhcm-tuned.pt",), repo=MODEL_REPO),
    "ofa-large": Source("the weights that training starts from", "checkpoints", ("ofa_large.pt",), url=OFA),
    "tokenizer": Source(
        "the parsing-map tokenizer", "checkpoints/vqgan", ("model.yaml", "model.ckpt"), repo=MODEL_REPO
    ),
    "dataset": Source("all tables, 29 GB", "dataset", repo="JJJYmmm/RefHCM-dataset", kind="dataset"),
}


@dataclass(frozen=True)
class File:
    """A file that can be had: its path where it is published, and where that is."""

    path: str
    origin: Path | str  # a file here, or an address
    size: int = 0  # bytes, as far as known
    sha256: str | None = None
    token: str | None = None  # for the address

    def get(self, to: Path) -> None:
        """Downloads or copies it. FetchError says what went wrong."""
        sha256 = self.sha256 or SHA256.get(to.name)
        if isinstance(self.origin, Path):
            copy(self.origin, to, sha256=sha256)
        else:
            fetch(self.origin, to, size=self.size or None, sha256=sha256, token=self.token)


def on_the_web(url: str, names: Sequence[str]) -> list[File]:
    """Files of these names below an address, which cannot be listed."""
    if not names:
        raise UserError(f"--from {url}: an address cannot be listed; name a folder, or a repository with --repo")
    check_address(url)
    address = quote(url.rstrip("/"), safe="%/:?#[]@!$&'()*+,;=~")  # a name may have any letters, a request ASCII only
    return [File(name, f"{address}/{name}") for name in names]


def in_folder(root: Path) -> list[File]:
    """All files in a folder, through links, too."""
    if not root.is_dir():
        raise UserError(f"--from {root}: no such folder")
    files = sorted(files_below(root, onerror=_refuse))
    return [File(path.relative_to(root).as_posix(), path, path.stat().st_size) for path in files]


def _refuse(error: OSError) -> None:
    raise UserError(f"--from {error.filename}: cannot be listed ({error.strerror})") from error


def on_the_hub(repo: str, *, kind: str, revision: str | None = None) -> list[File]:
    """All files of a repository. FetchError: no connection, no such repository or revision, no listing."""
    from huggingface_hub import HfApi, get_token, hf_hub_url

    hub = endpoint()
    with hub_errors(f"{repo} at {revision}" if revision else repo, kind=kind):
        api = HfApi(endpoint=hub)
        about = api.dataset_info if kind == "dataset" else api.model_info
        found = about(repo, revision=revision, files_metadata=True, timeout=TIMEOUT_S).siblings or []
        address = partial(hf_hub_url, repo, repo_type=kind, revision=revision, endpoint=hub)
        return [_described(file, address(file.rfilename), get_token()) for file in found]


def _described(file: Any, address: str, token: str | None) -> File:
    """A file from the hub's list. TypeError, ValueError, AttributeError: something else was there."""
    size = file.size if file.size is not None else 0
    sha256 = file.lfs.sha256 if file.lfs else None  # the hub knows it of large files only
    if not (isinstance(size, int) and 0 <= size < 10**18):
        raise ValueError(f"a file's size is {shown(size)}")
    if sha256 is not None and not re.fullmatch("[0-9a-f]{64}", sha256):
        raise ValueError(f"a file's sha256 is {shown(sha256)}")
    return File(file.rfilename, address, size, sha256, token)


def find(files: Sequence[File], documented: PurePosixPath, *, where: str) -> File:
    """The file at its documented place, or else the only one of its name. UserError lists what there is instead."""
    named = [file for file in files if PurePosixPath(file.path).name == documented.name]
    hits = [file for file in named if file.path == str(documented)] or named
    if len(hits) > 1:
        raise UserError(f"{where}: holds {documented.name} more than once: {', '.join(file.path for file in hits)}")
    if not hits:
        some = ", ".join(sorted(file.path for file in files)[:12]) + (", ..." if len(files) > 12 else "")
        raise UserError(f"{where}: holds no {documented.name}; it holds {some or 'nothing'}")
    return hits[0]
