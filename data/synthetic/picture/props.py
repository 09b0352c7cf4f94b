"""Things that people hold or sit on. They belong to nobody (class 0) and hide what is behind them."""

import numpy as np

from .part_map import Pen
from .shapes import capsule, ellipse, hull, moved
from .skeleton import Pose, Skeleton
from .wardrobe import RGB, shade

BUCKET_SIZES = {"small": 0.075, "large": 0.14}  # half-width at the rim, body heights


def draw_seat_below(pen: Pen, skeleton: Skeleton, rgb: RGB) -> None:
    """A stool under a sitting person, drawn before the person."""
    size = skeleton.size
    x, y = skeleton.xy("pelvis")
    top, floor = y + 0.045 * size, skeleton.ground_y
    legs = pen.part(0, "", shade(rgb, 0.7))
    for dx in (-0.1, 0.1):
        pen.draw(legs, capsule((x + dx * size, top), (x + dx * 1.25 * size, floor), radii=(0.016 * size,) * 2))
    pen.draw(pen.part(0, "", rgb), capsule((x - 0.11 * size, top), (x + 0.11 * size, top), radii=(0.034 * size,) * 2))


def draw_prop(pen: Pen, pose: Pose, skeleton: Skeleton, *, rgb: RGB, large: bool) -> None:
    """What a person holds, at the hand that holds it (`pose.hand`) or between both hands."""
    hand = skeleton.xy(f"{pose.hand}_hand")
    both = (skeleton.xy("left_hand") + skeleton.xy("right_hand")) / 2
    slot, size = f"prop{pen.owner}", skeleton.size
    part = pen.part(0, slot, rgb)
    if pose.prop == "bucket":
        _draw_bucket(pen, part, hand, BUCKET_SIZES["large" if large else "small"] * size, rgb)
    elif pose.prop == "umbrella":
        _draw_umbrella(pen, part, hand, size, rgb)
    elif pose.prop == "balloon":
        string = pen.part(0, slot, (90, 90, 90))
        middle = moved(hand, 0, -0.34 * size)
        pen.draw(string, capsule(hand, middle, radii=(0.006 * size,) * 2))
        pen.draw(part, ellipse(middle, (0.095 * size, 0.115 * size)))
        shine = pen.part(0, slot, shade(rgb, 1.25), group=part)
        pen.draw(shine, ellipse(middle - (0.035 * size, 0.045 * size), (0.02 * size, 0.03 * size)))
    elif pose.prop == "ball":
        pen.draw(part, ellipse(both, (0.085 * size,) * 2))
    else:
        cover = np.array([(-0.1, -0.055), (0.1, -0.055), (0.1, 0.055), (-0.1, 0.055)]) * size
        pen.draw(part, both + cover)
        pen.draw(pen.part(0, slot, (246, 244, 236), group=part), both + cover * (0.86, 0.5) - (0, 0.035 * size))


def _draw_bucket(pen: Pen, part: int, hand: np.ndarray, half: float, rgb: RGB) -> None:
    rim = moved(hand, 0, half * 0.9)
    handle = pen.part(0, pen.part_map.parts[part].slot, (70, 70, 74))
    for sign in (-1, 1):
        pen.draw(handle, capsule(hand, moved(rim, sign * half * 0.94, 0), radii=(half * 0.07,) * 2))
    sides = np.array([(-half, 0), (half, 0), (half * 0.72, half * 1.8), (-half * 0.72, half * 1.8)])
    pen.draw(part, rim + sides)
    pen.draw(pen.part(0, pen.part_map.parts[part].slot, shade(rgb, 0.6), group=part), ellipse(rim, (half, half * 0.22)))


def _draw_umbrella(pen: Pen, part: int, hand: np.ndarray, size: float, rgb: RGB) -> None:
    top = moved(hand, 0, -0.34 * size)
    stick = pen.part(0, pen.part_map.parts[part].slot, (70, 60, 56))
    pen.draw(stick, capsule(moved(hand, 0, 0.05 * size), top, radii=(0.009 * size,) * 2))
    turn = np.linspace(0, np.pi, 17)
    dome = top + np.stack([np.cos(turn) * 0.27, -np.sin(turn) * 0.17], axis=1) * size
    pen.draw(part, dome)
    panel = np.concatenate([ellipse(top, (0.1 * size, 0.01 * size)), top[None] - (0, 0.168 * size)])
    pen.draw(pen.part(0, pen.part_map.parts[part].slot, shade(rgb, 0.82), group=part), hull(panel))
