"""Answers drawn on pictures, and pictures laid out on a sheet, for the data view and the demos.

Every function returns a new RGB picture; coordinates are px of the picture that is drawn on. Lines and points are drawn
by `supervision`'s annotators, which know only whole pixels, and so at a larger scale that is then reduced.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter, maximum_filter, minimum_filter

from .boxes import clip_box
from .keypoints import KEYPOINT_NAMES, NUM_KEYPOINTS, SKELETON, visible_keypoints
from .parsing import CLASS_NAMES, paste_label_map

with warnings.catch_warnings(action="ignore", category=UserWarning):  # its import warns that OpenCV is missing
    import supervision as sv

Colour = tuple[int, int, int]

TRUTH: Colour = (0, 160, 82)
PREDICTION: Colour = (214, 41, 118)
INK: Colour = (33, 37, 41)
GREY: Colour = (120, 126, 134)
PAPER: Colour = (255, 255, 255)
SIDES: dict[str, Colour] = {"left": (255, 146, 43), "right": (34, 139, 230), "middle": (151, 117, 250)}
# Boxes and numbers of several people, in turn; the number in white has a contrast of 4.5 on each.
PEOPLE: tuple[Colour, ...] = (
    PREDICTION, (11, 110, 180), (14, 122, 61), (125, 60, 190), (180, 82, 0), (0, 116, 128),
)  # fmt: skip

# Parts as they are drawn. Files keep CIHP's colours (`parsing.PALETTE`), in which faces are blue and dresses black.
PART_COLOURS: dict[str, Colour] = {
    "hat": (142, 68, 173), "hair": (133, 77, 14), "glove": (0, 137, 123), "sunglasses": (69, 90, 100),
    "upper-clothes": (233, 75, 60), "dress": (216, 67, 142), "coat": (72, 84, 190), "socks": (158, 157, 36),
    "pants": (30, 136, 145), "torso-skin": (240, 178, 122), "scarf": (199, 55, 100), "skirt": (67, 160, 71),
    "face": (255, 190, 152), "left-arm": (251, 140, 0), "right-arm": (41, 155, 235), "left-leg": (255, 179, 0),
    "right-leg": (92, 197, 240), "left-shoe": (191, 87, 0), "right-shoe": (13, 92, 160),
}  # fmt: skip
FILL, OUTLINE = 0.32, 0.95  # opacity of a part, and of its outline

FINE_PX = 3000  # longest side at the larger scale
FINEST = 4
HALO = 0.45  # opacity of the dark edge that sets lines off from pictures of their own colour
FONT_SIZE = 17
GAP = 12  # px: half the space between tiles and around them
LINE_SPACING = 1.25


class Line(NamedTuple):
    """A text below a picture, wrapped to the width of the tile and cut after `max_rows`."""

    text: str
    colour: Colour = INK
    max_rows: int = 8


# Answers on a picture


def draw_box(image: Image.Image, box_xyxy: ArrayLike, *, colour: Colour = PREDICTION) -> Image.Image:
    """Draws the outline of a box [4], clipped to the picture."""
    box = clip_box(box_xyxy, image.size)
    width = _line_width(image)

    def ink(thickness: int) -> Callable[[np.ndarray, int], np.ndarray]:
        return lambda scene, k: sv.BoxAnnotator(sv.Color.WHITE, thickness=thickness * k).annotate(
            scene, sv.Detections(xyxy=(box * k)[None], class_id=np.zeros(1, int))
        )

    image = _inked(image, ink(width + 2), colour=INK, opacity=HALO)
    return _inked(image, ink(width), colour=colour)


def draw_keypoints(image: Image.Image, keypoints: ArrayLike) -> Image.Image:
    """Draws the skeleton of the visible keypoints, [17, 2] or [34], in the colours of `SIDES`."""
    points = np.asarray(keypoints, np.float32).reshape(1, NUM_KEYPOINTS, 2)
    visible = visible_keypoints(points)  # [1, 17]
    width = _line_width(image)

    def edges(chosen: Sequence[tuple[int, int]], thickness: int) -> Callable[[np.ndarray, int], np.ndarray]:
        numbered = [(a + 1, b + 1) for a, b in chosen]  # supervision counts from 1
        return lambda scene, k: sv.EdgeAnnotator(sv.Color.WHITE, thickness=thickness * k, edges=numbered).annotate(
            scene, sv.KeyPoints(xy=points * k, visible=visible)
        )

    def vertices(shown: np.ndarray, radius: int) -> Callable[[np.ndarray, int], np.ndarray]:
        return lambda scene, k: sv.VertexAnnotator(sv.Color.WHITE, radius=radius * k).annotate(
            scene, sv.KeyPoints(xy=points * k, visible=shown)
        )

    image = _inked(image, edges(SKELETON, width + 2), colour=INK, opacity=HALO)
    for side, colour in SIDES.items():
        limbs = [limb for limb in SKELETON if _side(*limb) == side]
        image = _inked(image, edges(limbs, width), colour=colour)
    image = _inked(image, vertices(visible, width + 2), colour=PAPER)
    for side, colour in SIDES.items():
        of_side = np.array([_side(k) == side for k in range(NUM_KEYPOINTS)])
        image = _inked(image, vertices(visible & of_side, width + 1), colour=colour)
    return image


def draw_label_map(image: Image.Image, label_map: ArrayLike) -> Image.Image:
    """Outlines each part of a person's label map [h, w], and fills it with opacity `FILL`; not its background.

    The map is resized to the picture.
    """
    labels = _rounded(paste_label_map(label_map, [0, 0, *image.size], image.size), min(image.size) // 200)
    around = 2 * max(1, round(_line_width(image) / 2)) + 1
    outline = maximum_filter(labels, around, mode="nearest") != minimum_filter(labels, around, mode="nearest")
    cover = np.where(labels > 0, np.where(outline, OUTLINE, FILL), 0)
    colours = np.array([INK, *(PART_COLOURS[name] for name in CLASS_NAMES[1:])], np.uint8)[labels]
    return Image.composite(
        Image.fromarray(colours), image.convert("RGB"), Image.fromarray((255 * cover).round().astype(np.uint8))
    )


def draw_number(image: Image.Image, number: int, box_xyxy: ArrayLike, *, colour: Colour) -> Image.Image:
    """Draws a person's number in white on a badge at the first corner of the box [4], wholly inside the picture."""
    size = max(FONT_SIZE, round(min(image.size) / 24))
    font, image = ImageFont.load_default(size), image.convert("RGB").copy()
    height = round(1.3 * size)
    width = max(height, round(font.getlength(str(number)) + 0.7 * size))
    x, y = np.asarray(box_xyxy, float)[:2]
    left = max(0, min(round(x), image.width - 1 - width))  # the badge's last pixel is left + width
    top = max(0, min(round(y), image.height - 1 - height))
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((left, top, left + width, top + height), radius=height // 4, fill=colour)
    draw.text((left + width / 2, top + height / 2), str(number), fill=PAPER, font=font, anchor="mm")
    return image


def draw_person(
    image: Image.Image,
    *,
    box_xyxy: np.ndarray | None = None,
    keypoints: np.ndarray | None = None,
    label_map: ArrayLike | None = None,
    scale: float = 1.0,
    colour: Colour = PREDICTION,
) -> Image.Image:
    """Draws what is given of a person; `image` is `scale` times the size of the picture that the numbers refer to.

    label_map: [h, w] of the whole picture. An empty box is not drawn.
    """
    if label_map is not None:
        image = draw_label_map(image, label_map)
    if box_xyxy is not None and (box_xyxy[2:] > box_xyxy[:2]).all():
        image = draw_box(image, box_xyxy * scale, colour=colour)
    return image if keypoints is None else draw_keypoints(image, keypoints * scale)


# Sheets


def part_colours(label_maps: Iterable[ArrayLike]) -> dict[str, Colour]:
    """Names and colours of the classes in label maps, without the background, for a legend."""
    found = sorted({label for label_map in label_maps for label in np.unique(np.asarray(label_map)).tolist()} - {0})
    return {CLASS_NAMES[label]: PART_COLOURS[CLASS_NAMES[label]] for label in found}


def legend(colours: Mapping[str, Colour], *, width: int) -> Image.Image:
    """A swatch and the name of each colour, in rows of `width` px."""
    font, swatch, step = _font(), FONT_SIZE, round(1.6 * FONT_SIZE)
    places, x, y = [], 0, 0
    for name in colours:
        length = swatch + 6 + round(font.getlength(name))
        if x and x + length > width:
            x, y = 0, y + step
        places.append((x, y))
        x += length + 20
    image = Image.new("RGB", (width, y + step), PAPER)
    draw = ImageDraw.Draw(image)
    for (name, colour), (x, y) in zip(colours.items(), places, strict=True):
        draw.rounded_rectangle((x, y + 3, x + swatch, y + 3 + swatch), radius=4, fill=colour)
        draw.text((x + swatch + 6, y + 3 + swatch / 2), name, fill=INK, font=font, anchor="lm")
    return image


def beside(images: Sequence[Image.Image], *, gap: int = 4) -> Image.Image:
    """Pictures in a row, aligned at the top."""
    width = sum(image.width for image in images) + gap * (len(images) - 1)
    row, x = Image.new("RGB", (width, max(image.height for image in images)), PAPER), 0
    for image in images:
        row.paste(image, (x, 0))
        x += image.width + gap
    return row


def captioned(image: Image.Image, lines: Sequence[Line], *, width: int) -> Image.Image:
    """A tile `width` px wide: the picture, and below it the wrapped lines."""
    step, space = round(FONT_SIZE * LINE_SPACING), 5
    placed, y = [], image.height + space
    for line in lines:
        for row in wrap(line.text, width, max_rows=line.max_rows):
            placed.append((y, row, line.colour))
            y += step
        y += space
    tile = Image.new("RGB", (width, y), PAPER)
    tile.paste(image, (0, 0))
    draw = ImageDraw.Draw(tile)
    for y, row, colour in placed:
        draw.text((0, y), row, fill=colour, font=_font())
    return tile


def contact_sheet(
    tiles: Sequence[Image.Image], columns: int, *, colours: Mapping[str, Colour] | None = None
) -> Image.Image:
    """Tiles in rows of `columns`, each row as high as its highest tile, below a legend of `colours`."""
    if not tiles or columns < 1:
        raise ValueError(f"a sheet needs a tile and a column, got {len(tiles)} tiles and {columns} columns")
    rows = [beside(tiles[k : k + columns], gap=2 * GAP) for k in range(0, len(tiles), columns)]
    width = max(row.width for row in rows)
    rows = [legend(colours, width=width), *rows] if colours else rows
    sheet = Image.new("RGB", (width + 4 * GAP, sum(row.height + 2 * GAP for row in rows) + 2 * GAP), PAPER)
    y = 2 * GAP
    for row in rows:
        sheet.paste(row, (2 * GAP, y))
        y += row.height + 2 * GAP
    return sheet


def wrap(text: str, width: int, *, max_rows: int) -> list[str]:
    """Words in rows of at most `width` px: longer words are broken, and longer texts end in an ellipsis."""
    font, rows = _font(), [""]
    for word in text.split():
        if rows[-1] and font.getlength(f"{rows[-1]} {word}") <= width:
            rows[-1] += f" {word}"
            continue
        rows += [] if rows == [""] else [""]
        for letter in word:
            if font.getlength(rows[-1] + letter) > width:
                rows.append("")
            rows[-1] += letter
    if len(rows) <= max_rows:
        return rows
    last = rows[max_rows - 1]
    while last and font.getlength(last + "…") > width:
        last = last[:-1]
    return [*rows[: max_rows - 1], last + "…"]


# Ink


def _rounded(labels: np.ndarray, px: int) -> np.ndarray:
    """Labels [H, W] without corners finer than `px`: a map is coarser than a picture, and its steps would show."""
    if px < 1:
        return labels
    rounded, most = np.zeros_like(labels), np.zeros(labels.shape, np.float32)
    for label in np.unique(labels):
        share = gaussian_filter((labels == label).astype(np.float32), 1.5 * px)
        rounded, most = np.where(share > most, label, rounded), np.maximum(share, most)
    return rounded


def _inked(
    image: Image.Image, ink: Callable[[np.ndarray, int], np.ndarray], *, colour: Colour, opacity: float = 1.0
) -> Image.Image:
    """Draws in `colour` what `ink` draws in white on a black scene, uint8 [k * h, k * w, 3], at `k` times the size."""
    k = min(max(FINE_PX // max(image.size), 1), FINEST)
    scene = ink(np.zeros((image.height * k, image.width * k, 3), np.uint8), k)
    cover = Image.fromarray(np.ascontiguousarray(scene[..., 0])).resize(image.size, Image.Resampling.BOX)
    return Image.composite(
        Image.new("RGB", image.size, colour), image.convert("RGB"), cover.point(lambda value: value * opacity)
    )


def _side(*keypoints: int) -> str:
    sides = {KEYPOINT_NAMES[k].split("_")[0] for k in keypoints}
    return sides.pop() if sides in ({"left"}, {"right"}) else "middle"


def _line_width(image: Image.Image) -> int:
    return max(2, round(min(image.size) / 150))


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font: nothing need be installed."""
    return ImageFont.load_default(FONT_SIZE)
