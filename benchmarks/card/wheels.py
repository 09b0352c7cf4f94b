"""Carries what a machine without network lacks: wheels into a folder, and from it into a virtual environment.

    python benchmarks/card/wheels.py bundle FOLDER [NAME ...]     where there is a network; NAME: further packages
    python benchmarks/card/wheels.py install FOLDER VENV          there, with the Python that has torch

Only the standard library and pip are used, since nothing else is installed yet.
"""

import argparse
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LARGEST = 64 * 2**20
# fairseq's own requirements, and ours that torch and torchvision do not bring; scipy (35 MB) and Pillow must be there.
NAMES = (
    *("timm", "tokenizers", "pycocotools", "PyYAML", "tqdm", "fairseq-fixed"),
    *("safetensors", "hydra-core==1.3.2", "omegaconf==2.3.0", "bitarray", "cffi", "pycparser", "regex"),
    *("sacrebleu", "portalocker", "packaging"),
)
FROM_SOURCE = ("antlr4-python3-runtime==4.9.3",)  # hydra's; pure Python, but PyPI has no wheel of this release
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in (28, 27, 24, 17)] + ["manylinux2014_x86_64"]


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("bundle")
    make.add_argument("folder", type=Path)
    make.add_argument("names", nargs="*", metavar="NAME", help="packages that the machine lacks, too, such as scipy")
    make.add_argument("--python-version", default="3.12")
    use = commands.add_parser("install")
    use.add_argument("folder", type=Path)
    use.add_argument("venv", type=Path)
    args = parser.parse_args(arguments)
    if args.command == "bundle":
        bundle(args.folder.resolve(), args.names, python_version=args.python_version)
    else:
        install(args.folder.resolve(), args.venv.resolve())


def bundle(folder: Path, names: list[str], *, python_version: str) -> None:
    """Downloads wheels for Linux on x86-64 into a new folder. SystemExit if they are more than 64 MiB."""
    if folder.exists() and any(folder.iterdir()):
        sys.exit(f"error: {folder} is not empty: two versions of one package stop the installation; give a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    platforms = [f"--platform={name}" for name in PLATFORMS]
    target = ["--only-binary=:all:", f"--python-version={python_version}", "--implementation=cp", *platforms]
    wanted = [requirement(name) for name in (*NAMES, *names)]
    _pip("download", "--no-deps", *target, "--dest", str(folder), *wanted)
    _pip("wheel", "--no-deps", "--wheel-dir", str(folder), *FROM_SOURCE)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {len(list(folder.iterdir()))} wheels, {size / 2**20:.1f} MiB")
    if size > LARGEST:
        sys.exit(f"error: {folder}: more than {LARGEST // 2**20} MiB: name fewer packages")


def requirement(name: str) -> str:
    """The name with the versions that pyproject.toml allows, where it knows the package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    known = [*project["dependencies"], *(line for lines in project["optional-dependencies"].values() for line in lines)]
    return next((line for line in known if line.startswith((f"{name}>", f"{name}="))), name)


def install(folder: Path, target: Path) -> None:
    """Makes a virtual environment that sees this Python's packages, and installs the wheels that those lack."""
    wheels = sorted(folder.glob("*.whl"))
    if not wheels:
        sys.exit(f"error: {folder}: no wheels there; make them with: python {Path(__file__).name} bundle {folder}")
    venv.create(target, system_site_packages=True, with_pip=False, clear=True)
    python = target / "bin" / "python"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.run([python, "-c", where], check=True, capture_output=True, text=True).stdout.strip())
    # This Python may itself be of a virtual environment, whose packages the new one would not see.
    parents = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    (site / "parent.pth").write_text("".join(f"{path}\n" for path in parents))
    names = [wheel.name.split("-")[0] for wheel in wheels]  # by name: pip skips what is there
    _pip("--python", str(python), "install", "--no-index", "--no-deps", "--find-links", str(folder), *names)


def _pip(*arguments: str) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pip must not find a folder of this repository
        command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
        done = subprocess.run(command, cwd=folder, check=False)
    if done.returncode:
        sys.exit(f"error: pip failed: {' '.join(arguments[:2])}")


if __name__ == "__main__":
    main()
