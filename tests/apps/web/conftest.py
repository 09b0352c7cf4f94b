"""What the tests of the running page share."""

import pytest
from web_page import PATIENCE


@pytest.fixture
def client(server):
    """gradio's own client of the test's `server`."""
    import gradio_client  # with the `demo` extra only

    httpx_kwargs = {"timeout": PATIENCE}
    client = gradio_client.Client(server.url, verbose=False, httpx_kwargs=httpx_kwargs, analytics_enabled=False)
    yield client
    client.close()
