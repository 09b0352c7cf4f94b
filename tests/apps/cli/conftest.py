"""What the tests of `ask` share, and those of downloads."""

import logging

import pytest
from asking import Model
from file_server import serving

from refhcm.inference import loading
from refhcm.utils.download import fetch


@pytest.fixture
def model(monkeypatch):
    """A model that knows its answers, which every command loads."""
    model = Model()
    monkeypatch.setattr(loading, "load", lambda checkpoint, **options: model)
    return model


@pytest.fixture
def server(monkeypatch, caplog):
    """Where downloads go to."""
    caplog.set_level(logging.WARNING)  # fairseq's import in an earlier test lets requests be logged
    monkeypatch.setattr(fetch, "PAUSE_S", 0)
    monkeypatch.setenv("no_proxy", "*")
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", f"{server.url}/")
        yield server
