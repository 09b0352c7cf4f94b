"""Answers drawn on their pictures, pixel by pixel."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from refhcm.inference.answers import Answer
from refhcm.inference.drawing import answer_card, answer_colours, draw_answer, draw_answers
from refhcm.utils.drawing import FILL, PART_COLOURS, PEOPLE, PREDICTION, SIDES
from refhcm.utils.errors import UserError


@pytest.fixture
def picture():
    return Image.new("RGB", (80, 70), (255, 255, 255))


def test_every_part_is_drawn_and_can_be_left_out(answer, picture):
    hair = (15, 25)
    drawn = draw_answer(picture, answer)
    assert drawn.size == picture.size
    assert drawn.getpixel((70, 5)) == (255, 255, 255)
    assert drawn.getpixel((30, 40)) == SIDES["middle"]
    assert drawn.getpixel(hair) == tuple(round(255 + FILL * (c - 255)) for c in PART_COLOURS["hair"])
    only_box = draw_answer(picture, answer, parts=["box"])
    assert only_box.getpixel((10, 40)) == PREDICTION
    assert only_box.getpixel((30, 40)) == only_box.getpixel(hair) == (255, 255, 255)
    assert draw_answer(picture, answer, parts=()).tobytes() == picture.tobytes()
    assert draw_answer(np.asarray(picture), answer).tobytes() == drawn.tobytes()  # any form that can be asked about


def test_several_people_are_numbered_in_colours_of_their_own(answer, nothing, picture):
    other = replace(answer, box_xyxy=np.array([50, 30, 75, 60], np.float32), keypoints=None, label_map=None)
    drawn = np.asarray(draw_answers(picture.resize((240, 210)), [answer, nothing, other], parts=["box"]))
    first, none, third = ((drawn == colour).all(-1) for colour in PEOPLE[:3])
    assert first.any()
    assert not none.any()
    assert np.flatnonzero(third.any(0))[0] == pytest.approx(150, abs=3)
    assert third[92:105, 152:160].sum() > 50  # the number's badge, inside the box's corner
    alone = draw_answers(picture, [answer], numbers=False)
    assert alone.tobytes() == draw_answer(picture, answer).tobytes()


def test_a_larger_picture_is_drawn_to_scale(answer):
    drawn = draw_answer(Image.new("RGB", (240, 210), (255, 255, 255)), answer, parts=("box", "keypoints"))
    assert drawn.getpixel((30, 120)) == PREDICTION
    assert drawn.getpixel((90, 120)) == SIDES["middle"]


def test_drawing_mistakes(answer, picture):
    with pytest.raises(UserError, match="parts: needs some of box, keypoints, parsing, got hat"):
        draw_answer(picture, answer, parts=["hat"])
    with pytest.raises(UserError, match="image: is 70 x 80 px, the answer's picture 80 x 70"):
        draw_answer(picture.transpose(Image.Transpose.ROTATE_90), answer)


@pytest.mark.parametrize("size_wh", [(10, 20000), (21, 20000), (20000, 3), (1, 1)])
def test_card_of_a_thin_picture(size_wh):
    answer = Answer(size_wh, True, (), "", np.array([0, 0, 1, 1], np.float32))
    assert answer_card(Image.new("RGB", size_wh), answer).width >= 640


def test_card(answer, nothing, picture):
    assert list(answer_colours(answer)) == ["left", "right", "middle", "hair", "face"]
    whole, empty = answer_card(picture, answer, question="the man"), answer_card(picture, nothing)
    assert whole.height > empty.height > 560
    assert (np.asarray(whole) == PART_COLOURS["face"]).all(-1).any()  # in the legend
