"""What the tests of `ask` share."""

import pytest
from asking import Model

from refhcm.inference import loading


@pytest.fixture
def model(monkeypatch):
    """A model that knows its answers, which every command loads."""
    model = Model()
    monkeypatch.setattr(loading, "load", lambda checkpoint, **options: model)
    return model
