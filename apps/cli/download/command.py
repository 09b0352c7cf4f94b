"""`refhcm download`: vocabulary, weights and data into the folders where everything else looks for them.

Published files are fetched whole or not at all, and checked where their sha256 is known: the vocabulary's is written
here, the hub says that of its large files. A file that is there already is left alone; a run that was stopped goes on.
"""

import argparse
import fnmatch
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

from ....utils.errors import UserError
from ....utils.files import digest, readable
from .fetch import begun, copy, fetch, require_space, unpack
from .hub import RemoteFile, Repository

GPT2_BPE = "https://dl.fbaipublicfiles.com/fairseq/gpt2_bpe"
OFA = "https://ofa-beijing.oss-cn-beijing.aliyuncs.com/checkpoints"  # of OFA's list of checkpoints


@dataclass(frozen=True)
class Source:
    """What is published where, and its documented folder below the root."""

    summary: str
    folder: str
    files: tuple[str, ...] = ()  # names; none: all that the repository holds
    url: str | None = None  # the files' common address
    repo: str | None = None  # of the hub, by the owner's page there
    kind: str = "model"


# sha256 of files whose content is known here.
SHA256 = {
    "dict.txt": "2c31c5b236661067fe8626775eb995ef5fe808ac87d2ad4a6ddbef68550f5cc6",
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}
MODEL_REPO = "JJJYmmm/RefHCM"
SOURCES = {
    "vocabulary": Source("GPT-2's BPE and fairseq's dictionary", "dataset/bpe", tuple(SHA256), url=GPT2_BPE),
    "refhcm": Source("the released multitask model", "checkpoints", ("refhcm.pt",), repo=MODEL_REPO),
    "refhcm-tuned": Source("the same, tuned on ReasonRef", "checkpoints", ("refhcm-tuned.pt",), repo=MODEL_REPO),
    "ofa-large": Source("what training starts from", "checkpoints", ("ofa_large.pt",), url=OFA),
    "tokenizer": Source(
        "the parsing-map tokenizer", "checkpoints/vqgan", ("model.yaml", "model.ckpt"), repo=MODEL_REPO
    ),
    "dataset": Source("all tables, 29 GB; see --include", "dataset", repo="JJJYmmm/RefHCM-dataset", kind="dataset"),
}


@dataclass(frozen=True)
class Folder:
    """A copy that someone made: the documented tree, any part of it, or the files side by side."""

    root: Path

    def everything(self) -> list[str]:
        """All data files, as paths below `dataset/`."""
        base = self._data()
        return [path.relative_to(base).as_posix() for path in base.rglob("*") if path.is_file()]

    def get(self, documented: PurePosixPath, path: Path) -> None:
        """Copies the file whose place is `documented`."""
        found = (self.root / end for end in endings(documented) if (self.root / end).is_file())
        source = next(found, None)
        if source is None:
            raise UserError(f"--from {self.root}: holds no {documented} and no {documented.name}")
        copy(source, path, sha256=SHA256.get(path.name))

    def take(self, name: str, path: Path) -> None:
        """Copies one of `everything`."""
        copy(self._data() / name, path)

    def _data(self) -> Path:
        if not self.root.is_dir():
            raise UserError(f"--from {self.root}: no such folder")
        return self.root / "dataset" if (self.root / "dataset").is_dir() else self.root


@dataclass(frozen=True)
class Web:
    """Files side by side below an address."""

    url: str

    def everything(self) -> list[str]:
        """An address can not be listed."""
        raise UserError(f"--from {self.url}: the data needs a folder or a repository of the hub, which can be listed")

    def take(self, name: str, path: Path) -> None:
        """See `everything`."""
        self.everything()

    def get(self, documented: PurePosixPath, path: Path) -> None:
        """Downloads the file of that name."""
        fetch(f"{self.url.rstrip('/')}/{documented.name}", path, sha256=SHA256.get(path.name))


class Hub:
    """A repository of the hub. It is listed once, and its files are found by the end of their path."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository

    @cached_property
    def _files(self) -> dict[str, RemoteFile]:
        return {file.path: file for file in self.repository.files()}

    def everything(self) -> list[str]:
        """The paths of all files."""
        return list(self._files)

    def size(self, paths: Iterable[str]) -> int:
        """Bytes of these files together."""
        return sum(self._files[path].size for path in paths)

    def get(self, documented: PurePosixPath, path: Path) -> None:
        """Downloads the file whose place is `documented`."""
        self.take(self._locate(documented), path)

    def take(self, name: str, path: Path) -> None:
        """Downloads one of `everything`."""
        file = self._files[name]
        self.repository.fetch(replace(file, sha256=file.sha256 or SHA256.get(path.name)), path)

    def _locate(self, documented: PurePosixPath) -> str:
        paths = list(self._files)
        for end in map(str, endings(documented)):
            hits = [path for path in paths if path == end or path.endswith(f"/{end}")]
            if len(hits) == 1:
                return hits[0]
            if hits:
                raise UserError(f"{self.repository.id}: holds {documented.name} more than once: {', '.join(hits)}")
        some = ", ".join(sorted(paths)[:12]) + (", ..." if len(paths) > 12 else "")
        raise UserError(f"{self.repository.id}: holds no {documented.name}; it holds {some or 'nothing'}")


Origin = Folder | Web | Hub


def endings(path: PurePosixPath) -> Iterator[PurePosixPath]:
    """a/b/c, b/c, c: the places where a copy may have a documented file."""
    return (PurePosixPath(*path.parts[k:]) for k in range(len(path.parts)))


def origin_of(args: argparse.Namespace, source: Source) -> Origin:
    """Where the files come from: --from, --repo, or where they are published."""
    on_hub = args.mirror is None and (args.repo or source.repo)
    if args.revision and not on_hub:
        raise UserError("--revision: goes with a repository of the hub; name one with --repo")
    if args.mirror is not None:
        web = args.mirror.startswith(("http://", "https://"))
        return Web(args.mirror) if web else Folder(Path(args.mirror))
    if on_hub:
        return Hub(Repository(id=args.repo or source.repo, kind=source.kind, revision=args.revision))
    return Web(source.url)


def wanted(source: Source, origin: Origin, include: Sequence[str]) -> list[str]:
    """Paths below the source's folder of what is to be had."""
    if source.files:
        return list(source.files)
    names = [name for name in origin.everything() if is_data(PurePosixPath(name))]
    chosen = [name for name in names if not include or any(fnmatch.fnmatch(name, pattern) for pattern in include)]
    if not chosen:
        raise UserError(f"no file to get{' matches --include ' + ' '.join(include) if include else ''}")
    return sorted(chosen)


def is_data(path: PurePosixPath) -> bool:
    """Neither a hidden file, nor a half one, nor a card of the repository, nor a path that leaves the folder."""
    inside = not path.is_absolute() and not any(part.startswith(".") for part in path.parts)
    return inside and path.name != "README.md" and path.suffix != ".part"


def unpacked(path: Path, others: Container[Path]) -> bool:
    """Whether the folder of a zip file's name holds a file that is none of the others."""
    if path.suffix != ".zip":
        return False
    inside = (file for file in path.with_suffix("").rglob("*") if file.is_file() and file.suffix != ".part")
    return any(file not in others for file in inside)


def is_there(path: Path, others: Container[Path]) -> bool:
    """Whether there is nothing to get: the file, or what was unpacked of it. UserError if it is another file."""
    if unpacked(path, others):
        return True
    if path.is_file() and path.name in SHA256 and digest(path) != SHA256[path.name]:
        raise UserError(f"{path}: is there, and is another file than the published one: move it away first")
    return path.is_file()


def download(source: Source, origin: Origin, folder: Path, *, include: Sequence[str] = ()) -> list[str]:
    """Gets what is missing in `folder`; a line for each file."""
    names = wanted(source, origin, include)
    paths = [folder / name for name in names]
    others = set(paths) if source.files else {folder / name for name in origin.everything()}
    missing = [name for name in names if not is_there(folder / name, others)]
    if isinstance(origin, Hub) and not source.files:
        require_space(folder, origin.size(missing) - sum(begun(folder / name) for name in missing))
    lines = [f"{folder / name}: is there already" for name in names if name not in missing]
    for name in missing:
        path = folder / name
        if source.files:
            origin.get(PurePosixPath(source.folder, name), path)
        else:
            origin.take(name, path)
        lines.append(f"{path}: {readable(path.stat().st_size)}")
    for path in (path for path in paths if path.suffix == ".zip" and not unpacked(path, others)):
        place = path.with_suffix("")
        if place.is_dir() and any(place.iterdir()):
            lines.append(f"{path}: left packed, for {place} holds other files: unpack it by hand")
        else:
            unpack(path, place)
            lines.append(f"{place}: unpacked")
    return lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("what", choices=SOURCES, metavar="WHAT", help=", ".join(SOURCES))
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--root", type=Path, default=Path(), help="folder of dataset/ and checkpoints/ (default: here)")
    place.add_argument("--out", type=Path, help="folder of the files themselves")
    origin = parser.add_mutually_exclusive_group()
    origin.add_argument(
        "--from", dest="mirror", metavar="DIR", help="copy from a folder, or from another address of the same files"
    )
    origin.add_argument("--repo", help="repository of the hub, OWNER/NAME (default: the authors')")
    parser.add_argument("--revision", help="branch, tag or commit of the repository")
    parser.add_argument(
        "--include", action="append", default=[], metavar="PATTERN", help="of dataset: only these, such as 'rpar/*'"
    )


def run(args: argparse.Namespace) -> int:
    """Exit status 0; a UserError says what went wrong."""
    source = SOURCES[args.what]
    if args.include and source.files:
        raise UserError(f"--include: {args.what} has no files to choose from")
    folder = args.out or args.root / source.folder
    for line in download(source, origin_of(args, source), folder, include=args.include):
        print(line)
    return 0
