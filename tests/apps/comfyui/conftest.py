"""What the tests of the nodes share."""

import pytest
from comfy_nodes import People

from refhcm.apps.comfyui import loading


@pytest.fixture
def model():
    return loading.Loaded(People())
