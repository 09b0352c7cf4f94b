"""The nodes as a pack of their own."""

import subprocess
import sys
import tomllib

import pytest
from bare_environment import ROOT

from refhcm.apps.comfyui.pack.__main__ import OWN, write_pack
from refhcm.utils.errors import UserError

NODES = """
import importlib.util, sys
for name in ("fairseq", "gradio", "refhcm"):
    sys.modules[name] = None
place = sys.argv[1]
start = f"{place}/__init__.py"
spec = importlib.util.spec_from_file_location("pack_of_nodes", start, submodule_search_locations=[place])
pack = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pack)
print(*sorted(pack.NODE_CLASS_MAPPINGS))
"""


def test_requirements_are_the_projects_without_what_comfyui_brings():
    needs = (OWN / "requirements.txt").read_text().split()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["dependencies"]) - set(needs) == {
        line for line in project["dependencies"] if line.startswith(("torch", "Pillow", "numpy", "safetensors"))
    }
    assert set(needs) <= set(project["dependencies"])


def test_the_pack_is_a_plug_in(tmp_path):
    """Its nodes are there without fairseq, gradio and an installed refhcm, and it says what it is."""
    files = write_pack(tmp_path / "pack", publisher="someone", repository="https://example.org/refhcm")
    said = tomllib.loads((tmp_path / "pack/pyproject.toml").read_text())
    assert said["project"]["dependencies"] == (tmp_path / "pack/requirements.txt").read_text().split()
    assert said["tool"]["comfy"]["PublisherId"] == "someone"
    assert sum((tmp_path / "pack" / file).stat().st_size for file in files) < 25e6
    done = subprocess.run(
        [sys.executable, "-c", NODES, tmp_path / "pack"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert {"RefHCMAsk", "RefHCMFind"} <= set(done.stdout.split())


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(UserError, match="not an empty folder"):
        write_pack(tmp_path, publisher="someone", repository="https://example.org")
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
