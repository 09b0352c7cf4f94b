"""The notebook `examples/tour.ipynb` runs from its first cell to its last, and is stored without outputs."""

import ast
import json
import shutil
from pathlib import Path

import pytest

from refhcm.inference.answers import Answer

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CELLS = json.loads((EXAMPLES / "tour.ipynb").read_text(encoding="utf-8"))["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]


def run(source, names):
    """Runs a cell, and gives the value of its last line if that is an expression, as a notebook shows it."""
    body = ast.parse(source).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def test_every_cell_runs(tmp_path, monkeypatch, capsys):
    shutil.copy(EXAMPLES / "park.jpg", tmp_path)
    monkeypatch.chdir(tmp_path)
    names, shown = {}, []
    for cell in CODE:
        shown.append(run("".join(cell["source"]), names))
    drawn = [value._repr_html_() for value in shown if isinstance(value, Answer)]
    assert len(drawn) == 3
    assert all("data:image/jpeg" in html for html in drawn)
    assert shown[-1]["keypoints"] == len(json.loads((tmp_path / "tour.keypoints.json").read_text())) == 1
    said = capsys.readouterr().out
    assert "left wrist: (" in said
    assert "hair" in said


@pytest.mark.parametrize("cell", CODE, ids=lambda cell: cell["source"][0])
def test_no_outputs_are_stored(cell):
    assert cell["outputs"] == []
    assert cell["execution_count"] is None
