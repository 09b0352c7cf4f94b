"""Drawings: the right colour at the right pixel."""

import numpy as np
import pytest
import torch
from PIL import Image

from refhcm.utils import drawing
from refhcm.utils.drawing import FILL, INK, OUTLINE, PAPER, PART_COLOURS, PEOPLE, PREDICTION, SIDES, TRUTH, Line
from refhcm.utils.keypoints import KEYPOINT_NAMES
from refhcm.utils.parsing import CLASS_NAMES, paste_label_map

WHITE = (255, 255, 255)


@pytest.fixture
def paper():
    """160 x 100 px, white; lines on it are 2 px wide."""
    return Image.new("RGB", (160, 100), WHITE)


def test_box_outline(paper):
    drawn = drawing.draw_box(paper, [20, 30, 120, 80], colour=TRUTH)
    for on_the_line in [(20, 50), (120, 50), (70, 30), (70, 80)]:
        assert drawn.getpixel(on_the_line) == TRUTH
    for off_the_line in [(70, 55), (10, 50), (130, 50), (70, 20), (70, 90)]:
        assert drawn.getpixel(off_the_line) == WHITE
    assert np.asarray(paper).min() == 255  # the argument is unchanged


def test_lines_are_as_wide_as_the_picture_asks_and_have_a_dark_edge():
    """1/150 of its shorter side: 6 px of 900; beside them 1 px of `HALO`."""
    edge = tuple(round(255 + drawing.HALO * (ink - 255)) for ink in INK)
    image = Image.new("RGB", (1000, 900), WHITE)
    points = keypoints(left_elbow=(500, 300), left_wrist=(500, 700))
    for drawn, colour in (
        (drawing.draw_box(image, [500, 300, 900, 700], colour=TRUTH), TRUTH),
        (drawing.draw_keypoints(image, points), SIDES["left"]),
    ):
        row = [drawn.getpixel((x, 500)) for x in range(480, 520)]
        assert row.count(colour) == 6
        assert row[row.index(colour) - 2] == WHITE
        assert row[row.index(colour) - 1] == pytest.approx(edge, abs=1)
    drawn = drawing.draw_keypoints(Image.new("RGB", (1000, 900)), keypoints(nose=(500, 300)))
    ring = [drawn.getpixel((x, 300)) for x in (491, 492, 493, 500)]  # a point's radius is 7 px, and its light edge 1
    assert ring == [(0, 0, 0), PAPER, SIDES["middle"], SIDES["middle"]]


def test_a_person_is_drawn_at_the_scale_of_the_picture(paper):
    points = keypoints(nose=(40, 20), left_elbow=(60, 15), left_wrist=(60, 40))
    drawn = drawing.draw_person(paper, box_xyxy=np.array([10, 15, 70, 45]), keypoints=points, scale=2, colour=TRUTH)
    assert drawn.getpixel((20, 60)) == drawn.getpixel((140, 60)) == drawn.getpixel((80, 90)) == TRUTH
    assert drawn.getpixel((80, 40)) == SIDES["middle"]
    assert drawn.getpixel((120, 55)) == SIDES["left"]
    assert drawn.getpixel((60, 25)) == drawn.getpixel((40, 20)) == WHITE
    empty = drawing.draw_person(paper, box_xyxy=np.array([10, 15, 10, 45]), scale=2)
    assert empty.tobytes() == paper.tobytes()


def test_a_box_outside_the_picture_is_drawn_on_its_edge(paper):
    drawn = drawing.draw_box(paper, [-50, 30, 1000, 80])
    assert drawn.getpixel((0, 50)) == PREDICTION
    assert drawn.getpixel((159, 50)) != WHITE


def keypoints(**points):
    """[17, 2] with the named points; the others are (0, 0)."""
    found = np.zeros((17, 2), np.float32)
    for name, point in points.items():
        found[KEYPOINT_NAMES.index(name)] = point
    return found


def test_keypoints_and_limbs_have_the_colour_of_their_side(paper):
    points = keypoints(
        nose=(80, 12), left_elbow=(120, 30), left_wrist=(120, 80), right_elbow=(30, 30), right_wrist=(30, 80)
    )
    drawn = drawing.draw_keypoints(paper, points.ravel())
    assert drawn.getpixel((120, 30)) == drawn.getpixel((120, 55)) == SIDES["left"]
    assert drawn.getpixel((30, 80)) == drawn.getpixel((30, 55)) == SIDES["right"]
    assert drawn.getpixel((80, 12)) == SIDES["middle"]
    assert drawn.getpixel((0, 0)) == drawn.getpixel((75, 55)) == WHITE  # hidden points have no limbs


def test_no_visible_keypoint_changes_nothing(paper):
    assert drawing.draw_keypoints(paper, np.zeros(34)).tobytes() == paper.tobytes()


def over(background, part, opacity):
    return tuple(round(background + opacity * (value - background)) for value in PART_COLOURS[part])


def test_label_map_is_resized_to_the_picture_and_outlined():
    image = Image.new("RGB", (20, 12), (100, 100, 100))
    label_map = torch.tensor([[1, 0], [2, 13]])  # hat, background; hair, face
    drawn = drawing.draw_label_map(image, label_map)
    corners = {"hat": (0, 0, 9, 5), "hair": (0, 6, 9, 11), "face": (10, 6, 19, 11)}
    for part, (x0, y0, x1, y1) in corners.items():
        inside, outline = ((x0 + x1) // 2, (y0 + y1) // 2), {"hat": (x1, y1), "hair": (x1, y0), "face": (x0, y1)}[part]
        assert drawn.getpixel(outline) == pytest.approx(over(100, part, OUTLINE), abs=1)
        assert drawn.getpixel(inside) == pytest.approx(over(100, part, FILL), abs=1)
    for background in [(10, 0), (19, 5)]:
        assert drawn.getpixel(background) == (100, 100, 100)


def test_label_map_covers_the_picture():
    image = Image.new("RGB", (40, 20), WHITE)
    drawn = drawing.draw_label_map(image, np.array([[0, 5]], np.uint8))
    assert drawn.getpixel((19, 19)) == WHITE
    assert drawn.getpixel((30, 10)) == drawn.getpixel((38, 10))
    assert drawn.getpixel((30, 10)) == pytest.approx(over(255, "upper-clothes", FILL), abs=1)


def test_the_steps_of_a_coarse_map_are_rounded_on_a_large_picture():
    label_map = np.zeros((10, 10), np.uint8)
    label_map[5:, 5:] = 2
    drawn = drawing.draw_label_map(Image.new("RGB", (500, 500), WHITE), label_map)
    assert drawn.getpixel((250, 250)) == WHITE  # the corner
    assert drawn.getpixel((270, 270)) == pytest.approx(over(255, "hair", FILL), abs=1)
    for on_an_edge in [(400, 249), (249, 400)]:
        assert drawn.getpixel(on_an_edge) == WHITE


def test_colours_differ_and_numbers_can_be_read(paper):
    assert set(PART_COLOURS) == set(CLASS_NAMES[1:])
    assert len(set(PART_COLOURS.values())) == len(PART_COLOURS)
    for colour in PEOPLE:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in np.array(colour) / 255]
        assert 1.05 / (np.dot(linear, [0.2126, 0.7152, 0.0722]) + 0.05) >= 4.5  # WCAG's contrast with white
    sizes = set()
    for corner in [(20, 30), (-5, -5), (400, 400)]:
        pixels = np.asarray(drawing.draw_number(paper, 7, [*corner, 500, 500], colour=TRUTH))
        badge = (pixels == TRUTH).all(-1)
        assert badge.sum() > 200
        sizes.add(badge.sum())
        x, y = np.flatnonzero(badge.any(0)), np.flatnonzero(badge.any(1))
        assert (pixels[y[0] : y[-1], x[0] : x[-1]] == 255).all(-1).sum() > 10  # the figure
    assert len(sizes) == 1  # wholly inside the picture
    for number in (7, 1000):  # beside it, 1/3 of its height
        badge = (np.asarray(drawing.draw_number(paper, number, [20, 30, 500, 500], colour=TRUTH)) != 255).any(-1)
        width = round(drawing._font().getlength(str(number)) + 0.7 * drawing.FONT_SIZE)
        height = round(1.3 * drawing.FONT_SIZE)
        assert np.ptp(np.flatnonzero(badge.any(1))) == height
        assert np.ptp(np.flatnonzero(badge.any(0))) == max(width, height)
    assert np.asarray(paper).min() == 255


def test_paste_in_a_wide_picture():
    placed = paste_label_map(torch.tensor([[7]]), [1, 0, 3, 2], (4, 3))
    assert placed.tolist() == [[0, 7, 7, 0], [0, 7, 7, 0], [0, 0, 0, 0]]


def test_part_colours_of_label_maps():
    found = drawing.part_colours([torch.tensor([[0, 2]]), torch.tensor([[2, 1]])])
    assert found == {name: PART_COLOURS[name] for name in ("hat", "hair")}


def test_legend_has_each_colour_and_breaks_into_rows():
    wide, narrow = (drawing.legend(PART_COLOURS, width=width) for width in (4000, 200))
    assert (wide.width, narrow.width) == (4000, 200)
    assert narrow.height >= 8 * wide.height  # a row of 200 px holds two names at most
    for image in (wide, narrow):
        assert set(PART_COLOURS.values()) <= set(map(tuple, np.asarray(image).reshape(-1, 3).tolist()))


def test_wrapping_keeps_the_words_and_the_width():
    text = "a boy in a chequered scarf " + "o" * 100
    rows = drawing.wrap(text, 120, max_rows=50)
    assert "".join(rows).replace(" ", "") == text.replace(" ", "")
    assert all(drawing._font().getlength(row) <= 120 for row in rows)
    assert rows[0].startswith("a boy")


def test_long_text_ends_in_an_ellipsis():
    rows = drawing.wrap("word " * 100, 120, max_rows=3)
    assert len(rows) == 3
    assert rows[-1].endswith("…")
    assert all(drawing._font().getlength(row) <= 120 for row in rows)
    (letters,) = drawing.wrap("i" * 400, 120, max_rows=1)  # fills its row, so that the ellipsis takes a letter's place
    assert drawing._font().getlength(letters) <= 120
    assert drawing.wrap("", 120, max_rows=3) == [""]


def test_captioned_tile_grows_with_its_text(paper):
    short, long = (drawing.captioned(paper, [Line(text)], width=200) for text in ("word", "word " * 20))
    assert short.size == (200, short.height)
    assert 100 < short.height < long.height
    assert short.crop((0, 0, 160, 100)).tobytes() == paper.tobytes()
    below = np.asarray(short)[100:]
    assert (below == INK).all(-1).any()


def test_contact_sheet_puts_tiles_in_reading_order():
    red, green, blue = (Image.new("RGB", (50, 40), colour) for colour in ("red", "green", "blue"))
    sheet = drawing.contact_sheet([red, green, blue], 2)
    gap = 2 * drawing.GAP
    assert sheet.size == (2 * 50 + 3 * gap, 2 * 40 + 3 * gap)
    assert sheet.getpixel((gap, gap)) == (255, 0, 0)
    assert sheet.getpixel((gap + 50 + gap, gap)) == (0, 128, 0)
    assert sheet.getpixel((gap + 50 + gap - 1, gap)) == PAPER
    assert sheet.getpixel((gap, gap + 40 + gap)) == (0, 0, 255)
    assert sheet.getpixel((gap + 50 + gap, gap + 40 + gap)) == PAPER
    assert drawing.contact_sheet([red], 2, colours={"truth": TRUTH}).height > 40 + 2 * gap


def test_a_sheet_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="0 tiles"):
        drawing.contact_sheet([], 4)


def test_points_far_outside_do_no_harm(paper):
    points = keypoints(left_elbow=(-70000, 50), left_wrist=(70000, 50), right_wrist=(30, 1e6))
    assert drawing.draw_keypoints(paper, points).getpixel((80, 50)) == SIDES["left"]


@pytest.mark.parametrize(("side", "scale"), [(100, 4), (1000, 3), (1600, 1), (4000, 1)])
def test_lines_are_drawn_at_a_scale_that_keeps_large_pictures_as_they_are(side, scale):
    scales = []
    drawing._inked(Image.new("RGB", (side, 2)), lambda scene, k: scales.append(k) or scene, colour=TRUTH)
    assert scales == [scale]


def test_large_pictures_are_drawn_on_too():
    image = Image.new("RGB", (4000, 1000), WHITE)
    drawn = drawing.draw_box(image, [100, 100, 3900, 900], colour=TRUTH)
    assert drawn.getpixel((2000, 100)) == TRUTH
    assert drawn.getpixel((2000, 500)) == WHITE
