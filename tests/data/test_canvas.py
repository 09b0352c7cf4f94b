import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import zoom

from refhcm.data.canvas import IMAGENET_MEAN, IMAGENET_STD, Canvas, to_canvas, to_image
from refhcm.utils.parsing import zoom_label_map


def test_place_by_hand(picture):
    # No resizing: 8 x 8 px stay as they are.
    square = picture.resize((8, 8))
    placed = Canvas(patch_image_size=8).resized(square)
    assert placed.patch_image.dtype == np.float32
    assert placed.patch_image.shape == (3, 8, 8)
    pixels = torch.from_numpy(np.array(square)).permute(2, 0, 1).float()
    assert np.array_equal(placed.patch_image, (pixels / 255 - 0.5) / 0.5)


def test_ratios_are_float32_numbers(picture):
    placed = Canvas(patch_image_size=5).resized(picture)
    assert (placed.w_resize_ratio, placed.h_resize_ratio) == (float(np.float32(5 / 8)), float(np.float32(5 / 4)))
    assert Canvas(patch_image_size=512).resized(Image.new("RGB", (9, 213))).h_resize_ratio == 2.4037559032440186


@pytest.mark.parametrize("size_wh", [(240, 320), (320, 240), (6, 90), (90, 6)])
def test_width_is_resized_before_height(size_wh):
    """As in the published pixels; in one step, Pillow >= 13 would resize the height of a tall picture first."""
    pixels = np.random.default_rng(0).integers(0, 256, (size_wh[1], size_wh[0], 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    wide = image.resize((64, size_wh[1]), Image.Resampling.BICUBIC)
    expected = np.asarray(wide.resize((64, 64), Image.Resampling.BICUBIC))
    patch_image = Canvas(patch_image_size=64).resized(image).patch_image
    assert np.array_equal(((patch_image * 0.5 + 0.5) * 255).round().transpose(1, 2, 0), expected)


def test_imagenet_mean_and_std():
    canvas = Canvas(patch_image_size=2, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    patch_image = canvas.resized(Image.new("RGB", (2, 2), (255, 0, 51))).patch_image
    expected = [(1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
    assert patch_image[:, 1, 0].tolist() == pytest.approx(expected, rel=1e-6)


def test_canvas_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Canvas().patch_image_size = 3


def test_coordinates_there_and_back():
    box = np.array([10, 20, 30, 40], dtype=np.float32)
    on_canvas = to_canvas(box, 0.5, h_resize_ratio=2.0)
    assert on_canvas.dtype == np.float32
    assert on_canvas.tolist() == [5, 40, 15, 80]
    assert to_image(on_canvas, 0.5, h_resize_ratio=2.0).tolist() == box.tolist()
    assert to_canvas(torch.ones(2, 34), 3.0, h_resize_ratio=4.0)[1].tolist() == [3, 4] * 17


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (2, 3), (213, 320), (511, 513), (512, 512), (640, 427), (1080, 1921)]
)
def test_label_map_is_scipys_zoom(height, width):
    label_map = np.random.default_rng(0).integers(0, 20, (height, width))
    resized = zoom_label_map(label_map)
    assert resized.dtype == np.int32
    assert np.array_equal(resized, zoom(label_map, (512 / height, 512 / width), order=0))


def test_label_map_axes_are_not_swapped():
    label_map = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.uint8)
    assert zoom_label_map(label_map, size=2).tolist() == [[1, 3], [4, 6]]
