"""Getting the files of something published into a folder; those that are there are left alone."""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from ..errors import UserError, printable
from ..files import digest, readable
from .sources import SHA256, SOURCES, File, Source, find, in_folder, on_the_hub, on_the_web

PHOTOS = ("vocabulary", "tokenizer", "refhcm")  # what asking about photographs needs


def is_offline() -> bool:
    """Whether REFHCM_OFFLINE forbids downloads that nobody has asked for."""
    return os.environ.get("REFHCM_OFFLINE", "").lower() not in ("", "0", "false", "no", "off")


@dataclass(frozen=True)
class Place:
    """Where files come from, if not from where they are published."""

    mirror: str | None = None  # a folder, or an http address
    repo: str = ""  # of the hub, OWNER/NAME
    revision: str | None = None  # of the repository


def in_root(name: str, root: Path) -> Path:
    """The folder of something published below the folder that holds dataset/ and checkpoints/."""
    return root / SOURCES[name].folder


def beside_weights(name: str, folder: Path) -> Path:
    """The same for a folder of weights, in which `load` looks for bpe/ and vqgan/."""
    return folder / {"vocabulary": "bpe", "tokenizer": "vqgan"}.get(name, "")


def origin(place: Place, source: Source) -> tuple[str, list[File]]:
    """Where the files come from, and what is there: the place, or where they are published."""
    repo = place.repo or (source.repo if place.mirror is None else "")
    if repo:
        return repo, on_the_hub(repo, kind=source.kind, revision=place.revision)
    if place.revision:
        raise UserError("--revision: needs a repository of the hub; name one with --repo")
    address = place.mirror or source.url
    if address.startswith(("http://", "https://")):
        return address, on_the_web(address, source.files)
    folder = Path(address)
    if not source.files and (folder / source.folder).is_dir():  # a copy of the whole tree
        folder /= source.folder
    return f"--from {folder}", in_folder(folder)


def is_there(path: Path) -> bool:
    """Whether the file is there. UserError if it should be a published one and differs from it."""
    if path.is_file() and path.name in SHA256 and digest(path) != SHA256[path.name]:
        raise UserError(f"{path}: differs from the published file; move it away first")
    return path.is_file()


def say(line: str) -> None:
    """Prints a line, on which names cannot steer a terminal."""
    print(printable(line))


def get(file: File, path: Path) -> None:
    """Downloads or copies a file, and says so."""
    file.get(path)
    say(f"{path}: {readable(path.stat().st_size)}")


def download_files(place: Place, source: Source, folder: Path) -> None:
    """Gets those of the source's named files that are missing in `folder`."""
    listed = cache(lambda: origin(place, source))  # nothing is asked for when nothing is missing
    for name in source.files:
        path = folder / name
        if is_there(path):
            say(f"{path}: already there")
        else:
            where, files = listed()
            documented = PurePosixPath(source.folder, name)
            get(find(files, documented, where=where), path)
