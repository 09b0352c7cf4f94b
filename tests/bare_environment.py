"""A virtual environment with what the package asks for and nothing else, made of what is installed here, offline."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


class BareEnvironment:
    """`python -m venv`, the requirements with those of `extras`, and refhcm as its wheel unpacks."""

    def __init__(self, folder, *extras):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        self.bin = folder / "bin"
        self.site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
        self.package = self.site / "refhcm"
        project = PYPROJECT["project"]
        extra_lines = (line for extra in extras for line in project["optional-dependencies"][extra])
        self.names = required([*project["dependencies"], *extra_lines])
        link(self.names, self.site)
        unpack_package(self.package)
        for name, entry in project["scripts"].items():
            write_script(self.bin / name, *entry.split(":"))

    def run(self, program, *arguments, folder):
        """Standard output of a program of `bin/`."""
        command = [str(self.bin / program), *map(str, arguments)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=600, cwd=folder, env=environment, check=False
        )
        assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
        return done.stdout


def required(requirements: Iterable[str]) -> set[str]:
    """Names of the distributions that these requirements bring, with those that they require in turn."""
    names, seen = set(), set()
    left = [(Requirement(line), "") for line in requirements]
    while left:
        requirement, extra = left.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        names.add(name)
        for asked in {(name, extra) for extra in ("", *requirement.extras)} - seen:
            seen.add(asked)
            lines = importlib.metadata.requires(name) or []
            left += [(Requirement(line), asked[1]) for line in lines]
    return names


def link(names: set[str], site: Path) -> None:
    """Links to what these distributions have installed: whole folders, or files where others own some of a folder."""
    owners = defaultdict(set)
    installed = {canonicalize_name(found.metadata["Name"]): found for found in importlib.metadata.distributions()}
    for name, found in installed.items():
        for file in found.files or ():
            owners[file.parts[0]].add(name)
    for name in names:
        for file in installed[name].files:
            top = PurePath(file.parts[0])
            entry = top if owners[file.parts[0]] <= names else file
            place = site / entry
            if ".." in file.parts or place.is_symlink():  # a program of bin/; linked already
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(installed[name].locate_file(entry))


def unpack_package(folder: Path) -> None:
    """The modules and data that pyproject.toml puts into the wheel, as copies: they find their own data only."""
    setuptools = PYPROJECT["tool"]["setuptools"]
    for package in setuptools["packages"]:
        inner = Path(*package.split(".")[1:])
        for pattern in ("*.py", *setuptools["package-data"].get(package, ())):
            for path in filter(Path.is_file, (ROOT / inner).glob(pattern)):
                (folder / inner).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, folder / inner / path.name)


def write_script(path: Path, module: str, function: str) -> None:
    """A program as pip makes it of an entry of [project.scripts]."""
    python = path.with_name("python")
    path.write_text(f"#!{python}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n")
    path.chmod(0o755)
