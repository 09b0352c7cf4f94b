"""The workflows under Templates: they fit the nodes, and each has a picture."""

import json

import pytest
from bare_environment import ROOT
from comfy_nodes import prompt_of, widgets
from PIL import Image

from refhcm.apps.comfyui.nodes import NODE_CLASS_MAPPINGS

WORKFLOWS = sorted((ROOT / "example_workflows").glob("*.json"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_fits_the_nodes(path):
    workflow = json.loads(path.read_text(encoding="utf-8"))
    nodes, prompt = {node["id"]: node for node in workflow["nodes"]}, prompt_of(workflow)
    ours = {key: node for key, node in nodes.items() if node["type"] in NODE_CLASS_MAPPINGS}
    assert "RefHCMAsk" in {node["type"] for node in ours.values()}
    for key, node in ours.items():
        known = NODE_CLASS_MAPPINGS[node["type"]]
        given, inputs = prompt[str(key)]["inputs"], widgets(known)
        assert [one["name"] for one in node["inputs"]] == list(inputs) == list(given)
        assert [one["name"] for one in node["outputs"]] == list(known.RETURN_NAMES)
        assert [one["type"] for one in node["outputs"]] == list(known.RETURN_TYPES)
        for name, (kind, options) in inputs.items():
            if isinstance(kind, list):
                assert given[name] in kind
            elif kind in ("INT", "FLOAT"):
                assert options["min"] <= given[name] <= options["max"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_links_join_what_fits(path):
    workflow = json.loads(path.read_text(encoding="utf-8"))
    nodes = {node["id"]: node for node in workflow["nodes"]}
    for number, source, slot, target, place, kind in workflow["links"]:
        output, given = nodes[source]["outputs"][slot], nodes[target]["inputs"][place]
        assert output["type"] == given["type"] == kind
        assert number in output["links"]
        assert given["link"] == number


def test_each_has_a_picture():
    """ComfyUI's page shows NAME.jpg beside NAME.json."""
    assert len(WORKFLOWS) == 3
    for path in WORKFLOWS:
        with Image.open(path.with_suffix(".jpg")) as image:
            assert image.size == (512, 512)
