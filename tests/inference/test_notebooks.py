"""An answer in a notebook: drawn on its picture, or on paper where that is gone, with its line below."""

import io
import re
from base64 import b64decode

import numpy as np
import pytest
from PIL import Image

from refhcm.inference.answers import Answer

BLUE = (0, 0, 200)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "photo.png"
    Image.new("RGB", (100, 50), BLUE).save(path)
    return path


def shown(answer):
    """The picture in the HTML of an answer."""
    html = answer._repr_html_()
    assert html.count("Answer(box=(10, 10, 30, 40), &lt;&amp;") == 0
    (data,) = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)
    return Image.open(io.BytesIO(b64decode(data)))


def answer(file=None, **more):
    return Answer((100, 50), True, (), "", np.array([10, 10, 30, 40], np.float32), picture=file, **more)


def test_the_box_is_drawn_on_the_picture_enlarged(file):
    image = shown(answer(str(file)))
    assert image.size == (640, 320)
    assert np.abs(np.subtract(image.getpixel((600, 160)), BLUE)).max() < 12
    edge = np.array(image)[64:256, 60:68].astype(int)  # the left edge, x = 10 of 100
    assert (edge[..., 0] - edge[..., 2] > 60).any()  # magenta, on blue


def test_paper_where_the_picture_is_gone_or_another_one(file):
    for picture in (None, "gone.jpg", str(file)):
        if picture == str(file):
            Image.new("RGB", (60, 50), BLUE).save(file)
        assert min(shown(answer(picture)).getpixel((600, 160))) > 230


def test_the_words_are_escaped():
    html = answer(caption="<b>&").__repr__(), answer(caption="<b>&")._repr_html_()
    assert "<b>" in html[0]
    assert "<b>" not in html[1]
    assert "&lt;b&gt;&amp;" in html[1]
