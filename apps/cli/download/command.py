"""Downloads the published vocabulary, weights and data into the folders where every other command looks for them.

    refhcm download vocabulary                       dataset/bpe
    refhcm download refhcm                           checkpoints/refhcm.pt
    refhcm download tokenizer                        checkpoints/vqgan
    refhcm download dataset --include 'rpar/*'       a part of the 29 GB in dataset/
    refhcm download vocabulary --from /mnt/copy      from a folder, or from another address

Files that are there already are left alone. Run the same command again to resume an interrupted download. Every file
whose sha256 is known is checked. Zip files of the dataset are unpacked. Files whose names lead
out of the folder are left out.
"""

import argparse
import fnmatch
from collections.abc import Container
from functools import cache
from pathlib import Path, PurePosixPath

from ....utils.errors import UserError, printable
from ....utils.files import digest, readable
from .fetch import PARTIAL, begun, is_plain, require_space, unpack
from .sources import SHA256, SOURCES, File, Source, find, in_folder, on_the_hub, on_the_web


def origin(args: argparse.Namespace, source: Source) -> tuple[str, list[File]]:
    """Where the files come from, and what is there: --from, --repo, or where they are published."""
    repo = args.repo or (source.repo if args.mirror is None else "")
    if repo:
        return repo, on_the_hub(repo, kind=source.kind, revision=args.revision)
    if args.revision:
        raise UserError("--revision: needs a repository of the hub; name one with --repo")
    place = args.mirror or source.url
    if place.startswith(("http://", "https://")):
        return place, on_the_web(place, source.files)
    folder = Path(place)
    if not source.files and (folder / source.folder).is_dir():  # a copy of the whole tree
        folder /= source.folder
    return f"--from {folder}", in_folder(folder)


def _is_data(path: PurePosixPath) -> bool:
    """Neither hidden, nor partial, nor a repository's card."""
    return path.name != "README.md" and not any(part.startswith(".") or part.endswith(PARTIAL) for part in path.parts)


def is_there(path: Path) -> bool:
    """Whether the file is there. UserError if it should be a published one and differs from it."""
    if path.is_file() and path.name in SHA256 and digest(path) != SHA256[path.name]:
        raise UserError(f"{path}: differs from the published file; move it away first")
    return path.is_file()


def is_unpacked(archive: Path, others: Container[Path]) -> bool:
    """Whether the folder of a zip file's name holds something other than downloaded files."""
    if archive.suffix != ".zip":
        return False
    inside = (file for file in archive.with_suffix("").rglob("*") if file.is_file() and not file.name.endswith(PARTIAL))
    return any(file not in others for file in inside)


def _say(line: str) -> None:
    print(printable(line))


def _get(file: File, path: Path) -> None:
    file.get(path)
    _say(f"{path}: {readable(path.stat().st_size)}")


def download_files(args: argparse.Namespace, source: Source, folder: Path) -> None:
    """Gets those of the source's named files that are missing in `folder`."""
    place = cache(lambda: origin(args, source))  # nothing is asked for when nothing is missing
    for name in source.files:
        path = folder / name
        if is_there(path):
            _say(f"{path}: already there")
        else:
            where, files = place()
            documented = PurePosixPath(source.folder, name)
            _get(find(files, documented, where=where), path)


def download_dataset(args: argparse.Namespace, source: Source, folder: Path) -> None:
    """Gets the files that --include chooses and `folder` lacks, and unpacks the zip files among them."""
    where, listed = origin(args, source)
    for file in listed:
        if not is_plain(file.path):
            _say(f"{where}: {file.path}: left out, because its name leads out of the folder or is not text")
    everything = {file.path: file for file in listed if is_plain(file.path) and _is_data(PurePosixPath(file.path))}
    patterns = args.include or ["*"]
    names = sorted(name for name in everything if any(fnmatch.fnmatch(name, pattern) for pattern in patterns))
    if not names:
        raise UserError(
            f"{where}: holds no data{' that matches --include ' + ' '.join(args.include) if args.include else ''}"
        )
    others = {folder / name for name in everything}
    there = {name for name in names if is_unpacked(folder / name, others) or is_there(folder / name)}
    missing = [name for name in names if name not in there]
    require_space(folder, sum(everything[name].size - begun(folder / name) for name in missing))
    for name in names:
        if name in there:
            _say(f"{folder / name}: already there")
        else:
            _get(everything[name], folder / name)
    for name in names:
        if name.endswith(".zip") and not is_unpacked(folder / name, others):
            _unpack(folder / name)


def _unpack(archive: Path) -> None:
    place = archive.with_suffix("")
    if place.is_dir() and any(place.iterdir()):
        _say(f"{archive}: not unpacked, because {place} holds other files; unpack it by hand")
    else:
        unpack(archive, place)
        _say(f"{place}: unpacked")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    kinds = "; ".join(f"{name}: {source.summary}" for name, source in SOURCES.items())
    parser.add_argument("what", choices=SOURCES, metavar="WHAT", help=kinds)
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "--root", type=Path, default=Path(), help="folder that holds dataset/ and checkpoints/ (default: this one)"
    )
    place.add_argument("--out", type=Path, help="put the files straight into this folder")
    origin = parser.add_mutually_exclusive_group()
    origin.add_argument(
        "--from", dest="mirror", metavar="PLACE", help="copy from this folder, or download from this http address"
    )
    origin.add_argument("--repo", help="download from this repository of the hub, OWNER/NAME")
    parser.add_argument("--revision", help="branch, tag or commit of the repository")
    parser.add_argument(
        "--include", action="append", default=[], metavar="PATTERN", help="of the dataset, get only matching files"
    )


def run(args: argparse.Namespace) -> None:
    """Downloads what is missing and prints a line for each file. UserError says what went wrong."""
    source = SOURCES[args.what]
    if args.include and source.files:
        raise UserError(f"--include: only works with dataset, {args.what} is not a set of files")
    download = download_files if source.files else download_dataset
    download(args, source, args.out or args.root / source.folder)
