"""Following one person by boxes made by hand, and asking again in a window where the answer is about somebody else."""

import numpy as np
import pytest
from PIL import Image

from refhcm.inference.answers import Answer, Confidence, Keypoints
from refhcm.inference.following import Follower, moved
from refhcm.inference.tracking import PATIENCE, Track, first_of_most

SIZE = (200, 100)


def box(x0, y0=20, width=40, height=60):
    return np.array([x0, y0, x0 + width, y0 + height], np.float32)


def test_a_track_follows_what_overlaps():
    track = Track(box(0))
    assert track.follows(box(20))  # 20 of 60 px shared: IoU 1/3
    assert not track.follows(box(60))  # 0 shared
    assert not track.follows(box(42))  # 18 of 62: .29
    assert not track.follows(None)
    assert (track.box_xyxy == box(20)).all()


def test_patience_ends():
    track = Track(box(0))
    for _ in range(PATIENCE - 1):
        track.miss()
    assert not track.follows(box(100))
    track.miss()
    assert track.box_xyxy is None
    assert track.follows(box(100))


def test_the_window_is_the_box_with_half_its_sides_around_it():
    assert Track(box(100, 40, 40, 20)).window(SIZE) == (80, 30, 160, 70)
    assert Track(box(0.5, 20)).window(SIZE) == (0, 0, 61, 100)  # clipped to the picture
    assert Track().window(SIZE) is None


def test_it_begins_with_the_person_of_most_frames():
    left, right = [box(k) for k in range(0, 40, 10)], [box(150), box(152)]
    boxes = [right[0], left[0], None, left[1], right[1], left[2], left[3]]
    assert (first_of_most(boxes, [1] * 7) == left[0]).all()
    assert (first_of_most(boxes, [9, 1, 1, 1, 9, 1, 1]) == right[0]).all()
    assert first_of_most([None], [0]) is None
    assert first_of_most([], []) is None


def answer(box_xyxy, size_wh=SIZE, sure=0.9):
    return Answer(size_wh, True, ("<bin_0>",), "x", box_xyxy, confidence=Confidence(box=sure))


def asked(whole, windows=()):
    """Answers to whole frames, and, one after the other, to windows; and the sizes of the pictures asked about."""
    whole, windows, sizes = iter(whole), iter(windows), []

    def ask(images):
        sizes.extend(image.size for image in images)
        return [next(whole) if image.size == SIZE else next(windows) for image in images]

    return ask, sizes


FRAMES = [Image.new("RGB", SIZE)] * 4


def test_an_answer_about_somebody_else_is_asked_again_in_the_window():
    whole = [answer(box(100)), answer(box(0)), answer(box(120))]
    ask, sizes = asked(whole, [answer(box(35, 10), (80, 100))])  # the window begins at 80, 0
    found = Follower(ask).answers(FRAMES[:3])
    assert [one.box_xyxy[0] for one in found] == [100, 115, 120]
    assert found[1].box_xyxy.tolist() == [115, 10, 155, 70]
    assert found[1].size_wh == SIZE
    assert sizes == [SIZE, SIZE, SIZE, (80, 100)]


def test_who_is_not_in_the_window_either_is_lost():
    nobody = Answer((80, 100), False, (), "")
    ask, _ = asked([answer(box(100)), answer(box(0), sure=0.4), answer(None), answer(box(104))], [nobody, nobody])
    first, second, third, fourth = Follower(ask).answers(FRAMES)
    assert (second.valid, second.box_xyxy, second.confidence.box) == (False, None, 0.4)
    assert "somebody else" in second.notes[0]
    assert "nobody" in third.notes[0]
    assert (first.valid, fourth.valid) == (True, True)


def test_a_box_that_is_not_sure_enough_is_none():
    ask, _ = asked([answer(box(100)), answer(box(100), sure=0.2)], [answer(box(20, 20), (80, 100))])
    _, second = Follower(ask, min_confidence=0.5).answers(FRAMES[:2])
    assert second.box_xyxy.tolist() == [100, 20, 140, 80]


def test_frames_that_were_answered_before_say_where_the_person_was():
    ask, _ = asked([answer(box(0))], [answer(box(20, 20), (80, 100))])
    follower = Follower(ask)
    follower.known([100, 20, 140, 80])
    (found,) = follower.answers(FRAMES[:1])
    assert found.box_xyxy[0] == 100


def test_an_answer_about_a_part_of_a_picture_is_moved():
    xy = np.zeros((17, 2), np.float32)
    xy[0] = (3, 4)
    whole = Answer((20, 10), True, (), "", box(1, 2, 5, 6), Keypoints(xy, xy.any(-1)), np.full((10, 20), 2, np.uint8))
    found = moved(whole, (80, 30), SIZE)
    assert found.box_xyxy.tolist() == [81, 32, 86, 38]
    assert found.keypoints["nose"] == (83, 34)
    assert found.keypoints["left_eye"] is None
    assert found.keypoints.xy[1].tolist() == [0, 0]
    assert found.label_map.shape == (100, 200)
    assert np.argwhere(found.label_map).min(0).tolist() == [30, 80]
    assert found.label_map.sum() == 2 * 200
    assert moved(answer(None), (1, 1), SIZE).box_xyxy is None


@pytest.mark.parametrize("frames", [[], FRAMES[:1]])
def test_as_many_answers_as_frames(frames):
    assert len(Follower(lambda images: [answer(box(0)) for _ in images]).answers(frames)) == len(frames)
