"""ComfyUI's pictures and masks, in every shape and type that its nodes give."""

import numpy as np
import pytest
import torch
from comfy_nodes import ask, describe, find

from refhcm.apps.comfyui import values
from refhcm.utils.errors import UserError


def test_pixels_survive_conversion():
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    (picture,) = values.read_images(torch.from_numpy(pixels.astype(np.float32) / 255))
    assert (np.asarray(picture) == pixels[0]).all()
    assert torch.equal(values.as_images([picture]), torch.from_numpy(pixels.astype(np.float32) / 255))
    assert np.asarray(values.read_images(torch.tensor([[[[-1.0, 0.5, 2.0]]]]))[0]).tolist() == [[[0, 128, 255]]]


def test_grey_is_three_equal_channels(model):
    """Some nodes give masks and depth maps as an IMAGE of one channel."""
    grey = torch.rand(2, 4, 6, 1)
    for picture, levels in zip(values.read_images(grey), grey, strict=True):
        assert (np.asarray(picture) == (levels * 255).round().numpy().astype(np.uint8)).all()
        assert picture.mode == "RGB"
    assert ask(model, grey, "a man")["drawn"].shape == (2, 4, 6, 3)
    assert describe(model, grey, torch.ones(1, 4, 6)) == ["at [0.0, 0.0, 6.0, 4.0]"] * 2


@pytest.mark.parametrize("shape", [(1, 4, 6, 2), (1, 4, 6, 5), (4, 6, 3), (1, 4, 6, 0)])
def test_other_shapes_are_no_picture(model, shape):
    image, message = torch.zeros(shape), r"^image: needs the shape \[B, H, W, 3\], or 1 or 4 channels, got \["
    for node in (ask, find):
        with pytest.raises(UserError, match=message):
            node(model, image, "a man")
    with pytest.raises(UserError, match=message):
        describe(model, image, torch.ones(1, 4, 6))


@pytest.mark.parametrize("kind", ["full", "grey", "half", "channel", "row"])
def test_a_mask_names_the_person(model, kind):
    mask = torch.zeros(1, 8, 12)  # twice the picture's size
    mask[0, 2:4, 6:12] = 1
    mask = {"grey": mask * 0.3, "half": mask.half(), "channel": mask[..., None], "row": mask[:, None]}.get(kind, mask)
    assert describe(model, torch.zeros(2, 4, 6, 3), mask) == ["at [3.0, 1.0, 6.0, 2.0]"] * 2


def test_a_soft_edge_is_inside_from_half_of_the_mask_s_most():
    """One row of levels .2, .4, .8, .5, .1: half of the most is .4; px of the mask are half a px of the picture."""
    mask = torch.tensor([[[0.2, 0.4, 0.8, 0.5, 0.1, 0]]])
    assert values.read_boxes(mask, torch.zeros(1, 2, 12, 3)) == {0: [2.0, 0.0, 8.0, 2.0]}
    assert values.read_boxes(mask * 0 + values.FAINTEST, torch.zeros(1, 1, 6, 3)) == {0: [0.0, 0.0, 6.0, 1.0]}


def test_an_empty_mask_among_others_is_no_person(model):
    mask = torch.ones(3, 4, 6) * torch.tensor([1, 0, 1])[:, None, None]
    captions = describe(model, torch.zeros(3, 4, 6, 3), mask)
    assert captions == ["at [0.0, 0.0, 6.0, 4.0]", "", "at [0.0, 0.0, 6.0, 4.0]"]
