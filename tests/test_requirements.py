"""requirements.txt is for tools that install it line by line: plain names, the same as pyproject.toml's."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent


def test_requirements_are_those_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    named = [Requirement(line) for line in lines if line and not line.startswith("#")]
    expected = [Requirement(line) for line in (*project["dependencies"], *extras["demo"], *extras["train"])]
    assert sorted(map(str, named)) == sorted(map(str, expected))
