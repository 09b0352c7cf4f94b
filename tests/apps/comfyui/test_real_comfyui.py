"""A real ComfyUI, headless on the CPU, where the variable COMFYUI_PATH names its folder.

It is run by the Python of `venv` or `.venv` in that folder, else by this one. Nothing in the folder changes.
"""

import io
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import numpy as np
import pytest
import torch
from bare_environment import ROOT
from comfy_nodes import prompt_of
from PIL import Image

from refhcm.apps.comfyui.nodes import NODE_CLASS_MAPPINGS

COMFYUI = os.environ.get("COMFYUI_PATH", "")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not COMFYUI, reason="COMFYUI_PATH names no ComfyUI")]
WORKFLOWS = sorted((ROOT / "example_workflows").glob("*.json"))
SECONDS = 600  # for a start or an answer, on a busy machine


class Server:
    """A ComfyUI with the nodes of this clone."""

    def __init__(self, base):
        (base / "custom_nodes").mkdir()
        (base / "custom_nodes" / "refhcm").symlink_to(ROOT)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        folder = Path(COMFYUI).resolve()
        own = [folder / name / "bin" / "python" for name in ("venv", ".venv")]
        python = next((str(path) for path in own if path.exists()), sys.executable)
        command = [python, str(folder / "main.py"), "--cpu", "--port", str(self.port), "--base-directory", str(base)]
        command += ["--disable-auto-launch", "--disable-api-nodes", "--database-url", "sqlite:///:memory:"]
        # Its packages have names such as `utils`, too.
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self.log = base / "log.txt"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=base, env=env, stdout=log, stderr=subprocess.STDOUT)

    def wait_for(self, found):
        """The first result that is true."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if result := found():
                    return result
            except URLError:  # not yet listening
                pass
            time.sleep(0.1)
        raise AssertionError(self.log.read_text(errors="replace")[-3000:])

    def get(self, path):
        with urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=SECONDS) as answer:
            return answer.read()

    def post(self, path, **data):
        body, kind = json.dumps(data).encode(), {"Content-Type": "application/json"}
        try:
            with urlopen(Request(f"http://127.0.0.1:{self.port}/{path}", body, kind), timeout=SECONDS) as answer:
                return json.loads(answer.read() or "null")
        except HTTPError as error:
            return json.loads(error.read())

    def run(self, prompt, then=lambda: None):
        """What ComfyUI remembers of a prompt that has ended. then: done once it is in the queue."""
        number = self.post("prompt", prompt=prompt)["prompt_id"]
        then()
        return self.wait_for(lambda: json.loads(self.get(f"history/{number}")))[number]

    def picture(self, done, node):
        (place,) = done["outputs"][node]["images"]
        return np.asarray(Image.open(io.BytesIO(self.get(f"view?{urlencode(place)}"))).convert("RGB"))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("comfyui"))
    try:
        server.wait_for(lambda: server.get("system_stats"))
        yield server
    finally:
        server.process.terminate()
        server.process.wait(60)


def messages(done):
    return [name for name, _ in done["status"]["messages"]]


def read(name):
    return prompt_of(json.loads((ROOT / "example_workflows" / f"{name}.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs(server, path):
    prompt, known = read(path.stem), json.loads(server.get("object_info"))
    missing = {node["class_type"] for node in prompt.values()} - known.keys()
    assert not missing & NODE_CLASS_MAPPINGS.keys()
    if missing:
        pytest.skip(f"this ComfyUI has no {', '.join(sorted(missing))}")
    done = server.run(prompt)
    assert messages(done)[-1] == "execution_success", done["status"]
    for node in done["outputs"]:
        assert server.picture(done, node).std() > 5  # no empty picture
    assert server.get(f"api/workflow_templates/refhcm/{path.stem}.jpg")[:2] == b"\xff\xd8"


def test_the_mask_is_that_of_the_nodes(server):
    prompt = read("clothes_mask_for_inpainting")
    done = server.run(prompt)
    load, picture, ask, pick = (prompt[key]["inputs"] for key in "1234")
    (model,) = NODE_CLASS_MAPPINGS["RefHCMLoad"]().load(**load)
    (image,) = NODE_CLASS_MAPPINGS["RefHCMExample"]().read(**picture)
    answer = NODE_CLASS_MAPPINGS["RefHCMAsk"]().ask(**ask | {"model": model, "image": image})[8]
    mask = NODE_CLASS_MAPPINGS["RefHCMParts"]().pick(**pick | {"answer": answer})[0][0]
    shown = torch.from_numpy(server.picture(done, "6")[..., 0].copy()) / 255
    assert (shown - mask).abs().mean() < 0.01  # ComfyUI's torch may be another one
    assert mask.mean() > 0.02


def test_an_answer_can_be_cancelled(server):
    prompt = {key: node for key, node in read("clothes_mask_for_inpainting").items() if key in "123"}
    prompt["3"]["inputs"] |= {"image": ["4", 0], "caption": True, "keypoints": True, "parallel": "off"}
    prompt["4"] = {"class_type": "RepeatImageBatch", "inputs": {"image": ["2", 0], "amount": 64}}
    prompt["5"] = {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}}

    def interrupt():
        server.wait_for(lambda: json.loads(server.get("queue"))["queue_running"])
        time.sleep(1)
        server.post("interrupt")

    assert messages(server.run(prompt, interrupt))[-1] == "execution_interrupted"
    server.post("free", unload_models=True, free_memory=True)
    prompt["4"]["inputs"]["amount"] = 1
    assert messages(server.run(prompt))[-1] == "execution_success"


def test_a_mistake_is_said_at_the_node(server):
    prompt = read("clothes_mask_for_inpainting")
    prompt["3"]["inputs"]["expression"] = " "
    (error,) = server.post("prompt", prompt=prompt)["node_errors"]["3"]["errors"]
    assert error["details"].startswith("expression - is empty; say whom you mean")
