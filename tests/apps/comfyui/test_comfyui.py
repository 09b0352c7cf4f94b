"""The nodes for ComfyUI: a clone in its plug-in folder is found and answers; values are converted both ways."""

import json
import os
import subprocess
import sys
import types

import numpy as np
import pytest
import torch
from asking import Model
from bare_environment import ROOT

import refhcm
from refhcm.apps.comfyui import host as comfyui_host
from refhcm.apps.comfyui import nodes as comfyui
from refhcm.utils.errors import UserError
from refhcm.utils.parsing import CLASS_NAMES

EXPRESSION = "the guy waving with the left hand"
WANTED = {"keypoints": True, "parts": True, "parallel": False, "caption": False}
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
assert not hasattr(module, "WEB_DIRECTORY") and not hasattr(module, "comfy_entrypoint")

import numpy as np, torch
from PIL import Image
mode = torch.inference_mode()
mode.__enter__()  # as ComfyUI does
assert torch.is_inference_mode_enabled()
nodes = {name: node() for name, node in module.NODE_CLASS_MAPPINGS.items()}
assert nodes.keys() == module.NODE_DISPLAY_NAME_MAPPINGS.keys()
image = torch.from_numpy(np.asarray(Image.open(picture), np.float32) / 255)[None]
(model,) = nodes["RefHCMLoad"].load("drawn people (comes with RefHCM)", "float32")
wanted = {"keypoints": True, "parts": True, "parallel": True, "caption": True}
drawn, person, box, pose, caption, text, answer = nodes["RefHCMAsk"].ask(model, image, expression, **wanted)
(hair,) = nodes["RefHCMParts"].pick(answer, hair=True)
print(json.dumps({
    "answer": json.loads(text[0]), "pose": pose, "caption": caption, "drawn": list(drawn.shape),
    "changed": float((drawn != image).float().mean()), "pixels": [int(mask.sum()) for mask in (person, box, hair)],
    "described": nodes["RefHCMDescribe"].describe(model, image, box)[0],
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
    assert found["caption"] == [described.caption]
    told = ("box", "keypoints", "parts")
    assert {name: found["answer"][name] for name in told} == {name: answer.to_dict()[name] for name in told}
    assert found["answer"]["caption"] == described.caption
    assert found["pose"] == [json.loads(json.dumps(refhcm.inference.exports.openpose(answer)))]
    assert found["drawn"] == [1, *answer.size_wh[::-1], 3]
    assert 0.001 < found["changed"] < 0.9
    person, box, hair = found["pixels"]
    assert person == sum(mask.sum() for mask in answer.parts.values())
    assert hair == answer.parts["hair"].sum()
    assert hair < person <= box
    assert found["described"] == [model.describe(str(picture), outline(answer.box_xyxy)).caption]


def outline(box_xyxy):
    """The box around the pixels in a box's mask."""
    return [float(int(number)) for number in box_xyxy]


@pytest.mark.parametrize("name", comfyui.NODE_CLASS_MAPPINGS)
def test_a_node_has_what_comfyui_reads(name):
    node = comfyui.NODE_CLASS_MAPPINGS[name]
    inputs = node.INPUT_TYPES()["required"]
    method = getattr(node, node.FUNCTION)
    parameters = set(method.__code__.co_varnames[1 : method.__code__.co_argcount])
    assert parameters <= inputs.keys()
    assert parameters == inputs.keys() or name == "RefHCMParts"
    assert len(node.RETURN_TYPES) == len(node.RETURN_NAMES)
    for optional in ("OUTPUT_TOOLTIPS", "OUTPUT_IS_LIST"):
        assert len(getattr(node, optional, node.RETURN_TYPES)) == len(node.RETURN_TYPES)
    assert node.DESCRIPTION
    assert node.CATEGORY == "RefHCM"


def test_a_batch(model):
    image = torch.rand(5, 4, 6, 4)  # with transparency; the model takes four pictures at a time
    drawn, person, box, pose, caption, text, answers = comfyui.AskRefHCM().ask(model, image, "a\nman ", **WANTED)
    assert [asked for _, asked in model.calls] == [["a man"] * 4, ["a man"]]
    assert drawn.shape == (5, 4, 6, 3)
    assert drawn.dtype == person.dtype == box.dtype == torch.float32
    assert person.tolist() == [HAIR] * 5
    assert box.tolist() == [[[1] * 6] * 4] * 5
    assert len(pose) == len(answers.answers) == 5
    assert pose[0]["people"][0]["pose_keypoints_2d"][:3] == [2, 3, 1]
    assert caption == [""] * 5
    assert json.loads(text[4])["size"] == [6, 4]
    assert comfyui.PickRefHCMParts().pick(answers, hair=True, face=True)[0].tolist() == [HAIR] * 5
    assert not comfyui.PickRefHCMParts().pick(answers, hair=False, face=True)[0].any()


def test_the_person_in_the_box_is_described(model):
    caption = comfyui.AskRefHCM().ask(model, torch.zeros(1, 4, 6, 3), "a man", **WANTED | {"caption": True})[4]
    assert caption == ["at [0.0, 0.0, 6.0, 4.0]"]


def test_pixels_survive_conversion():
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    (picture,) = comfyui.read_images(torch.from_numpy(pixels.astype(np.float32) / 255))
    assert (np.asarray(picture) == pixels[0]).all()
    assert torch.equal(comfyui.as_images([picture]), torch.from_numpy(pixels.astype(np.float32) / 255))
    assert np.asarray(comfyui.read_images(torch.tensor([[[[-1.0, 0.5, 2.0]]]]))[0]).tolist() == [[[0, 128, 255]]]


def test_grey_is_three_equal_channels(model):
    """Some nodes give masks and depth maps as an IMAGE of one channel."""
    grey = torch.rand(2, 4, 6, 1)
    for picture, values in zip(comfyui.read_images(grey), grey, strict=True):
        assert (np.asarray(picture) == (values * 255).round().numpy().astype(np.uint8)).all()
        assert picture.mode == "RGB"
    drawn = comfyui.AskRefHCM().ask(model, grey, "a man", **WANTED)[0]
    assert drawn.shape == (2, 4, 6, 3)
    (caption,) = comfyui.DescribeRefHCM().describe(model, grey, torch.ones(1, 4, 6))
    assert caption == ["at [0.0, 0.0, 6.0, 4.0]"] * 2


@pytest.mark.parametrize("shape", [(1, 4, 6, 2), (1, 4, 6, 5), (4, 6, 3), (1, 4, 6, 0)])
def test_other_shapes_are_no_picture(model, shape):
    image, message = torch.zeros(shape), r"^image: needs the shape \[B, H, W, 3\], or 1 or 4 channels, got \["
    with pytest.raises(UserError, match=message):
        comfyui.AskRefHCM().ask(model, image, "a man", **WANTED)
    with pytest.raises(UserError, match=message):
        comfyui.DescribeRefHCM().describe(model, image, torch.ones(1, 4, 6))


def test_a_mask_names_the_person(model):
    mask = torch.zeros(1, 8, 12)  # twice the picture's size
    mask[0, 2:4, 6:12] = 1
    (caption,) = comfyui.DescribeRefHCM().describe(model, torch.zeros(2, 4, 6, 3), mask)
    assert caption == ["at [3.0, 1.0, 6.0, 2.0]"] * 2


def test_an_empty_mask_among_others_is_no_person(model):
    mask = torch.ones(3, 4, 6) * torch.tensor([1, 0, 1])[:, None, None]
    (captions,) = comfyui.DescribeRefHCM().describe(model, torch.zeros(3, 4, 6, 3), mask)
    assert captions == ["at [0.0, 0.0, 6.0, 4.0]", "", "at [0.0, 0.0, 6.0, 4.0]"]


def test_mistakes(model):
    image, ask, describe = torch.zeros(3, 4, 6, 3), comfyui.AskRefHCM().ask, comfyui.DescribeRefHCM().describe
    with pytest.raises(UserError, match="mask: is empty"):
        describe(model, image, torch.zeros(1, 64, 64))  # what ComfyUI sends for a picture without a mask
    with pytest.raises(UserError, match="one for each of the 3 pictures, got 2"):
        describe(model, image, torch.ones(2, 4, 6))
    for node in (
        lambda: ask(model, image[:0], "a man", **WANTED),
        lambda: describe(model, image[:0], image[:0, ..., 0]),
    ):
        with pytest.raises(UserError, match="image: the batch is empty"):
            node()
    with pytest.raises(UserError, match=r"gone\.pt is gone; looked in .*checkpoints"):
        comfyui.LoadRefHCM().load("gone.pt", "auto")
    with pytest.raises(UserError, match="no folder vqgan beside the weights"):
        ask(Model(tokenizer=None), image, "a man", **WANTED)


UNREAD = refhcm.Answer((6, 4), valid=False, symbols=(), text="")


def test_parts_that_were_not_asked_for(model, monkeypatch):
    monkeypatch.setattr(model, "refer", lambda *asked, **wanted: [UNREAD])  # not valid for another reason
    asked = comfyui.AskRefHCM().ask(model, torch.zeros(1, 4, 6, 3), "a man", **WANTED | {"parts": False})[-1]
    with pytest.raises(UserError, match="has no parts; switch on parts"):
        comfyui.PickRefHCMParts().pick(asked, hair=True)


def test_an_unreadable_answer_is_an_empty_mask():
    assert not comfyui.PickRefHCMParts().pick(comfyui.Answers([UNREAD], parts=True), hair=True)[0].any()
    assert not comfyui.box_mask(UNREAD).any()


def test_what_comfyui_knows_is_used(tmp_path, monkeypatch):
    """Its folders, device and progress bar, as stand-ins: ComfyUI is in no package index."""
    models, other, own = tmp_path / "models", tmp_path / "other", tmp_path / "project"
    files = [models / "refhcm" / "mine.pt", models / "refhcm" / "small" / "model.pt", other / "mine.pt", other / "b.pt"]
    for file in [*files, own / "checkpoints" / "refhcm.pt", own / "checkpoints" / "synthetic" / "model.pt"]:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    monkeypatch.setattr(comfyui_host, "ROOT", own)
    monkeypatch.setattr(comfyui_host, "SHIPPED", own / "checkpoints" / "synthetic" / "model.pt")
    registered, freed, steps = {"refhcm": [str(other)]}, [], []  # as extra_model_paths.yaml has it
    bar = types.SimpleNamespace(update=steps.append)
    known = {
        "folder_paths": {
            "models_dir": str(models),
            "folder_names_and_paths": registered,
            "add_model_folder_path": lambda name, path: registered.setdefault(name, []).insert(0, path),
            "get_folder_paths": registered.get,
        },
        "comfy": {},
        "comfy.model_management": {
            "get_torch_device": lambda: torch.device("meta"),
            "free_memory": lambda *asked: freed.append(asked),
        },
        "comfy.utils": {"ProgressBar": lambda total: steps.append(total) or bar},
    }
    for name, values in known.items():
        module = types.ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)
    names = ["mine.pt", "small/model.pt", "b.pt", "refhcm.pt"]
    assert comfyui.LoadRefHCM.INPUT_TYPES()["required"]["checkpoint"][0] == [comfyui.DRAWN_PEOPLE, *names]
    assert list(comfyui_host.weights().values())[:2] == files[:2]  # not the other folder's
    assert comfyui_host.device(5) == torch.device("meta")
    assert freed == [(5, torch.device("meta"))]
    assert ["abcde"[at] for at in comfyui_host.batches(5, 2)] == ["ab", "cd", "e"]
    assert steps == [5, 2, 2, 1]


def test_every_class_has_a_switch():
    assert list(comfyui.PickRefHCMParts.INPUT_TYPES()["required"])[1:] == list(CLASS_NAMES[1:])


@pytest.fixture
def model():
    return Model()
