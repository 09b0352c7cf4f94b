"""A tiny vocabulary and drawn pictures for the tests of refhcm.data."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from refhcm.data.text import TextEncoder
from refhcm.data.vocabulary import Vocabulary


@pytest.fixture(scope="session")
def tiny_vocabulary() -> Vocabulary:
    """3 words (ids 4..6), <mask> 7, 4 codes 8..11, 20 bins 12..31."""
    return Vocabulary.from_pieces(["11", "7", "5"], num_bins=20, code_dict_size=4)


@pytest.fixture(scope="session")
def encoder(bpe_dir, real_vocabulary) -> TextEncoder:
    return TextEncoder.load(bpe_dir, real_vocabulary)


@pytest.fixture(scope="session")
def picture() -> Image.Image:
    """8 x 4 px, no two pixels alike."""
    pixels = np.arange(8 * 4 * 3, dtype=np.uint8).reshape(4, 8, 3)
    return Image.fromarray(pixels)


@pytest.fixture(scope="session")
def png(picture) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="session")
def png_base64(png) -> str:
    return base64.b64encode(png).decode()
