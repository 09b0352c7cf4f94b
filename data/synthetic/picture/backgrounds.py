"""Where people stand: six kinds of places made of a few shapes, with things in the colours of clothes."""

from collections.abc import Callable
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from .wardrobe import COLOURS, RGB, draw_colour, shade


def draw_background(size_wh: tuple[int, int], horizon: float, rng: Random) -> tuple[str, Image.Image]:
    """A place's name and its picture, RGB of `size_wh`; the floor begins at y = `horizon` px."""
    name = rng.choice(tuple(_PLACES))
    return name, _PLACES[name](size_wh, horizon, rng)


def _gradient(size_wh: tuple[int, int], split: float, colours: tuple[RGB, RGB, RGB, RGB]) -> Image.Image:
    """Two vertical gradients that meet at y = `split`: the first two colours above, the others below."""
    height = size_wh[1]
    y = np.arange(height, dtype=np.float32)[:, None]
    top, above, below, bottom = (np.array(colour, np.float32) for colour in colours)
    upper = top + (above - top) * (y / max(split, 1))
    lower = below + (bottom - below) * ((y - split) / max(height - split, 1))
    column = np.where(y < split, upper, lower).clip(0, 255).astype(np.uint8)  # [h, 3]
    return Image.fromarray(column[:, None]).resize(size_wh, Image.Resampling.NEAREST)


def _any_colour(rng: Random) -> RGB:
    return draw_colour(rng.choice(tuple(COLOURS)), rng)


def _box(pen: ImageDraw.ImageDraw, x: float, y: float, *, wide: float, high: float, fill: RGB) -> None:
    pen.rectangle((x, y, x + wide, y + high), fill=fill)


def _disc(pen: ImageDraw.ImageDraw, x: float, y: float, *, radii: tuple[float, float], fill: RGB) -> None:
    pen.ellipse((x - radii[0], y - radii[1], x + radii[0], y + radii[1]), fill=fill)


def _sky(rng: Random) -> tuple[RGB, RGB]:
    return rng.choice((
        ((112, 172, 232), (208, 230, 246)), ((150, 196, 222), (238, 240, 232)), ((120, 130, 168), (244, 206, 176)),
        ((174, 186, 198), (222, 226, 230)), ((70, 96, 150), (190, 196, 222)),
    ))  # fmt: skip


def _clouds(pen: ImageDraw.ImageDraw, width: int, horizon: float, rng: Random) -> None:
    for _ in range(rng.randint(0, 3)):
        x, y, r = rng.uniform(0, width), rng.uniform(0.08, 0.5) * horizon, rng.uniform(0.03, 0.06) * width
        for dx, grow in ((-1.1, 0.7), (0, 1.0), (1.1, 0.75)):
            _disc(pen, x + dx * r, y, radii=(r * grow * 1.2, r * grow * 0.8), fill=(246, 248, 250))


def _tree(pen: ImageDraw.ImageDraw, x: float, foot: float, high: float, rng: Random, *, snowy: bool = False) -> None:
    green = (rng.randint(44, 110), rng.randint(108, 156), rng.randint(50, 90))
    _box(pen, x - high * 0.05, foot - high * 0.4, wide=high * 0.1, high=high * 0.4, fill=(104, 76, 52))
    if snowy or rng.random() < 0.35:
        for step, wide in ((0.25, 0.3), (0.5, 0.24), (0.75, 0.16)):
            y = foot - high * step
            fill = (232, 238, 244) if snowy and step > 0.6 else shade((48, 100, 72), 0.8 + 0.4 * step)
            pen.polygon([(x - wide * high, y), (x + wide * high, y), (x, y - high * 0.36)], fill=fill)
        return
    for dx, dy, r in ((-0.16, -0.55, 0.2), (0.16, -0.58, 0.2), (0, -0.78, 0.24)):
        _disc(pen, x + dx * high, foot + dy * high, radii=(r * high, r * high), fill=shade(green, 1.1 + dx))


def _park(size_wh: tuple[int, int], horizon: float, rng: Random) -> Image.Image:
    width, height = size_wh
    grass = rng.choice(((134, 176, 96), (168, 184, 104), (110, 160, 104), (190, 176, 116)))
    image = _gradient(size_wh, horizon, (*_sky(rng), grass, shade(grass, 0.82)))
    pen = ImageDraw.Draw(image)
    _clouds(pen, width, horizon, rng)
    for _ in range(rng.randint(0, 2)):
        fill = shade(grass, rng.uniform(0.72, 0.9))
        x, wide, high = rng.uniform(0, width), rng.uniform(0.25, 0.5) * width, rng.uniform(0.1, 0.3) * horizon
        pen.pieslice((x - wide, horizon - high, x + wide, horizon + high), 180, 360, fill=fill)
    for _ in range(rng.randint(1, 5)):
        _tree(pen, rng.uniform(0, width), horizon + rng.uniform(0, 0.1) * height, rng.uniform(0.2, 0.45) * height, rng)
    if rng.random() < 0.5:
        x = rng.uniform(0.1, 0.9) * width
        sand = rng.choice(((214, 198, 164), (178, 174, 168)))
        pen.polygon([(x, horizon), (x + 8, horizon), (x + 0.3 * width, height), (x - 0.3 * width, height)], fill=sand)
    for _ in range(rng.randint(0, 14)):
        x, y = rng.uniform(0, width), rng.uniform(horizon + 0.1 * height, height)
        _disc(pen, x, y, radii=(3, 3), fill=_any_colour(rng))
    return image


def _street(size_wh: tuple[int, int], horizon: float, rng: Random) -> Image.Image:
    width, height = size_wh
    ground = rng.choice(((150, 150, 154), (172, 164, 152), (120, 122, 130)))
    image = _gradient(size_wh, horizon, (*_sky(rng), ground, shade(ground, 0.88)))
    pen, x = ImageDraw.Draw(image), -rng.uniform(0, 0.2) * width
    while x < width:
        wide, high = rng.uniform(0.16, 0.34) * width, rng.uniform(0.5, 1.0) * horizon
        wall = rng.choice(((190, 128, 106), (206, 190, 164), (156, 168, 182), (222, 214, 206), (146, 118, 108)))
        _box(pen, x, horizon - high, wide=wide, high=high, fill=shade(wall, rng.uniform(0.85, 1.05)))
        columns, step = rng.randint(2, 4), height * 0.11
        glass = rng.choice(((92, 116, 138), (236, 220, 150), (70, 84, 100)))
        for row in range(int((high - 0.3 * step) / step)):
            for column in range(columns):
                left, top = x + wide * (column + 0.25) / columns, horizon - high + (row + 0.35) * step
                _box(pen, left, top, wide=wide * 0.5 / columns, high=step * 0.55, fill=glass)
        if rng.random() < 0.5:
            _box(pen, x, horizon - step * 1.3, wide=wide, high=step * 0.35, fill=_any_colour(rng))
        x += wide + rng.uniform(0, 0.03) * width
    _box(pen, 0, horizon, wide=width, high=0.03 * height, fill=shade(ground, 1.15))
    if rng.random() < 0.5:
        for left in np.arange(rng.uniform(-0.2, 0), 1, 0.25) * width:
            _box(pen, left, height * 0.93, wide=0.12 * width, high=0.02 * height, fill=(236, 232, 214))
    if rng.random() < 0.5:
        _car(pen, rng.uniform(0, 0.9) * width, horizon + 0.05 * height, height * 0.16, _any_colour(rng))
    return image


def _car(pen: ImageDraw.ImageDraw, x: float, foot: float, high: float, fill: RGB) -> None:
    pen.rounded_rectangle((x, foot - high * 0.62, x + high * 2.4, foot - high * 0.12), radius=high * 0.15, fill=fill)
    pen.rounded_rectangle(
        (x + high * 0.5, foot - high, x + high * 1.9, foot - high * 0.4), radius=high * 0.2, fill=fill
    )
    _box(pen, x + high * 0.65, foot - high * 0.9, wide=high * 1.1, high=high * 0.3, fill=(190, 212, 226))
    for wheel in (0.5, 1.9):
        _disc(pen, x + high * wheel, foot - high * 0.14, radii=(high * 0.2, high * 0.2), fill=(40, 40, 44))


def _beach(size_wh: tuple[int, int], horizon: float, rng: Random) -> Image.Image:
    width, height = size_wh
    sand = rng.choice(((232, 212, 168), (222, 196, 150), (240, 226, 196)))
    image = _gradient(size_wh, horizon, (*_sky(rng), sand, shade(sand, 0.9)))
    pen = ImageDraw.Draw(image)
    _clouds(pen, width, horizon, rng)
    sea = rng.choice(((64, 140, 178), (84, 168, 180), (58, 108, 156)))
    _box(pen, 0, horizon * 0.72, wide=width, high=horizon * 0.28, fill=sea)
    for _ in range(rng.randint(2, 6)):
        x, y = rng.uniform(0, width), rng.uniform(0.75, 0.97) * horizon
        _box(pen, x, y, wide=rng.uniform(0.05, 0.2) * width, high=2, fill=shade(sea, 1.3))
    _disc(pen, rng.uniform(0, width), horizon * 0.25, radii=(0.06 * width,) * 2, fill=(252, 236, 170))
    for _ in range(rng.randint(0, 2)):
        x, foot, high, fill = rng.uniform(0, width), horizon + 0.08 * height, 0.34 * height, _any_colour(rng)
        _box(pen, x - 2, foot - high, wide=4, high=high, fill=(150, 120, 90))
        pen.pieslice((x - high * 0.5, foot - high, x + high * 0.5, foot - high * 0.3), 180, 360, fill=fill)
    if rng.random() < 0.5:
        x, y = rng.uniform(0, width), rng.uniform(0.88, 0.95) * height
        towel = [(x, y), (x + 0.2 * width, y), (x + 0.24 * width, y + 24), (x + 0.02 * width, y + 24)]
        pen.polygon(towel, fill=_any_colour(rng))
    return image


def _snow(size_wh: tuple[int, int], horizon: float, rng: Random) -> Image.Image:
    width, height = size_wh
    image = _gradient(size_wh, horizon, ((150, 170, 196), (214, 222, 232), (226, 232, 240), (206, 216, 230)))
    pen = ImageDraw.Draw(image)
    for _ in range(rng.randint(1, 3)):
        x, high, wide = rng.uniform(0, width), rng.uniform(0.3, 0.7) * horizon, rng.uniform(0.25, 0.45) * width
        pen.polygon([(x - wide, horizon), (x, horizon - high), (x + wide, horizon)], fill=(164, 176, 194))
        tip = [(x - wide * 0.3, horizon - high * 0.7), (x, horizon - high), (x + wide * 0.3, horizon - high * 0.7)]
        pen.polygon(tip, fill=(238, 242, 248))
    for _ in range(rng.randint(1, 5)):
        foot = horizon + rng.uniform(0, 0.08) * height
        _tree(pen, rng.uniform(0, width), foot, rng.uniform(0.18, 0.4) * height, rng, snowy=True)
    for _ in range(rng.randint(0, 50)):
        _disc(pen, rng.uniform(0, width), rng.uniform(0, height), radii=(2.5, 2.5), fill=(250, 252, 255))
    return image


def _room(size_wh: tuple[int, int], horizon: float, rng: Random) -> Image.Image:
    width, height = size_wh
    walls = (222, 210, 190), (190, 204, 206), (214, 196, 196), (176, 188, 168), (228, 224, 216), (150, 164, 186)
    wall = rng.choice(walls)
    floor = rng.choice(((168, 128, 92), (140, 104, 78), (188, 182, 174), (120, 110, 110)))
    image = _gradient(size_wh, horizon, (wall, shade(wall, 0.94), shade(floor, 0.92), shade(floor, 1.1)))
    pen = ImageDraw.Draw(image)
    if rng.random() < 0.35:
        step = rng.uniform(0.05, 0.12) * width
        for left in np.arange(0, width, step):
            _box(pen, left, 0, wide=step * 0.45, high=horizon, fill=shade(wall, 0.93))
    for edge in np.linspace(-1.2, 2.2, 15) * width:
        pen.line([(width / 2 + (edge - width / 2) * 0.5, horizon), (edge, height)], fill=shade(floor, 0.84), width=2)
    _box(pen, 0, horizon - 0.02 * height, wide=width, high=0.02 * height, fill=(238, 234, 226))
    for _ in range(rng.randint(1, 3)):
        x, y = rng.uniform(0, 0.85) * width, rng.uniform(0.06, 0.35) * horizon
        wide, high = rng.uniform(0.1, 0.26) * width, rng.uniform(0.25, 0.5) * horizon
        inside = rng.choice(((178, 212, 236), _any_colour(rng), _any_colour(rng)))
        _box(pen, x - 5, y - 5, wide=wide + 10, high=high + 10, fill=rng.choice(((244, 242, 238), (96, 68, 48))))
        _box(pen, x, y, wide=wide, high=high, fill=inside)
        _box(pen, x + wide * 0.48, y, wide=wide * 0.04, high=high, fill=shade(inside, 0.8))
    if rng.random() < 0.6:
        x, wide, fill = rng.uniform(0, 0.7) * width, rng.uniform(0.2, 0.34) * width, _any_colour(rng)
        top = horizon - 0.16 * height
        pen.rounded_rectangle((x, top, x + wide, horizon + 0.05 * height), radius=10, fill=shade(fill, 0.85))
        pen.rounded_rectangle(
            (x - 8, horizon - 0.04 * height, x + wide + 8, horizon + 0.06 * height), radius=8, fill=fill
        )
    return image


def _studio(size_wh: tuple[int, int], horizon: float, rng: Random) -> Image.Image:
    red, green, blue = (round(150 + (c - 128) * 0.45) for c in shade(_any_colour(rng), rng.uniform(0.85, 1.0)))
    tone = red, green, blue
    return _gradient(size_wh, horizon, (shade(tone, 0.82), shade(tone, 1.12), shade(tone, 1.08), shade(tone, 0.8)))


_PLACES: dict[str, Callable[[tuple[int, int], float, Random], Image.Image]] = {
    "park": _park, "street": _street, "beach": _beach, "snow": _snow, "room": _room, "studio": _studio,
}  # fmt: skip
