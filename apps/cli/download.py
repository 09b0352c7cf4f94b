"""Downloads the published vocabulary, weights and data into the folders where every other command looks for them.

    refhcm download photos                           all that asking about photographs needs: the next three
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
from pathlib import Path, PurePosixPath

from ...utils.download.fetch import PARTIAL, begun, is_plain, require_space, unpack
from ...utils.download.published import (
    PHOTOS,
    Place,
    beside_weights,
    download_files,
    get,
    in_root,
    is_there,
    origin,
    say,
)
from ...utils.download.sources import SOURCES, Source
from ...utils.errors import UserError


def _is_data(path: PurePosixPath) -> bool:
    """Neither hidden, nor partial, nor a repository's card."""
    return path.name != "README.md" and not any(part.startswith(".") or part.endswith(PARTIAL) for part in path.parts)


def is_unpacked(archive: Path, others: Container[Path]) -> bool:
    """Whether the folder of a zip file's name holds something other than downloaded files."""
    if archive.suffix != ".zip":
        return False
    inside = (file for file in archive.with_suffix("").rglob("*") if file.is_file() and not file.name.endswith(PARTIAL))
    return any(file not in others for file in inside)


def download_dataset(args: argparse.Namespace, place: Place, source: Source, folder: Path) -> None:
    """Gets the files that --include chooses and `folder` lacks, and unpacks the zip files among them."""
    where, listed = origin(place, source)
    for file in listed:
        if not is_plain(file.path):
            say(f"{where}: {file.path}: left out, because its name leads out of the folder or is not text")
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
            say(f"{folder / name}: already there")
        else:
            get(everything[name], folder / name)
    for name in names:
        if name.endswith(".zip") and not is_unpacked(folder / name, others):
            _unpack(folder / name)


def _unpack(archive: Path) -> None:
    place = archive.with_suffix("")
    if place.is_dir() and any(place.iterdir()):
        say(f"{archive}: not unpacked, because {place} holds other files; unpack it by hand")
    else:
        unpack(archive, place)
        say(f"{place}: unpacked")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    kinds = {"photos": f"{', '.join(PHOTOS)}"} | {name: source.summary for name, source in SOURCES.items()}
    listed = "; ".join(f"{name}: {summary}" for name, summary in kinds.items())
    parser.add_argument("what", choices=kinds, metavar="WHAT", help=f"What to get. {listed}.")
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "--root",
        type=Path,
        default=Path(),
        help="Download into dataset/ and checkpoints/ of this folder (default: the working folder).",
    )
    place.add_argument(
        "--out", type=Path, help="Put the files straight into this folder; of photos, also into its bpe/ and vqgan/."
    )
    origin = parser.add_mutually_exclusive_group()
    origin.add_argument(
        "--from", dest="mirror", metavar="PLACE", help="Copy from this folder, or download from this http address."
    )
    origin.add_argument("--repo", default="", help="Download from this repository of the hub, OWNER/NAME.")
    parser.add_argument("--revision", help="Use this branch, tag or commit of the repository.")
    parser.add_argument(
        "--include", action="append", default=[], metavar="PATTERN", help="Get only matching files of the dataset."
    )


def run(args: argparse.Namespace) -> None:
    """Downloads what is missing and prints a line for each file. UserError says what went wrong."""
    if args.include and args.what != "dataset":
        raise UserError(f"--include: only works with dataset, {args.what} is not a set of files")
    place = Place(args.mirror, args.repo, args.revision)
    if args.what == "photos":
        for name in PHOTOS:
            folder = in_root(name, args.root) if args.out is None else beside_weights(name, args.out)
            download_files(place, SOURCES[name], folder)
        return
    source, folder = SOURCES[args.what], args.out or in_root(args.what, args.root)
    if source.files:
        download_files(place, source, folder)
    else:
        download_dataset(args, place, source, folder)
