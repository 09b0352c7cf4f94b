"""What the tests of `ask` share, and those of downloads."""

import pytest
from asking import Model
from file_server import serving

from refhcm.apps.cli.download import fetch
from refhcm.inference import loading


@pytest.fixture
def model(monkeypatch):
    """A model that knows its answers, which every command loads."""
    model = Model()
    monkeypatch.setattr(loading, "load", lambda checkpoint, **options: model)
    return model


@pytest.fixture
def server(monkeypatch):
    """A server to download from, in small chunks and without pauses."""
    monkeypatch.setattr(fetch, "PAUSE_S", 0)
    monkeypatch.setattr(fetch, "CHUNK", 1000)
    monkeypatch.setenv("no_proxy", "*")
    with serving() as server:
        yield server
