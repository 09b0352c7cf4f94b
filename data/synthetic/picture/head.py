"""The head: face, hair, beard, hats and sunglasses, all as caps of one turned ellipsoid."""

import numpy as np

from .part_map import Pen
from .shapes import Points, capsule, ellipse, hull, moved
from .skeleton import JOINTS, Skeleton
from .torso import LABELS
from .wardrobe import HAIR_COLOURS, Garment, Person, shade

HAIR_LABEL, SUNGLASSES_LABEL, FACE_LABEL = 2, 4, 13


class Head:
    """The head as an ellipsoid. Directions [3] are (left, up, forward) in the frame of the head."""

    def __init__(self, skeleton: Skeleton) -> None:
        self.skeleton, self.radius, self.yaw = skeleton, skeleton.head_radius, skeleton.head_yaw
        self.center = skeleton.xy("head")
        self.side, self.facing = np.sin(self.yaw), np.cos(self.yaw)  # 1: to the picture's right; 1: to the camera
        self.radii = np.array([0.9 + 0.1 * abs(self.side), 1.1]) * self.radius

    def place(self, direction: Points, reach: float = 1.0) -> Points:
        """Directions [N, 3] -> picture px [N, 2] and depth as [N, 3]."""
        left, up, forward = np.asarray(direction, float).T * reach
        x = left * self.facing + forward * self.side
        z = forward * self.facing - left * self.side
        return np.stack([self.center[0] + x * self.radii[0], self.center[1] - up * self.radii[1], z], axis=1)

    def cap(self, up: float, forward: float, *, angle: float, reach: float = 1.0) -> Points | None:
        """The visible part of a cap around a direction (up, forward), half-angle in degrees; None if it is behind."""
        axis = np.array([0.0, up, forward]) / np.hypot(up, forward)
        over, turn = np.array([0.0, axis[2], -axis[1]]), np.linspace(0, 2 * np.pi, 28, endpoint=False)
        angle = np.deg2rad(angle)
        ring = np.cos(turn)[:, None] * np.array([1.0, 0, 0]) + np.sin(turn)[:, None] * over
        placed = self.place(axis * np.cos(angle) + ring * np.sin(angle))
        offset = (placed[:, :2] - self.center) / self.radii  # within the unit circle
        behind = placed[:, 2] < 0
        if behind.all():
            return None
        length = np.maximum(np.hypot(*offset.T), 1e-6)
        offset = np.where(behind[:, None], offset / length[:, None], offset)
        toward = (self.place(axis[None])[0, :2] - self.center) / self.radii
        kept = ~behind | (offset @ toward > 0)  # the rim on the other side is no part of the cap
        return hull(self.center + offset[kept] * self.radii * reach)


def draw_back_hair(pen: Pen, person: Person, skeleton: Skeleton, *, front: bool) -> None:
    """Hair that falls over the neck: drawn before the head where it is behind (`front` False), else over it."""
    head = Head(skeleton)
    if person.hair not in ("long", "bob", "pigtails") or front != (head.facing < 0.25):
        return
    radius, rgb = head.radius, HAIR_COLOURS[person.hair_colour]
    back = head.center - (0.42 * head.side * radius, 0)
    part = pen.part(HAIR_LABEL, "hair", shade(rgb, 0.88))
    if person.hair == "pigtails":
        for sign in (-1.0, 1.0):
            knot = head.place(np.array([[sign * 0.92, 0.12, -0.35]]))[0, :2]
            end = knot + np.array([(0.45 * sign * head.facing - 0.3 * head.side), 1.2]) * radius
            pen.draw(part, capsule(knot, end, radii=(0.24 * radius, 0.17 * radius)))
        return
    length, wide = (2.35, 1.04) if person.hair == "long" else (1.15, 1.1)
    wide *= 1 - 0.38 * abs(head.side)
    end = moved(back, -0.12 * head.side * radius, length * radius)
    rims = [
        ellipse(back - (0, 0.1 * radius), (wide * radius, radius)),
        ellipse(end, (wide * radius * 0.86, 0.3 * radius)),
    ]
    pen.draw(part, hull(np.concatenate(rims)))


def draw_head(pen: Pen, person: Person, skeleton: Skeleton) -> None:
    """Skull, hair, face, then what is worn on them."""
    head = Head(skeleton)
    hair_rgb = HAIR_COLOURS[person.hair_colour]
    if person.hair == "bald":
        skull = pen.part(FACE_LABEL, "face", person.skin)
    else:
        skull = pen.part(HAIR_LABEL, "hair", hair_rgb)
        _draw_volume(pen, person, head, skull)
    pen.draw(skull, ellipse(head.center, tuple(head.radii)))
    face = skull if person.hair == "bald" else pen.part(FACE_LABEL, "face", person.skin)
    cap = head.cap(-0.34, 1.0, angle=72)
    if cap is not None and head.facing > -0.45:
        pen.draw(face, cap)
        _draw_features(pen, person, head, face)
    _draw_ears(pen, person, head, face)
    for slot, draw in (("sunglasses", _draw_sunglasses), ("hat", _draw_hat)):
        if slot in person.garments:
            draw(pen, head, person.garments[slot])


def _draw_volume(pen: Pen, person: Person, head: Head, part: int) -> None:
    """Hair beyond the skull: curls, a bun, or a little thickness."""
    radius = head.radius
    if person.hair == "curly":
        for turn in np.linspace(-0.25 * np.pi, 1.25 * np.pi, 9):
            spot = head.center + np.array([np.cos(turn), -np.sin(turn)]) * radius * 0.95 - (0.2 * head.side * radius, 0)
            pen.draw(part, ellipse(spot, (0.38 * radius,) * 2))
    elif person.hair == "bun":
        knot = head.place(np.array([[0.0, 0.98, -0.55]]))[0, :2]
        pen.draw(part, ellipse(knot - (0, 0.2 * radius), (0.42 * radius,) * 2))
    pen.draw(part, ellipse(head.center - (0.08 * head.side * radius, 0.1 * radius), tuple(head.radii * (1.05, 1.02))))


def _draw_ears(pen: Pen, person: Person, head: Head, face: int) -> None:
    """Ears, where they are seen and no long hair lies over them."""
    if person.hair in ("long", "bob", "pigtails"):
        return
    for joint in ("left_ear", "right_ear"):
        if not head.skeleton.turned_away(joint):
            pen.draw(face, ellipse(head.skeleton.xy(joint), (0.15 * head.radius, 0.24 * head.radius)))


def _draw_features(pen: Pen, person: Person, head: Head, face: int) -> None:
    skeleton, radius = head.skeleton, head.radius
    if person.beard:
        beard = pen.part(FACE_LABEL, "face", HAIR_COLOURS[person.hair_colour], group=face)
        pen.draw(beard, head.cap(-1.0, 0.72, angle=47))
    dark = pen.part(FACE_LABEL, "face", (36, 28, 30), group=face)
    for joint in ("left_eye", "right_eye"):
        if not skeleton.turned_away(joint):
            pen.draw(dark, ellipse(skeleton.xy(joint), (0.1 * radius, 0.14 * radius)))
    nose = pen.part(FACE_LABEL, "face", shade(person.skin, 0.82), group=face)
    tip = skeleton.xy("nose")
    pen.draw(nose, ellipse(tip - (0.06 * head.side * radius, 0), (0.12 * radius, 0.15 * radius)))
    mouth = head.place(np.array([[-0.26, -0.52, 0.86], [0.0, -0.6, 0.9], [0.26, -0.52, 0.86]]))
    if (mouth[:, 2] > 0.15).all() or abs(head.side) < 0.8:
        lips = pen.part(FACE_LABEL, "face", (168, 66, 66), group=face)
        for a, b in ((0, 1), (1, 2)):
            pen.draw(lips, capsule(mouth[a, :2], mouth[b, :2], radii=(0.06 * radius,) * 2))


def _draw_sunglasses(pen: Pen, head: Head, garment: Garment) -> None:
    """Two lenses, a bridge, and the arms back to the ears."""
    skeleton, radius = head.skeleton, head.radius
    part = pen.part(SUNGLASSES_LABEL, "sunglasses", garment.rgb)
    eyes = [joint for joint in JOINTS[1:3] if not skeleton.turned_away(joint)]
    for eye in eyes:
        pen.draw(part, ellipse(skeleton.xy(eye), (0.29 * radius * (0.6 + 0.4 * abs(head.facing)), 0.25 * radius)))
        ear = eye.replace("eye", "ear")
        if not skeleton.turned_away(ear):
            pen.draw(part, capsule(skeleton.xy(eye), skeleton.xy(ear) - (0, 0.12 * radius), radii=(0.06 * radius,) * 2))
    if len(eyes) == 2:
        pen.draw(part, capsule(skeleton.xy(eyes[0]), skeleton.xy(eyes[1]), radii=(0.07 * radius,) * 2))


def _draw_hat(pen: Pen, head: Head, garment: Garment) -> None:
    """A hat with a brim, a cap with a peak, or a beanie with a fold and a bobble."""
    radius, center = head.radius, head.center
    part = pen.part(LABELS["hat"], "hat", garment.rgb)
    dome = head.cap(1.0, 0.06, angle=66, reach=1.14)
    level = center - (0, 0.5 * radius)
    if garment.kind == "beanie":
        bobble = ellipse(center - (0, 1.3 * radius), (0.26 * radius,) * 2)
        pen.draw(part, head.cap(1.0, 0.1, angle=72, reach=1.14), bobble)
        fold = pen.part(LABELS["hat"], "hat", shade(garment.rgb, 0.78), group=part)
        left, right = moved(level, -0.85 * radius, 0), moved(level, 0.85 * radius, 0)
        pen.draw(fold, capsule(left, right, radii=(0.19 * radius,) * 2))
        return
    pen.draw(part, dome)
    detail = pen.part(LABELS["hat"], "hat", shade(garment.rgb, 0.7 if sum(garment.rgb) > 180 else 2.2), group=part)
    if garment.kind == "hat":
        left, right = center - (0.5 * radius, 1.12 * radius), center - (-0.5 * radius, 1.12 * radius)
        pen.draw(part, capsule(left, right, radii=(0.3 * radius,) * 2))
        left, right = moved(level, -0.8 * radius, -0.1 * radius), moved(level, 0.8 * radius, -0.1 * radius)
        pen.draw(detail, capsule(left, right, radii=(0.13 * radius,) * 2))
        pen.draw(part, ellipse(moved(level, 0, 0.06 * radius), (1.62 * radius, 0.24 * radius)))
    elif head.facing > -0.3:
        tip = head.place(np.array([[-0.6, 0.42, 1.0], [0.6, 0.42, 1.0], [-0.55, 0.3, 1.55], [0.55, 0.3, 1.55]]))[:, :2]
        pen.draw(detail, hull(np.concatenate([tip, moved(tip, 0, 0.16 * radius)])))
