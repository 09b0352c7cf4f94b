"""The nodes for ComfyUI as functions, and a model that knows its answers."""

import types
from dataclasses import replace

import torch
from asking import Model

from refhcm.apps.comfyui import asking


def widgets(node):
    inputs = node.INPUT_TYPES()
    return inputs["required"] | inputs.get("optional", {})


def ask(model, image, expression, **wanted):
    return dict(
        zip(asking.AskRefHCM.RETURN_NAMES, asking.AskRefHCM().ask(model, image, expression, **wanted), strict=True)
    )


def find(model, image, expression, **wanted):
    found = asking.FindRefHCM().find(model, image, expression, **wanted)
    return dict(zip(asking.FindRefHCM.RETURN_NAMES, found, strict=True))


def describe(model, image, mask):
    text, captions = asking.DescribeRefHCM().describe(model, image, mask)
    assert text == "\n".join(captions)
    return captions


def prompt_of(workflow):
    """A workflow as ComfyUI's page sends it: without notes and bypassed nodes."""
    links = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    prompt = {}
    for node in workflow["nodes"]:
        if node["mode"] == 0 and node["inputs"]:
            values = iter(node["widgets_values"])
            given = {one["name"]: next(values) if "widget" in one else None for one in node["inputs"]}
            given |= {one["name"]: links[one["link"]] for one in node["inputs"] if one["link"] is not None}
            inputs = {name: value for name, value in given.items() if value is not None}
            prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return prompt


def small_network():
    decoder = torch.nn.ModuleDict({"layernorm_embedding": torch.nn.LayerNorm(2)})
    return types.SimpleNamespace(encoder=torch.nn.Linear(2, 2), decoder=types.SimpleNamespace(**decoder))


class People(Model):
    """A model that finds two people for all words but "nobody"."""

    def __init__(self, tokenizer="a tokenizer"):
        super().__init__(tokenizer=tokenizer)
        self.network, self.notes, self.found, self.parallel, self.beams = small_network(), (), None, [], []

    def refer(self, images, texts, *, beam, **wanted):
        self.parallel.append(wanted["parallel"])
        self.beams.append(beam)
        return [replace(answer, found=self.found) for answer in super().refer(images, texts, **wanted)]

    def find(self, images, texts, *, keypoints, parsing, caption, min_confidence):
        self.note("find", images, texts)
        people = [self.person(image, keypoints=keypoints, parsing=parsing) for image in images]
        people = [replace(one, caption="someone" if caption else None) for one in people]
        return [[] if text == "nobody" else [one, one] for one, text in zip(people, texts, strict=True)]
