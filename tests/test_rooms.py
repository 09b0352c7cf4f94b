"""The house is in order: imports run down, in no circle, and only training knows fairseq (docs/README.md)."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = (  # from the top; rooms of one floor may know each other, as long as that is no circle
    {"train", "evaluate", "gradio_demo", "demo_s1", "__main__"},
    {"apps"},
    {"training", "inference", "benchmarks"},
    {"tasks", "tables"},
    {"data", "models"},
    {"criterions", "utils"},
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
TRAINING = {"train", "training", "criterions"}  # rooms that may import fairseq; elsewhere files named fairseq_*


def modules(root):
    """Module name below the package, such as "tasks.base" -> its file; tests and docs are left out."""
    candidates = [path for room in FLOOR_OF for path in (root / f"{room}.py", *(root / room).rglob("*.py"))]
    files = [path for path in candidates if path.is_file()]
    parts = {path: path.relative_to(root).with_suffix("").parts for path in files}
    return {".".join(names[:-1] if names[-1] == "__init__" else names): path for path, names in parts.items()}


def imports(path, name, known):
    """What a file imports anywhere, also under TYPE_CHECKING and in functions: of the house, and from elsewhere."""
    inside, outside = set(), set()
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            outside |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            if not node.level and module.split(".")[0] != "refhcm":
                outside.add(module)
                continue
            module = module.removeprefix("refhcm").removeprefix(".")
            for alias in node.names:
                whole = f"{module}.{alias.name}".strip(".")
                inside.add(whole if whole in known else module)
    return inside & known.keys(), outside


def complaints(root):
    """Every import that breaks the order, one line each."""
    known = modules(root)
    found = {name: imports(path, name, known) for name, path in known.items()}
    lines = []
    for name, (inside, outside) in found.items():
        room = name.split(".")[0]
        lines += [
            f"{name} imports {other}, which is above it"
            for other in sorted(inside)
            if FLOOR_OF[other.split(".")[0]] < FLOOR_OF[room]
        ]
        frameworks = {"fairseq", "fairseq_cli", "omegaconf", "hydra"} & {other.split(".")[0] for other in outside}
        if frameworks and room not in TRAINING and not name.rpartition(".")[2].startswith("fairseq_"):
            lines.append(f"{name} imports {', '.join(frameworks)}")
    rooms = {}
    for name, (inside, _) in found.items():
        rooms.setdefault(_room(name), set()).update({_room(other) for other in inside} - {_room(name)})
    for what, graph in (("modules", {name: inside for name, (inside, _) in found.items()}), ("rooms", rooms)):
        try:
            list(TopologicalSorter(graph).static_order())
        except CycleError as error:
            lines.append(f"circle of {what}: {' -> '.join(error.args[1])}")
    return lines


def _room(name):
    """The folder of a module; a package's own module is in it."""
    path = ROOT.joinpath(*name.split("."))
    return name if path.is_dir() else name.rpartition(".")[0] or name


def test_imports_run_down_in_no_circle():
    assert complaints(ROOT) == []


@pytest.mark.parametrize(
    ("file", "line", "complaint"),
    [
        ("utils/boxes.py", "from ..data.canvas import Canvas", "utils.boxes imports data.canvas, which is above it"),
        (
            "models/qpg.py",
            "if TYPE_CHECKING:\n    from ..tasks.base import Task",
            "models.qpg imports tasks.base, which is above it",
        ),
        ("tasks/base.py", "def late():\n    import fairseq.tasks", "tasks.base imports fairseq"),
        ("utils/boxes.py", "from .keypoints import oks\n", "circle of modules: "),
    ],
)
def test_a_planted_import_is_found(file, line, complaint, tmp_path):
    for name, path in modules(ROOT).items():
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8")
        planted = path == ROOT / file
        mutual = complaint.startswith("circle") and name == "utils.keypoints"
        copy.write_text(text + f"\n{line}\n" * planted + "\nfrom . import boxes\n" * mutual, encoding="utf-8")
    assert any(found.startswith(complaint) for found in complaints(tmp_path))


def test_no_room_holds_more_than_a_quarter_and_tasks_stays_small():
    lines = {}
    for name, path in modules(ROOT).items():
        room = name.split(".")[0]
        lines[room] = lines.get(room, 0) + path.read_text(encoding="utf-8").count("\n")
    assert len(list((ROOT / "tasks").glob("*.py"))) <= 14
    assert max(lines.values()) <= sum(lines.values()) / 4, lines
