"""A server to download from."""

import pytest
from file_server import serving

from refhcm.utils.download import fetch


@pytest.fixture
def server(monkeypatch):
    """A server to download from, in small chunks and without pauses."""
    monkeypatch.setattr(fetch, "PAUSE_S", 0)
    monkeypatch.setattr(fetch, "CHUNK", 1000)
    monkeypatch.setenv("no_proxy", "*")
    with serving() as server:
        yield server
