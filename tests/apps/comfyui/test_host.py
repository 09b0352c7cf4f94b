"""What the nodes ask of ComfyUI: folders, memory, progress, cancelling."""

import sys
import types

import pytest
import torch
from comfy_nodes import ask, small_network, widgets

from refhcm.apps.comfyui import host, loading


def stand_in(monkeypatch, known):
    """Modules of ComfyUI, which is in no package index."""
    for name, members in known.items():
        module = types.ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)


def test_folders_of_comfyui(tmp_path, monkeypatch):
    models, other, own = tmp_path / "models", tmp_path / "other", tmp_path / "project"
    files = [models / "refhcm" / "mine.pt", models / "refhcm" / "small" / "model.pt", other / "mine.pt", other / "b.pt"]
    for file in [*files, own / "checkpoints" / "refhcm.pt", own / "checkpoints" / "synthetic" / "model.pt"]:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    monkeypatch.setattr(host, "ROOT", own)
    monkeypatch.setattr(host, "SHIPPED", own / "checkpoints" / "synthetic")
    registered = {"refhcm": [str(other)]}  # as extra_model_paths.yaml has it
    folder_paths = {
        "models_dir": str(models),
        "folder_names_and_paths": registered,
        "add_model_folder_path": lambda name, path: registered.setdefault(name, []).insert(0, path),
        "get_folder_paths": registered.get,
    }
    stand_in(monkeypatch, {"folder_paths": folder_paths})
    names = ["mine.pt", "small/model.pt", "b.pt", "refhcm.pt"]
    assert widgets(loading.LoadRefHCM)["checkpoint"][0] == [loading.DRAWN_PEOPLE, *names]
    assert list(host.weights().values())[:2] == files[:2]  # not the other folder's


class Stopped(BaseException):
    """ComfyUI's InterruptProcessingException."""


@pytest.fixture
def comfy(monkeypatch):
    """ComfyUI's memory and progress bar, as a record of calls."""
    seen = types.SimpleNamespace(freed=[], loaded=[], bar=[], stop_at=None)

    def check():
        if seen.stop_at is not None and len(seen.bar) >= seen.stop_at:
            raise Stopped

    management = {
        "get_torch_device": lambda: torch.device("cpu"),
        "unet_offload_device": lambda: torch.device("cpu"),
        "free_memory": lambda *asked: seen.freed.append(asked),
        "load_models_gpu": lambda models, **wanted: seen.loaded.append((models, wanted)),
        "throw_exception_if_processing_interrupted": check,
    }
    bar = types.SimpleNamespace(update_absolute=lambda value: seen.bar.append(value))
    known = {
        "comfy": {},
        "comfy.model_management": management,
        "comfy.model_patcher": {"ModelPatcher": lambda model, **devices: (model, devices)},
        "comfy.utils": {"ProgressBar": lambda total: seen.bar.append(f"of {total}") or bar},
    }
    stand_in(monkeypatch, known)
    return seen


def test_memory_is_comfyuis(comfy):
    network = torch.nn.Linear(2, 2)
    memory = host.Memory(network, None)
    memory.load()
    (((patcher,), wanted),) = comfy.loaded
    assert list(patcher[0].parameters()) == list(network.parameters())
    assert patcher[1] == {"load_device": torch.device("cpu"), "offload_device": torch.device("cpu")}
    assert wanted == {"memory_required": 2 * 2**30, "force_full_load": True}
    assert host.device(5) == torch.device("cpu")
    assert comfy.freed == [(5, torch.device("cpu"))]


def test_progress_and_cancelling_at_every_step(comfy):
    network = small_network()
    with host.progress(network, 2):
        for _ in range(2):
            network.encoder(torch.zeros(1, 2))
            for _ in range(3):
                network.decoder.layernorm_embedding(torch.zeros(1, 2))
    assert comfy.bar == ["of 400", 0, 1, 2, 3, 200, 201, 202, 203, 400]
    comfy.stop_at = len(comfy.bar) + 3
    with pytest.raises(Stopped):
        take_steps(network, 9)
    assert comfy.bar[-3:] == ["of 200", 0, 1]
    network.decoder.layernorm_embedding(torch.zeros(1, 2))  # the hooks are gone
    assert comfy.bar[-1] == 1
    comfy.stop_at = len(comfy.bar) + 1
    with pytest.raises(Stopped):  # before the picture is encoded, which takes longest
        take_steps(network, 0)


def test_a_real_answer_moves_the_bar(comfy):
    (model,) = loading.LoadRefHCM().load(loading.DRAWN_PEOPLE)
    (image,) = loading.ExamplePicture().read("park.jpg")
    ask(model, image, "the man on the left", parts=False)
    assert len(comfy.loaded) == 2  # when it was loaded, and when it was asked
    assert len(comfy.bar) > 10
    assert comfy.bar[-1] == int(comfy.bar[0].removeprefix("of "))


def test_freed_memory_is_kept_while_asking_alone(comfy, monkeypatch):
    """On the CPU; the process is also that of other nodes."""
    seen = []
    monkeypatch.setattr(host, "keep_freed_memory", lambda: seen.append("keep"))
    monkeypatch.setattr(host, "stop_keeping_freed_memory", lambda: seen.append("stop"))
    monkeypatch.setattr(loading, "stop_keeping_freed_memory", lambda: seen.append("stop"))
    comfy.stop_at = 1
    with pytest.raises(Stopped):
        take_steps(small_network(), 1)
    assert seen == ["keep", "stop"]
    with host.keeping_freed_memory(types.SimpleNamespace(encoder=torch.nn.Linear(2, 2, device="meta"))):
        assert seen == ["keep", "stop"]
    loading.LoadRefHCM().load(loading.DRAWN_PEOPLE)
    assert seen == ["keep", "stop", "stop"]


def test_weights_are_tensors_that_may_be_moved_in_any_mode():
    with torch.inference_mode():
        with host.ordinary_tensors():
            weight = torch.ones(2)
            assert not torch.is_grad_enabled()
        assert torch.is_inference_mode_enabled()
    assert not weight.is_inference()


def take_steps(network, count):
    with host.progress(network, 1):
        network.encoder(torch.zeros(1, 2))
        for _ in range(count):
            network.decoder.layernorm_embedding(torch.zeros(1, 2))
