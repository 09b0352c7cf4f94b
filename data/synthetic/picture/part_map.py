"""One map of parts gives both the picture and its truth: which part of which person covers each pixel.

Parts are drawn into the map as polygons and painted afterwards through look-up tables, so that the picture, the label
map, the areas and what covers what cannot disagree.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from .shapes import Points
from .wardrobe import RGB

SCALE = 2  # map pixels per picture pixel and axis
NOBODY = -1


class Fabric(NamedTuple):
    """A pattern, "plain" or one of PATTERNS, in the colour `second`, repeated every `period` picture px."""

    pattern: str = "plain"
    second: RGB = (255, 255, 255)
    period: float = 6.0


PLAIN = Fabric()


@dataclass(frozen=True)
class Part:
    """`label`: CIHP class, 0 for things. `slot`: where the area counts. `group`: parts without a line between them."""

    owner: int
    label: int
    slot: str
    rgb: RGB
    group: int
    fabric: Fabric = PLAIN


class PartMap:
    """The map of parts, uint8 [SCALE * height, SCALE * width]; 0 is the background. It has room for 255 parts."""

    def __init__(self, size_wh: tuple[int, int]) -> None:
        self.size_wh = size_wh
        self.parts = [Part(owner=NOBODY, label=0, slot="", rgb=(0, 0, 0), group=0)]
        self.image = Image.new("L", (size_wh[0] * SCALE, size_wh[1] * SCALE))
        self._pen = ImageDraw.Draw(self.image)

    def polygon(self, part: int, points: Points) -> None:
        """Draws a polygon [N, 2] of a part over everything before it. Pixel i reaches from i to i + 1."""
        xy = np.rint(np.asarray(points) * SCALE - 0.5).astype(int)
        self._pen.polygon(xy.ravel().tolist(), fill=part)

    def map(self) -> np.ndarray:
        """The parts so far, uint8 [SCALE * height, SCALE * width]."""
        return np.asarray(self.image)

    def owners(self) -> np.ndarray:
        """The person that each part belongs to, int [parts]; NOBODY for the background and for things."""
        return np.array([part.owner for part in self.parts])


class Pen:
    """Draws one person: adds parts to a map under the person's number."""

    def __init__(self, part_map: PartMap, owner: int) -> None:
        self.part_map, self.owner = part_map, owner

    def part(self, label: int, slot: str, rgb: RGB, *, group: int | None = None, fabric: Fabric = PLAIN) -> int:
        """A new part's number. With `group` it is a detail of that part: no outline or shade lies between them."""
        number = len(self.part_map.parts)
        if number > 255:
            raise ValueError("a part map has room for 255 parts: draw fewer people")
        owner = self.owner if label else NOBODY
        self.part_map.parts.append(Part(owner, label, slot, rgb, number if group is None else group, fabric))
        return number

    def draw(self, part: int, *polygons: Points | None) -> None:
        """Draws polygons of a part; None is one that the camera does not see."""
        for points in polygons:
            if points is not None:
                self.part_map.polygon(part, points)


@dataclass(frozen=True)
class Style:
    """How a picture is painted. `outline` and `shade` in map pixels (0: none); `warmth` around 0; `noise` in levels."""

    outline: int
    shade: int
    warmth: float
    noise: float
    blur: float


def paint(part_map: PartMap, background: Image.Image, *, shadow: Image.Image, style: Style, seed: int) -> Image.Image:
    """The picture, RGB of `part_map.size_wh`.

    background (RGB) and shadow (L, how much darker the background is, in levels of 255) are SCALE times that size.
    """
    flat = Image.frombytes("P", part_map.image.size, part_map.image.tobytes())
    flat.putpalette(np.array([part.rgb for part in part_map.parts], np.uint8).tobytes())
    picture = Image.composite(flat.convert("RGB"), background, part_map.image.point([0] + [255] * 255))
    _draw_patterns(picture, part_map)
    groups = np.array([part.group for part in part_map.parts], np.uint8)[part_map.map()]  # [h, w]
    light = Image.fromarray(np.where(groups > 0, _light(groups, style), 255 - np.asarray(shadow)))
    lit = ImageChops.multiply(picture, Image.merge("RGB", (light,) * 3))
    return _finish(lit.reduce(SCALE), style, seed)


def _light(groups: np.ndarray, style: Style) -> np.ndarray:
    """How much of its colour each pixel shows, uint8 [h, w] of 255; the light comes from the upper left.

    The lower right rim of every part is darker, the upper left a little lighter; a line follows its edge.
    """
    light, reach = np.full_like(groups, 244 if style.shade else 255), style.shade
    if style.shade:
        light[_differs(groups, -reach // 2, -reach // 2)] = 255
        light[_differs(groups, reach, reach // 2)] = 208
    for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)) if style.outline else ():
        light[_differs(groups, dx * style.outline, dy * style.outline)] = 96
    return light


def _draw_patterns(picture: Image.Image, part_map: PartMap) -> None:
    parts = part_map.map()
    for number, part in enumerate(part_map.parts):
        pattern, second, period = part.fabric
        if pattern == "plain":
            continue
        own = parts == number
        rows, columns = np.flatnonzero(own.any(axis=1)), np.flatnonzero(own.any(axis=0))
        if not len(rows):
            continue
        top, left = rows[0], columns[0]
        own = own[top : rows[-1] + 1, left : columns[-1] + 1]
        v = np.arange(top, rows[-1] + 1)[:, None] / (period * SCALE)
        u = np.arange(left, columns[-1] + 1)[None] / (period * SCALE)
        mask = (own & _pattern(pattern, u, v)).view(np.uint8) * np.uint8(255)
        picture.paste(second, (int(left), int(top)), Image.fromarray(mask))


def _pattern(name: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Where the second colour lies; u [1, w] and v [h, 1] in periods."""
    if name == "striped":
        return v % 1 < 0.38
    if name == "checked":
        return (u % 1 < 0.3) ^ (v % 1 < 0.3)
    return ((u + 0.5 * (np.floor(v) % 2)) % 1 - 0.5) ** 2 + (v % 1 - 0.5) ** 2 < 0.075


def _differs(groups: np.ndarray, dx: int, dy: int) -> np.ndarray:
    """Where something is drawn and (x + dx, y + dy) belongs to another group. [h, w] -> bool [h, w]."""
    margin = max(abs(dx), abs(dy))
    padded = np.pad(groups, margin, mode="edge")
    height, width = groups.shape
    there = padded[margin + dy : margin + dy + height, margin + dx : margin + dx + width]
    return (there != groups) & (groups > 0)


def _finish(picture: Image.Image, style: Style, seed: int) -> Image.Image:
    """Colour temperature, blur and grain, at the picture's size."""
    if style.blur:
        # shrinking and enlarging is a gentle blur of known width
        small = (round(picture.width / style.blur), round(picture.height / style.blur))
        picture = picture.resize(small, Image.Resampling.BILINEAR).resize(picture.size, Image.Resampling.BICUBIC)
    gains = (1 + style.warmth, 1.0, 1 - style.warmth)
    picture = picture.point([min(round(level * gain), 255) for gain in gains for level in range(256)])
    if not style.noise:
        return picture
    grain = np.random.default_rng(seed).standard_normal((picture.height, picture.width), np.float32) * style.noise
    noisy = np.asarray(picture, np.float32) + grain[..., None]
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
