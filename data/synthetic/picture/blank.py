"""Pictures without people: one colour, a gradient, noise, clouds, shapes in the colours of clothes, empty places."""

from random import Random

import numpy as np
from PIL import Image, ImageDraw

from .backgrounds import draw_background
from .part_map import SCALE
from .wardrobe import COLOURS, RGB, draw_colour


def draw_blank(rng: Random) -> Image.Image:
    """A picture, RGB of 192 to 320 px a side, with nobody in it."""
    size_wh = rng.randrange(192, 321, 8), rng.randrange(192, 321, 8)
    (draw,) = rng.choices((_place, _plain, _gradient, _noise, _clouds, _shapes), (8, 4, 2, 3, 4, 4))
    return draw(size_wh, rng)


def _place(size_wh: tuple[int, int], rng: Random) -> Image.Image:
    width, height = size_wh[0] * SCALE, size_wh[1] * SCALE
    return draw_background((width, height), rng.uniform(0.42, 0.6) * height, rng)[1].reduce(SCALE)


def _plain(size_wh: tuple[int, int], rng: Random) -> Image.Image:
    return Image.new("RGB", size_wh, rng.choice(((0, 0, 0), (255, 255, 255), _colour(rng), _colour(rng))))


def _gradient(size_wh: tuple[int, int], rng: Random) -> Image.Image:
    way = Image.linear_gradient("L").rotate(rng.choice((0, 90, 180, 270))).resize(size_wh)
    return Image.composite(Image.new("RGB", size_wh, _colour(rng)), Image.new("RGB", size_wh, _colour(rng)), way)


def _noise(size_wh: tuple[int, int], rng: Random) -> Image.Image:
    """Cells of 1 to 32 px, gray or of all colours."""
    cell, gray = rng.choice((1, 2, 4, 8, 16, 32)), rng.random() < 0.4
    shape = -(-size_wh[1] // cell), -(-size_wh[0] // cell)
    source = np.random.default_rng(rng.getrandbits(32))
    levels = source.integers(0, 256, shape if gray else (*shape, 3), np.uint8)
    return Image.fromarray(levels).convert("RGB").resize(size_wh, Image.Resampling.NEAREST)


def _clouds(size_wh: tuple[int, int], rng: Random) -> Image.Image:
    """Noise of falling amplitude with falling size, as natural textures have it, between two colours."""
    source = np.random.default_rng(rng.getrandbits(32))
    levels = np.zeros((size_wh[1], size_wh[0]), np.float32)
    fall = rng.uniform(0.4, 0.9)
    for octave in range(6):
        cells = Image.fromarray(source.random((2 << octave, 2 << octave), np.float32))
        levels += fall**octave * np.asarray(cells.resize(size_wh, Image.Resampling.BICUBIC))
    share = ((levels - levels.min()) / np.ptp(levels))[..., None]
    first, second = (np.array(_colour(rng), np.float32) for _ in range(2))
    return Image.fromarray((first * share + second * (1 - share)).astype(np.uint8))


def _shapes(size_wh: tuple[int, int], rng: Random) -> Image.Image:
    picture = rng.choice((_plain, _gradient, _place))(size_wh, rng)
    pen = ImageDraw.Draw(picture)
    for _ in range(rng.randint(2, 9)):
        x, y = (rng.uniform(0, side) for side in size_wh)
        wide, high = (rng.uniform(0.04, 0.25) * side for side in size_wh)
        around = (x - wide, y - high, x + wide, y + high)
        if rng.random() < 0.3:
            pen.polygon([(x - wide, y + high), (x, y - high), (x + wide, y + high)], fill=_colour(rng))
        else:
            rng.choice((pen.ellipse, pen.rectangle))(around, fill=_colour(rng))
    return picture


def _colour(rng: Random) -> RGB:
    return draw_colour(rng.choice(tuple(COLOURS)), rng)
