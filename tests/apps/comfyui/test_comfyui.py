"""The nodes for ComfyUI: a clone in its plug-in folder is found and answers; values are converted both ways."""

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from bare_environment import ROOT
from comfy_nodes import People, ask, describe, find, widgets
from PIL import Image

import refhcm
from refhcm.apps.comfyui import asking, host, loading, nodes, parts, values
from refhcm.utils.errors import UserError

EXPRESSION = "the guy waving with the left hand"
HAIR = [[0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 0, 0], [0, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0]]  # `Model.person`'s

# ComfyUI loads a folder in custom_nodes as a module named after its path, so no import may need the name `refhcm`.
PLUG_IN = """
import importlib.util, json, os, sys
sys.modules["refhcm"] = sys.modules["fcntl"] = None  # there is no fcntl on Windows
folder, picture, expression = sys.argv[1:]
name = folder.replace(".", "_x_")
spec = importlib.util.spec_from_file_location(name, os.path.join(folder, "__init__.py"))
sys.modules[name] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
assert os.path.isfile(os.path.join(folder, module.WEB_DIRECTORY, "docs", "RefHCMAsk.md"))
assert not hasattr(module, "comfy_entrypoint")

import numpy as np, torch
from PIL import Image
mode = torch.inference_mode()
mode.__enter__()  # as ComfyUI does
assert torch.is_inference_mode_enabled()
nodes = {name: node() for name, node in module.NODE_CLASS_MAPPINGS.items()}
assert nodes.keys() == module.NODE_DISPLAY_NAME_MAPPINGS.keys()
image = torch.from_numpy(np.asarray(Image.open(picture), np.float32) / 255)[None]
(model,) = nodes["RefHCMLoad"].load("drawn people (comes with RefHCM)", "float32")
asked = nodes["RefHCMAsk"].ask(model, image, expression, caption=True)
drawn, person, box, pose, boxes, sure, caption, text, answer, captions = asked
assert captions == [caption]
hair = nodes["RefHCMParts"].pick(answer, "only those named below", "hair")[0]
print(json.dumps({
    "answer": json.loads(text[0]), "pose": pose, "caption": caption, "boxes": boxes, "drawn": list(drawn.shape),
    "changed": float((drawn != image).float().mean()), "pixels": [int(mask.sum()) for mask in (person, box, hair)],
    "described": nodes["RefHCMDescribe"].describe(model, image, box)[1],
}))
"""


def test_the_clone_is_a_plug_in(tmp_path):
    folder = tmp_path / "ComfyUI-0.9" / "custom_nodes" / "refhcm"
    folder.parent.mkdir(parents=True)
    folder.symlink_to(ROOT)
    picture = ROOT / "examples" / "park.jpg"
    command = [sys.executable, "-c", PLUG_IN, str(folder), str(picture), EXPRESSION]
    run = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)

    model = refhcm.load(device="cpu", dtype="float32")
    answer = model.refer(str(picture), EXPRESSION, keypoints=True, parsing=True, parallel=True)
    described = model.describe(str(picture), answer.box_xyxy)
    assert found["caption"] == described.caption
    told = ("box", "keypoints", "parts")
    assert {name: found["answer"][name] for name in told} == {name: answer.to_dict()[name] for name in told}
    assert found["answer"]["caption"] == described.caption
    pose = json.loads(json.dumps(refhcm.inference.exports.openpose(answer)))
    points = pose["people"][0]["pose_keypoints_2d"]
    points[2::3] = [float(sure > 0) for sure in points[2::3]]
    assert found["pose"] == [pose]
    assert found["drawn"] == [1, *answer.size_wh[::-1], 3]
    assert 0.001 < found["changed"] < 0.9
    x0, y0, x1, y1 = outline(answer.box_xyxy)
    sure = answer.confidence.box
    assert found["boxes"] == [
        [{"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0, "label": "person", "score": sure}]
    ]
    person, box, hair = found["pixels"]
    assert person == sum(mask.sum() for mask in answer.parts.values())
    assert hair == answer.parts["hair"].sum()
    assert hair < person <= box
    assert found["described"] == [model.describe(str(picture), outline(answer.box_xyxy)).caption]


def outline(box_xyxy):
    """The box around the pixels in a box's mask."""
    return [float(int(number)) for number in box_xyxy]


@pytest.mark.parametrize("name", nodes.NODE_CLASS_MAPPINGS)
def test_a_node_has_what_comfyui_reads(name):
    node = nodes.NODE_CLASS_MAPPINGS[name]
    method = getattr(node, node.FUNCTION)
    parameters = method.__code__.co_varnames[1 : method.__code__.co_argcount]
    assert list(parameters) == list(widgets(node))
    optional = node.INPUT_TYPES().get("optional", {})
    assert len(method.__defaults__ or ()) == len(optional)
    for (given, options), default in zip(optional.values(), method.__defaults__ or (), strict=True):
        assert options.get("default", given[0]) == default
    assert all(options["tooltip"] for _, options in widgets(node).values())
    assert len(node.RETURN_TYPES) == len(node.RETURN_NAMES) == len(node.OUTPUT_TOOLTIPS)
    assert len(getattr(node, "OUTPUT_IS_LIST", node.RETURN_TYPES)) == len(node.RETURN_TYPES)
    assert node.DESCRIPTION
    assert node.SEARCH_ALIASES
    assert node.CATEGORY == "RefHCM"
    assert (ROOT / nodes.WEB_DIRECTORY / "docs" / f"{name}.md").is_file()


def test_a_batch(model):
    image = torch.rand(5, 4, 6, 4)  # with transparency; the model takes four pictures at a time
    found = ask(model, image, " a  man\n")
    assert [asked for _, asked in model.predictor.calls] == [["a man"] * 4, ["a man"]]
    assert found["drawn"].shape == (5, 4, 6, 3)
    assert found["drawn"].dtype == found["person"].dtype == found["box"].dtype == torch.float32
    assert found["person"].tolist() == [HAIR] * 5
    assert found["box"].tolist() == [[[1] * 6] * 4] * 5
    assert found["pose"][4]["people"][0]["pose_keypoints_2d"][:3] == [2, 3, 1]
    assert found["bboxes"] == [[{"x": 0, "y": 0, "width": 6, "height": 4, "label": "person", "score": 0.5}]] * 5
    assert found["confidence"] == [0.5] * 5
    assert (found["caption"], found["captions"]) == ("\n" * 4, [""] * 5)
    assert json.loads(found["json"][4])["size"] == [6, 4]
    picked = parts.PickRefHCMParts().pick(found["answer"], "head")
    assert picked[0].tolist() == picked[1].tolist() == picked[2].tolist() == [HAIR] * 5
    assert picked[3] == [f"{number} hair" for number in range(1, 6)]
    assert not parts.PickRefHCMParts().pick(found["answer"], "clothes")[0].any()


def test_a_line_for_each_picture(model):
    ask(model, torch.zeros(2, 4, 6, 3), "a man\n\na woman")
    ask(model, torch.zeros(1, 4, 6, 3), "a man\nin red")
    assert [asked for _, asked in model.predictor.calls] == [["a man", "a woman"], ["a man in red"]]
    with pytest.raises(UserError, match="expression: has 2 lines for 3 pictures"):
        ask(model, torch.zeros(3, 4, 6, 3), "a man\na woman")


@pytest.mark.parametrize("field", ["box", "found"])
def test_whoever_is_not_sure_enough_is_nobody(model, field):
    if field == "found":
        model.predictor.found = 0.5
    image = torch.rand(1, 4, 6, 3)
    assert ask(model, image, "a man", min_confidence=0.5)["bboxes"][0]
    found = ask(model, image, "a man", min_confidence=0.51, caption=True)
    assert not found["person"].any()
    assert not found["box"].any()
    assert found["pose"] == [{"people": [], "canvas_width": 6, "canvas_height": 4}]
    assert (found["bboxes"], found["confidence"], found["caption"]) == ([[]], [0], "")
    assert (found["drawn"] - image).abs().max() <= 0.5 / 255 + 1e-6
    assert json.loads(found["json"][0])["box"] == [0, 0, 6, 4]
    assert parts.PickRefHCMParts().pick(found["answer"], "whole person")[0].tolist() == [[[0] * 6] * 4]


def test_everyone(model):
    found = find(model, torch.zeros(3, 4, 6, 3), "the people\nnobody\nthe people", caption=True)
    assert found["count"] == 4
    assert found["people"].tolist() == [HAIR] * 4
    assert [len(people) for people in found["bboxes"]] == [len(pose["people"]) for pose in found["pose"]] == [2, 0, 2]
    assert found["confidences"] == [0.5] * 4
    assert found["captions"] == ["someone"] * 4
    assert [len(json.loads(text)) for text in found["json"]] == [2, 0, 2]
    mask, people, each, names = parts.PickRefHCMParts().pick(found["answer"], "head")
    assert (len(mask), len(people), len(each)) == (3, 4, 4)
    assert names == ["1 hair", "2 hair", "3 hair", "4 hair"]
    assert find(model, torch.zeros(1, 4, 6, 3), "the people", parts=False)["people"].tolist() == [[[1] * 6] * 4] * 2


def test_nobody(model):
    found = find(model, torch.zeros(1, 4, 6, 3), "nobody")
    """ComfyUI takes the last of each list for the nodes that follow, so none is empty."""
    assert (found["count"], found["confidences"], found["captions"], found["bboxes"]) == (0, [0], [""], [[]])
    assert found["people"].tolist() == [[[0] * 6] * 4]
    picked = parts.PickRefHCMParts().pick(found["answer"], "clothes")
    assert [len(some) for some in picked] == [1, 1, 1, 1]
    assert picked[3] == [""]


@pytest.mark.parametrize(
    ("widget", "learned", "used"),
    [("auto", True, True), ("auto", False, False), ("on", False, True), ("off", True, False)],
)
def test_parallel(model, widget, learned, used):
    ask(replace(model, parallel=learned), torch.zeros(1, 4, 6, 3), "a man", parallel=widget)
    ask(replace(model, parallel=True), torch.zeros(1, 4, 6, 3), "a man", parts=False)
    assert model.predictor.parallel == [used, False]


def test_beams(model):
    ask(model, torch.zeros(1, 4, 6, 3), "a man")
    ask(model, torch.zeros(1, 4, 6, 3), "a man", beams=1)
    assert model.predictor.beams == [None, 1]


def test_the_person_in_the_box_is_described(model):
    found, text = ask(model, torch.zeros(2, 4, 6, 3), "a man", caption=True), "at [0.0, 0.0, 6.0, 4.0]"
    assert (found["caption"], found["captions"]) == (f"{text}\n{text}", [text, text])


def test_what_the_model_does_not_know_is_noted(model):
    model.predictor.notes = ("drawings only",)
    (text,) = ask(model, torch.zeros(1, 4, 6, 3), "a man")["json"]
    assert json.loads(text)["notes"] == ["drawings only"]
    answer = replace(People.person(Image.new("RGB", (6, 4))), notes=("torn", "drawings only"))
    assert asking.remarked(model.predictor, answer).notes == ("torn", "drawings only")


def test_a_box_of_unknown_confidence_counts_as_sure():
    person = People.person(Image.new("RGB", (6, 4)))
    for sure, counts in ((None, 1.0), (0.25, 0.25), (0.0, 0.0)):
        one = replace(person, confidence=replace(person.confidence, box=sure))
        assert values.confidence(one) == values.bounding_boxes([one])[0]["score"] == counts


@pytest.mark.parametrize(
    ("node", "parts_asked", "questions"),
    [
        (ask, {"keypoints": False, "parts": False}, 1), (ask, {"parts": False}, 1), (ask, {}, 2),
        (ask, {"caption": True}, 3), (find, {"keypoints": False, "parts": False}, 1), (find, {"caption": True}, 4),
    ],
)  # fmt: skip
def test_the_progress_bar_has_a_stretch_for_each_question(model, monkeypatch, node, parts_asked, questions):
    counted = []
    monkeypatch.setattr(asking, "progress", lambda network, count: counted.append(count) or nullcontext())
    node(model, torch.zeros(5, 4, 6, 3), "the people", **parts_asked)
    assert counted == [2 * questions]  # five pictures are two batches


@pytest.mark.parametrize("sure", [0.3, 0.0])
def test_points_that_are_there_count_one(sure):
    """controlnet_aux leaves out every point whose confidence is below 1."""
    person = People.person(Image.new("RGB", (6, 4)), keypoints=True)
    person = replace(person, confidence=replace(person.confidence, keypoints={"nose": sure}))
    pose = values.pose_of([person], (6, 4))["people"][0]["pose_keypoints_2d"]
    assert pose == [2, 3, 1] + [0] * 51


def test_mistakes(model):
    image = torch.zeros(3, 4, 6, 3)
    with pytest.raises(UserError, match="mask: is empty"):
        describe(model, image, torch.zeros(1, 64, 64))  # what ComfyUI sends for a picture without a mask
    with pytest.raises(UserError, match="one for each of the 3 pictures, got 2"):
        describe(model, image, torch.ones(2, 4, 6))
    for node in (lambda: ask(model, image[:0], "a man"), lambda: describe(model, image[:0], image[:0, ..., 0])):
        with pytest.raises(UserError, match="image: the batch is empty"):
            node()
    with pytest.raises(UserError, match=r"gone\.pt is gone; looked in .*checkpoints"):
        loading.LoadRefHCM().load("gone.pt")
    with pytest.raises(UserError, match="no folder vqgan beside the weights"):
        ask(loading.Loaded(People(tokenizer=None)), image, "a man")


def test_widgets_are_checked_before_anything_runs():
    for node in (asking.AskRefHCM, asking.FindRefHCM):
        assert node.VALIDATE_INPUTS("a man") is node.VALIDATE_INPUTS(None) is True
        assert node.VALIDATE_INPUTS(" \n").startswith("is empty")
    assert loading.LoadRefHCM.VALIDATE_INPUTS(loading.DRAWN_PEOPLE) is loading.LoadRefHCM.VALIDATE_INPUTS(None) is True
    assert loading.LoadRefHCM.VALIDATE_INPUTS("gone.pt").startswith("gone.pt is gone")
    assert parts.PickRefHCMParts.VALIDATE_INPUTS("Hair, left arm,") is True
    assert parts.PickRefHCMParts.VALIDATE_INPUTS("hair, beard").startswith("'beard' is no part; use some of hat")


def test_weights_are_downloaded_when_the_user_agrees(tmp_path, monkeypatch):
    monkeypatch.setattr(host, "folders", lambda: [tmp_path])
    got, path = [], []
    monkeypatch.setattr(
        loading, "download_files", lambda args, source, folder: got.append(folder.relative_to(tmp_path).as_posix())
    )
    monkeypatch.setattr(loading, "load_weights", lambda *given: path.append(given))
    with pytest.raises(UserError, match=r"download: is off, and vocabulary, tokenizer, refhcm of 1\.9 GB"):
        loading.DownloadRefHCM().download("refhcm", False)
    loading.DownloadRefHCM().download("refhcm", True)
    assert got == ["bpe", "vqgan", "."]
    assert path == [(tmp_path / "refhcm.pt", "auto")]
    for name in ("refhcm.pt", "vqgan/model.yaml"):  # the tokenizer has another file
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    got.clear()
    loading.DownloadRefHCM().download("refhcm", True)
    assert got == ["bpe", "vqgan"]


def test_an_example():
    ((names, _),) = widgets(loading.ExamplePicture).values()
    (image,) = loading.ExamplePicture().read(names[0])
    assert image.shape[0] == 1
    assert image.shape[3] == 3
    with pytest.raises(UserError, match=r"picture: gone\.jpg is not in"):
        loading.ExamplePicture().read("gone.jpg")
