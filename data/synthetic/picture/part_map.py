"""One map of parts gives both the picture and its truth: which part of which person covers each pixel.

A part is drawn as polygons into the map, and painted afterwards through look-up tables, so that the picture, the
label map, the areas and what covers what can not disagree.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from .shapes import Points
from .wardrobe import RGB

SCALE = 2  # map pixels per picture pixel and axis
NOBODY = -1


@dataclass(frozen=True)
class Part:
    """`label`: CIHP class, 0 for things. `slot`: what the area is counted for. `group`: parts with no line between."""

    owner: int
    label: int
    slot: str
    rgb: RGB
    group: int
    pattern: str = "plain"
    second: RGB = (255, 255, 255)
    period: float = 6.0  # of the pattern, picture px


class PartMap:
    """The map of parts, uint8 [SCALE * height, SCALE * width]; 0 is the background. It has room for 255 parts."""

    def __init__(self, size_wh: tuple[int, int]) -> None:
        self.size_wh = size_wh
        self.parts = [Part(owner=NOBODY, label=0, slot="", rgb=(0, 0, 0), group=0)]
        self.image = Image.new("L", (size_wh[0] * SCALE, size_wh[1] * SCALE))
        self._pen = ImageDraw.Draw(self.image)

    def polygon(self, part: int, points: Points) -> None:
        """Draw one polygon [N, 2] (picture px, pixel i reaching from i to i + 1) of a part over all before it."""
        xy = np.rint(np.asarray(points) * SCALE - 0.5).astype(int)
        self._pen.polygon(xy.ravel().tolist(), fill=part)

    def map(self) -> np.ndarray:
        """The map as it is, uint8 [SCALE * height, SCALE * width]."""
        return np.asarray(self.image)

    def owners(self) -> np.ndarray:
        """Whom each part belongs to, int [parts]; NOBODY for the background and for things."""
        return np.array([part.owner for part in self.parts])


class Pen:
    """Draws for one person: adds parts to the canvas under the person's number."""

    def __init__(self, canvas: PartMap, owner: int) -> None:
        self.canvas, self.owner = canvas, owner

    def part(self, label: int, slot: str, rgb: RGB, *, group: int | None = None, **pattern: object) -> int:
        """A new part. With `group` it is a detail of that part: no outline and no shade lies between them."""
        number = len(self.canvas.parts)
        if number > 255:
            raise ValueError("a canvas has room for 255 parts: draw fewer people")
        owner = self.owner if label else NOBODY
        part = Part(owner, label, slot, rgb, group=number if group is None else group, **pattern)
        self.canvas.parts.append(part)
        return number

    def draw(self, part: int, *polygons: Points) -> int:
        """Draw polygons of a part; returns the part."""
        for points in polygons:
            self.canvas.polygon(part, points)
        return part


@dataclass(frozen=True)
class Style:
    """How a picture is painted. `outline` and `shade` in map pixels (0: none); `warmth` about 0; `noise` in levels."""

    outline: int
    shade: int
    warmth: float
    noise: float
    blur: float


def paint(canvas: PartMap, background: Image.Image, *, shadow: Image.Image, style: Style, seed: int) -> Image.Image:
    """The picture, RGB of `canvas.size_wh`.

    background (RGB) and shadow (L, how much darker the background is, in levels of 255) are SCALE times that size.
    """
    flat = Image.frombytes("P", canvas.image.size, canvas.image.tobytes())
    flat.putpalette(np.array([part.rgb for part in canvas.parts], np.uint8).tobytes())
    picture = Image.composite(flat.convert("RGB"), background, canvas.image.point([0] + [255] * 255))
    _draw_patterns(picture, canvas)
    groups = np.array([part.group for part in canvas.parts], np.uint8)[canvas.map()]  # [h, w]
    light = Image.fromarray(np.where(groups > 0, _light(groups, style), 255 - np.asarray(shadow)))
    lit = ImageChops.multiply(picture, Image.merge("RGB", (light,) * 3))
    return _finish(lit.reduce(SCALE), style, seed)


def _light(groups: np.ndarray, style: Style) -> np.ndarray:
    """How much of its colour each pixel shows, uint8 [h, w] of 255; the light comes from the upper left.

    The lower right rim of every part is darker, the upper left a little lighter; a line goes where a part ends.
    """
    light, reach = np.full_like(groups, 244 if style.shade else 255), style.shade
    if style.shade:
        light[_differs(groups, -reach // 2, -reach // 2)] = 255
        light[_differs(groups, reach, reach // 2)] = 208
    for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)) if style.outline else ():
        light[_differs(groups, dx * style.outline, dy * style.outline)] = 96
    return light


def _draw_patterns(picture: Image.Image, canvas: PartMap) -> None:
    """Stripes, checks and dots onto `picture`, in the second colour of their part."""
    parts = canvas.map()
    for number, part in enumerate(canvas.parts):
        if part.pattern == "plain":
            continue
        own = parts == number
        rows, columns = np.flatnonzero(own.any(axis=1)), np.flatnonzero(own.any(axis=0))
        if not len(rows):
            continue
        top, left = rows[0], columns[0]
        own = own[top : rows[-1] + 1, left : columns[-1] + 1]
        v = np.arange(top, rows[-1] + 1)[:, None] / (part.period * SCALE)
        u = np.arange(left, columns[-1] + 1)[None] / (part.period * SCALE)
        picture.paste(part.second, (int(left), int(top)), _mask(own & _pattern(part.pattern, u, v)))


def _pattern(name: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Where the second colour lies; u [1, w] and v [h, 1] in periods."""
    if name == "striped":
        return v % 1 < 0.38
    if name == "checked":
        return (u % 1 < 0.3) ^ (v % 1 < 0.3)
    return ((u + 0.5 * (np.floor(v) % 2)) % 1 - 0.5) ** 2 + (v % 1 - 0.5) ** 2 < 0.075


def _mask(values: np.ndarray) -> Image.Image:
    """Booleans [h, w] -> a mask as Pillow takes it."""
    return Image.fromarray(values.view(np.uint8) * np.uint8(255))


def _differs(groups: np.ndarray, dx: int, dy: int) -> np.ndarray:
    """Where something is drawn, and what lies at (x + dx, y + dy) is another group. [h, w] -> bool [h, w]."""
    margin = max(abs(dx), abs(dy))
    padded = np.pad(groups, margin, mode="edge")
    height, width = groups.shape
    there = padded[margin + dy : margin + dy + height, margin + dx : margin + dx + width]
    return (there != groups) & (groups > 0)


def _finish(picture: Image.Image, style: Style, seed: int) -> Image.Image:
    """Colour temperature, blur and grain, at the picture's size."""
    if style.blur:
        # smaller and back again is a gentle blur of known width
        small = (round(picture.width / style.blur), round(picture.height / style.blur))
        picture = picture.resize(small, Image.Resampling.BILINEAR).resize(picture.size, Image.Resampling.BICUBIC)
    gains = (1 + style.warmth, 1.0, 1 - style.warmth)
    picture = picture.point([min(round(level * gain), 255) for gain in gains for level in range(256)])
    if not style.noise:
        return picture
    grain = np.random.default_rng(seed).standard_normal((picture.height, picture.width), np.float32) * style.noise
    noisy = np.asarray(picture, np.float32) + grain[..., None]
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
