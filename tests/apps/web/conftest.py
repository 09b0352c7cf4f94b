"""What the tests of the running page share."""

import pytest
from web_page import PATIENCE

from refhcm.inference.loading import load


@pytest.fixture
def client(server):
    """gradio's own client of the test's `server`."""
    import gradio_client  # with the `demo` extra only

    httpx_kwargs = {"timeout": PATIENCE}
    client = gradio_client.Client(server.url, verbose=False, httpx_kwargs=httpx_kwargs, analytics_enabled=False)
    yield client
    client.close()


@pytest.fixture(scope="module")
def model(golden, golden_checkpoint, bpe_dir):
    return load(golden_checkpoint("multitask"), tokenizer=golden / "vqgan", bpe_dir=bpe_dir, device="cpu")


@pytest.fixture
def asking(model):
    from refhcm.apps.web.asking import Asking  # with the `demo` extra only

    return Asking(model)


@pytest.fixture
def upload(tmp_path, monkeypatch):
    """`upload(data)`: the path of an uploaded file that holds these bytes."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))

    def save(data, name="picture.png"):
        path = tmp_path / "uploaded" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return str(path)

    return save
