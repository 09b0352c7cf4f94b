"""Drawn people: the picture agrees with what is said to be true."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from PIL import Image

from refhcm.data.synthetic.picture.figure import draw_person
from refhcm.data.synthetic.picture.part_map import PartMap, Pen, Style, paint
from refhcm.data.synthetic.picture.scene import sample_scene
from refhcm.data.synthetic.picture.skeleton import JOINTS, pose_skeleton, sample_pose
from refhcm.data.synthetic.picture.views import look_at
from refhcm.data.synthetic.picture.wardrobe import (
    COLOURS,
    HELD_OUT,
    KINDS,
    Garment,
    Person,
    draw_colour,
    sample_garment,
    sample_person,
)

LEFT_ARM, RIGHT_ARM, LEFT_SHOE, RIGHT_SHOE, FACE, HAIR = 14, 15, 18, 19, 13, 2
DRESS, PANTS, NECK = 6, 9, 10
PLAIN = {
    "top": Garment("top", "t-shirt", "red", (200, 40, 40)),
    "bottom": Garment("bottom", "pants", "blue", (40, 60, 190)),
    "shoes": Garment("shoes", "shoes", "black", (30, 30, 30)),
}
DRESS_RED = Garment("dress", "dress", "red", (200, 40, 40))
MAN = Person("male", False, (236, 188, 150), "short", "brown", False, 1.0, PLAIN)


@pytest.fixture(scope="module")
def scenes():
    return [sample_scene(Random(seed)) for seed in range(40)]


def standing(yaw, person=MAN, stance="standing"):
    """The parts and the view of somebody alone, a man who stands, turned by `yaw` degrees; 0 faces the camera."""
    rng = Random(0)
    pose = sample_pose(rng)
    while (pose.stance, pose.gesture) != (stance, "none"):
        pose = sample_pose(rng)
    pose = replace(pose, yaw=yaw, head_yaw=yaw)
    part_map, skeleton = PartMap((200, 260)), pose_skeleton(person, pose, size=220, x=100, ground_y=250)
    actor = type("Actor", (), {"person": person, "pose": pose})()
    draw_person(Pen(part_map, 0), person, pose, skeleton, prop_rgb=(0, 0, 0), prop_large=False, seat_rgb=(0, 0, 0))
    return part_map, look_at(part_map, [actor], [skeleton], [1])[0]


def middle_x(view, label):
    return np.nonzero(view.label_map == label)[1].mean()


def test_left_is_the_persons_own_left():
    front, back = standing(0.0)[1], standing(180.0)[1]
    # people who face us have their left hand on our right
    for left, right in ((LEFT_ARM, RIGHT_ARM), (LEFT_SHOE, RIGHT_SHOE)):
        assert middle_x(front, left) > middle_x(front, right) + 10
        assert middle_x(back, left) < middle_x(back, right) - 10
    wrist = JOINTS.index("left_wrist")
    assert front.keypoints[wrist][0] > 100 > back.keypoints[wrist][0]


@pytest.mark.parametrize(
    ("yaw", "visible"),
    [
        (0.0, {"nose", "left_eye", "right_eye", "left_ear", "right_ear"}),
        (90.0, {"nose", "right_eye", "right_ear"}),  # facing our right, the left side is away from us
        (-90.0, {"nose", "left_eye", "left_ear"}),
        (180.0, {"left_ear", "right_ear"}),
    ],
)
def test_turned_heads_hide_joints_and_face(yaw, visible):
    view = standing(yaw)[1]
    assert {name for name, xy in zip(JOINTS[:5], view.keypoints[:5], strict=True) if xy.any()} == visible
    face, hair = (np.count_nonzero(view.label_map == label) for label in (FACE, HAIR))
    assert (face > hair) == (yaw == 0.0)


@pytest.mark.parametrize(("yaw", "label"), [(0.0, NECK), (180.0, HAIR)])
def test_long_hair_hangs_over_the_back(yaw, label):
    view = standing(yaw, replace(MAN, sex="female", hair="long"))[1]
    x, y = view.keypoints[[5, 6]].mean(axis=0).astype(int)  # between the shoulders
    assert view.label_map[y, x] == label


@pytest.mark.parametrize(
    ("garments", "label"), [({"dress": DRESS_RED, "shoes": PLAIN["shoes"]}, DRESS), (PLAIN, PANTS)]
)
def test_what_covers_the_thighs_of_somebody_who_sits(garments, label):
    view = standing(0.0, replace(MAN, garments=garments), "sitting")[1]
    for hip, knee in ((11, 13), (12, 14)):
        x, y = view.keypoints[[hip, knee]].mean(axis=0).astype(int)
        assert view.label_map[y, x] == label


def test_joints_lie_on_their_parts():
    view = standing(0.0)[1]
    for name, label in (("left_wrist", 14), ("right_wrist", 15), ("nose", 13), ("left_knee", 9), ("left_shoulder", 5)):
        x, y = view.keypoints[JOINTS.index(name)].astype(int)
        assert view.label_map[y, x] == label, name


def test_a_part_that_is_painted_red_is_red():
    part_map, view = standing(0.0)
    plain = Style(outline=0, shade=0, warmth=0.0, noise=0.0, blur=0.0)
    black, none = Image.new("RGB", (400, 520)), Image.new("L", (400, 520))
    picture = np.asarray(paint(part_map, black, shadow=none, style=plain, seed=0))
    x, y = view.keypoints[[5, 6, 11, 12]].mean(axis=0).astype(int)  # between shoulders and hips
    assert tuple(picture[y, x]) == (200, 40, 40)


def test_who_stands_behind_is_hidden():
    part_map = PartMap((100, 100))
    for owner, label, left in ((0, 5, 10), (1, 6, 30)):
        pen = Pen(part_map, owner)
        square = np.array([(left, 20), (left + 40, 20), (left + 40, 60), (left, 60)], float)
        pen.draw(pen.part(label, "top", (1, 2, 3)), square)
    labels = np.array([part.label for part in part_map.parts])[part_map.map()][1::2, 1::2]
    assert (labels == 6).sum() == 40 * 40
    assert (labels == 5).sum() == 20 * 40  # the other half is covered


def test_boxes_are_tight_and_masks_are_one_persons(scenes):
    for scene in scenes:
        total = np.zeros((scene.picture.height, scene.picture.width), int)
        for view in scene.views:
            mask = view.label_map > 0
            assert view.label_map.dtype == np.uint8
            assert mask.shape == total.shape
            x0, y0, x1, y1 = view.box_xyxy
            assert mask[y0:y1, x0:x1].sum() == mask.sum() == view.area
            assert all(edge.any() for edge in (mask[y0], mask[y1 - 1], mask[:, x0], mask[:, x1 - 1]))
            total += mask
        assert total.max() <= 1  # nobody shares a pixel


def test_joints_lie_in_the_picture_on_or_near_their_person(scenes):
    for scene in scenes:
        for view in scene.views:
            ys, xs = np.nonzero(view.label_map)
            for x, y in view.keypoints[view.keypoints.any(axis=1)]:
                assert 0 <= x < scene.picture.width
                assert 0 <= y < scene.picture.height
                assert np.hypot(xs + 0.5 - x, ys + 0.5 - y).min() < 0.05 * view.size


def test_joints_behind_others_are_not_visible(scenes):
    checked = 0
    for scene in scenes:
        for view in scene.views:
            for other in scene.views:
                points = view.keypoints[view.keypoints.any(axis=1)].astype(int)
                if other is not view and len(points):
                    assert not other.label_map[points[:, 1], points[:, 0]].any()
                    checked += len(points)
    assert checked > 100


def test_all_twenty_classes_occur(scenes):
    seen = np.zeros(20, bool)
    for scene in scenes:
        for view in scene.views:
            seen[np.unique(view.label_map)] = True
    assert seen.all()


def test_one_to_four_people_of_a_good_size(scenes):
    assert {len(scene.views) for scene in scenes} == {1, 2, 3, 4}
    heights = [view.box_xyxy[3] - view.box_xyxy[1] for scene in scenes for view in scene.views]
    assert np.median(heights) > 100
    assert min(heights) > 30


def test_colour_names_are_the_nearest():
    rng = Random(0)
    centers = {name: np.mean([draw_colour(name, rng) for _ in range(200)], axis=0) for name in COLOURS}
    for name in COLOURS:
        for _ in range(50):
            colour = np.array(draw_colour(name, rng))
            assert min(centers, key=lambda other: np.linalg.norm(centers[other] - colour)) == name


def test_held_out_pairs_only_on_request():
    rng = Random(0)
    for slot, kinds in KINDS.items():
        for kind in kinds:
            assert not any(sample_garment(slot, rng, kind=kind).held_out for _ in range(60))
            garment = sample_garment(slot, rng, kind=kind, held_out=True)
            assert garment.held_out == (kind in HELD_OUT)
    assert all(any(g.held_out for g in sample_person(rng, held_out=True).garments.values()) for _ in range(60))
    assert not any(g.held_out for _ in range(60) for g in sample_person(rng).garments.values())
