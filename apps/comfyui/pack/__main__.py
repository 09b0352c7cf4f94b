"""Writes the pack that ComfyUI's registry offers: the nodes, what they need of this project, and light requirements.

python -m refhcm.apps.comfyui.pack FOLDER --publisher ID --repository URL

Then, in FOLDER: comfy node validate, comfy node publish.
"""

import argparse
import json
import shutil
import sys
import tomllib
from pathlib import Path

from ....utils.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
OWN = Path(__file__).resolve().parent
FOLDERS = (
    "apps/comfyui",
    "checkpoints/synthetic",
    "data",
    "example_workflows",
    "inference",
    "models",
    "tasks",
    "utils",
)
FILES = ("__init__.py", "LICENSE", "apps/__init__.py")
PICTURES = "examples/*.jpg"
LEFT_OUT = ("__pycache__", "*.pyc", "fairseq_*.py", "training.tsv", "answers.jpg")
NOT_NEEDED = ("apps/comfyui/pack", "data/synthetic")


def write_pack(folder: Path, *, publisher: str, repository: str) -> list[Path]:
    """Returns the files written, below `folder`. Raises UserError if it holds something.

    publisher: its id at the registry (docs.comfy.org/registry/publishing); repository: the address of the code.
    """
    if not (ROOT / "pyproject.toml").exists():
        raise UserError("the pack is made from a clone of the repository, which holds pyproject.toml")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: is not an empty folder; name another, or empty it")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(*LEFT_OUT), dirs_exist_ok=True)
    for name in NOT_NEEDED:
        shutil.rmtree(folder / name)
    for path in [*map(ROOT.joinpath, FILES), *ROOT.glob(PICTURES)]:
        place = folder / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    shutil.copyfile(OWN / "requirements.txt", folder / "requirements.txt")
    (folder / "pyproject.toml").write_text(_description(publisher, repository), encoding="utf-8")
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def _description(publisher: str, repository: str) -> str:
    """The pack's pyproject.toml, as ComfyUI's registry reads it (docs.comfy.org/registry/specifications)."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needs = (OWN / "requirements.txt").read_text(encoding="utf-8").split()
    names = {name: project[name] for name in ("name", "version", "description", "requires-python")}
    # A string or a list of strings means the same in JSON and in TOML.
    lines = ["[project]", *(f"{name} = {json.dumps(value)}" for name, value in names.items())]
    lines += ['license = { file = "LICENSE" }', f"dependencies = {json.dumps(needs)}", ""]
    lines += ["[project.urls]", f"Repository = {json.dumps(repository)}", ""]
    lines += [
        "[tool.comfy]",
        f"PublisherId = {json.dumps(publisher)}",
        'DisplayName = "RefHCM: the person you describe"',
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """The command line; 2 for a mistake."""
    parser = argparse.ArgumentParser(prog="python -m refhcm.apps.comfyui.pack", description=__doc__)
    parser.add_argument("folder", type=Path, help="a new folder")
    parser.add_argument("--publisher", required=True, metavar="ID", help="your publisher id at the registry")
    parser.add_argument(
        "--repository", required=True, metavar="URL", help="address of the code, for the registry's page"
    )
    args = parser.parse_args()
    try:
        files = write_pack(args.folder, publisher=args.publisher, repository=args.repository)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{args.folder}: {len(files)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
