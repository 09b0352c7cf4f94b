"""Poses: a skeleton in three dimensions, turned, and projected to COCO's 17 joints and a few more points.

A limb's direction is (outward, up, forward) in the frame of the body; `outward` points away from the body's middle.
Picture frame: x right, y down, z towards the camera, all px. Left and right are the person's own.
"""

from dataclasses import dataclass
from random import Random

import numpy as np

from ....utils.keypoints import KEYPOINT_NAMES
from .wardrobe import Person

JOINTS = KEYPOINT_NAMES
SIDES = ("left", "right")
# Head radii towards the camera; a joint of the face with less is on the far side of the head.
_FACE_DEPTHS = dict(zip(JOINTS[:5], (-0.2, 0.2, 0.2, -0.42, -0.42), strict=True))
PITCH = np.deg2rad(9.0)  # the camera looks down a little

Vector = tuple[float, float, float]
Limb = tuple[Vector, Vector]

# (thigh, shin) of the leading leg and of the other one
STANCES: dict[str, tuple[Limb, Limb]] = {
    "standing": (((0.08, -1, 0.02), (0.03, -1, -0.03)),) * 2,
    "walking": (((0.02, -0.9, 0.45), (0.02, -0.99, 0.05)), ((0.02, -0.94, -0.28), (0.02, -0.8, -0.6))),
    "running": (((0.03, -0.5, 0.87), (0.02, -0.9, -0.35)), ((0.03, -0.9, -0.42), (0.02, -0.25, -0.97))),
    "sitting": (((0.16, -0.16, 0.97), (0.04, -1, 0.08)),) * 2,
    "squatting": (((0.5, -0.05, 0.86), (-0.05, -0.9, -0.42)),) * 2,
    "kneeling": (((0.2, -0.12, 0.97), (0.02, -1, 0.02)), ((0.06, -1, 0.05), (0.02, -0.22, -0.97))),
    "jumping": (((0.32, -0.8, 0.45), (0.2, -0.75, -0.6)), ((0.3, -0.9, -0.1), (0.15, -0.6, -0.8))),
}
SPINES = {"running": (0.0, 1.0, 0.26), "squatting": (0.0, 1.0, 0.34), "walking": (0.0, 1.0, 0.05)}
# (upper arm, forearm)
ARMS: dict[str, Limb] = {
    "down": ((0.2, -1, 0.02), (0.1, -1, 0.14)),
    "swing_front": ((0.14, -0.9, 0.45), (0.0, -0.75, 0.66)),
    "swing_back": ((0.14, -0.9, -0.42), (0.08, -0.98, -0.1)),
    "run_front": ((0.12, -0.75, 0.6), (-0.15, 0.45, 0.86)),
    "run_back": ((0.2, -0.62, -0.74), (-0.05, -0.7, 0.7)),
    "lap": ((0.16, -0.95, 0.3), (-0.1, -0.5, 0.86)),
    "hips": ((0.74, -0.7, -0.12), (-0.84, -0.5, 0.22)),
    "crossed": ((0.12, -0.94, 0.3), (-0.94, 0.16, 0.3)),
    "raised": ((0.55, 0.85, 0.05), (0.2, 1, 0.08)),
    "waving": ((0.88, -0.2, 0.2), (0.3, 1, 0.15)),
    "pointing": ((1, 0.06, 0.12), (1, 0.08, 0.12)),
    "pointing_ahead": ((0.1, 0.04, 1), (0.02, 0.06, 1)),
    "carry": ((0.24, -1, 0.04), (0.16, -1, 0.06)),
    "hold_up": ((0.24, -0.85, 0.4), (0.3, 0.75, 0.5)),
    "hold_front": ((0.16, -0.92, 0.3), (-0.42, 0.1, 0.9)),
    "spread": ((0.95, 0.25, 0.05), (0.8, 0.6, 0.05)),
}
STANCE_ARMS = {  # (arm on the leading leg's side, the other one)
    "walking": ("swing_back", "swing_front"),
    "running": ("run_back", "run_front"),
    "sitting": ("lap", "lap"),
    "squatting": ("lap", "lap"),
    "kneeling": ("lap", "lap"),
    "jumping": ("spread", "spread"),
}
GESTURES = {  # what goes with each stance; "none" leaves the arms to the stance
    "standing": ("none", "none", "waving", "crossed", "hips", "raised", "pointing", "holding", "holding"),
    "walking": ("none", "none", "waving", "holding"),
    "running": ("none",),
    "sitting": ("none", "waving", "crossed", "raised", "pointing", "holding"),
    "squatting": ("none",),
    "kneeling": ("none", "waving", "raised"),
    "jumping": ("none", "raised"),
}
BOTH_HANDS = ("crossed", "hips", "raised", "ball", "book")
PROP_ARMS = {"bucket": "carry", "umbrella": "hold_up", "balloon": "hold_up", "ball": "hold_front", "book": "hold_front"}
PROPS = {"standing": tuple(PROP_ARMS), "walking": ("bucket", "umbrella", "balloon"), "sitting": ("balloon", "book")}


@dataclass(frozen=True)
class Pose:
    """What a person does, and each limb's direction. Angles in degrees; yaw 0 faces the camera, 90 the right."""

    stance: str
    gesture: str
    prop: str  # "" or one of PROP_ARMS
    hand: str  # the side that waves, points or holds
    yaw: float
    head_yaw: float
    limbs: dict[str, Vector]
    spine: Vector

    @property
    def view(self) -> str:
        """front, back, left or right (of the picture), or "between" where none of these fits."""
        yaw = self.yaw % 360
        for name, middle in (("front", 0), ("right", 90), ("back", 180), ("left", 270)):
            if abs((yaw - middle + 180) % 360 - 180) <= 30:
                return name
        return "between"


@dataclass(frozen=True)
class Skeleton:
    """Points by name, [3] picture px; `size` is px per body height; `yaw` and `head_yaw` in radians."""

    points: dict[str, np.ndarray]
    size: float
    yaw: float
    head_yaw: float
    head_radius: float
    ground_y: float

    def xy(self, name: str) -> np.ndarray:
        """A point's place in the picture, [2] px."""
        return self.points[name][:2]

    def depth(self, name: str) -> float:
        """How far a point is in front of (+) or behind (-) the pelvis, in body heights."""
        return float(self.points[name][2] - self.points["pelvis"][2]) / self.size

    def turned_away(self, joint: str) -> bool:
        """Whether a joint of the face is on the side of the head that the camera does not see."""
        depth = (self.points[joint][2] - self.points["head"][2]) / self.head_radius
        return bool(depth < _FACE_DEPTHS[joint])


def sample_pose(rng: Random) -> Pose:
    """A stance, a gesture that goes with it, a view, and some jitter."""
    stance = rng.choice(("standing",) * 5 + ("walking",) * 3 + ("running",) * 2 + ("sitting",) * 3 + tuple(STANCES)[4:])
    gesture = rng.choice(GESTURES[stance])
    prop = rng.choice(PROPS[stance]) if gesture == "holding" else ""
    side_on = (0.38, 0.38) if stance in ("walking", "running") else (0.12, 0.12)
    yaw = rng.choices((0, 45, -45, 180, 90, -90), (0.46, 0.09, 0.09, 0.12, *side_on))[0] + rng.gauss(0, 9)
    head_yaw = max(-28.0, min(28.0, rng.gauss(0, 12)))
    leading, hand = rng.choice(SIDES), rng.choice(SIDES)
    ahead = gesture == "pointing" and abs(np.sin(np.deg2rad(yaw))) > 0.6
    act = PROP_ARMS[prop] if prop else "pointing_ahead" if ahead else gesture
    return Pose(
        stance=stance,
        gesture=gesture,
        prop=prop,
        hand=hand,
        yaw=yaw,
        head_yaw=yaw + head_yaw,
        limbs=_limbs(stance, leading, act, "both" if (prop or gesture) in BOTH_HANDS else hand, rng),
        spine=_jitter(SPINES.get(stance, (0.0, 1.0, 0.02)), rng, 0.03),
    )


def _limbs(stance: str, leading: str, act: str, acting: str, rng: Random) -> dict[str, Vector]:
    """Directions of the eight limb segments; acting: "left", "right" or "both" arms (neither if `act` is "none")."""
    rest = STANCE_ARMS.get(stance, ("down", "down"))
    limbs = {}
    for side in SIDES:
        ahead = side == leading
        thigh, shin = STANCES[stance][0 if ahead else 1]
        acts = act != "none" and acting in (side, "both")
        upper, fore = ARMS[act] if acts else ARMS[rest[0 if ahead else 1]]
        for name, direction in (("upper_arm", upper), ("forearm", fore), ("thigh", thigh), ("shin", shin)):
            limbs[f"{side}_{name}"] = _jitter(direction, rng, 0.06)
    return limbs


def _jitter(direction: Vector, rng: Random, amount: float) -> Vector:
    x, y, z = (value + rng.gauss(0, amount) for value in direction)
    length = (x * x + y * y + z * z) ** 0.5
    return x / length, y / length, z / length


def lengths(person: Person) -> dict[str, float]:
    """Lengths of the body's segments, in body heights."""
    if person.child:
        body = {"head": 0.108, "neck": 0.026, "torso": 0.27, "upper_arm": 0.13, "forearm": 0.12, "hand": 0.042}
        return {**body, "thigh": 0.195, "shin": 0.19, "foot": 0.095, "shoulder": 0.092, "hip": 0.056}
    body = {"head": 0.085, "neck": 0.034, "torso": 0.285, "upper_arm": 0.15, "forearm": 0.14, "hand": 0.045}
    wide = {"shoulder": 0.112, "hip": 0.058} if person.sex == "male" else {"shoulder": 0.096, "hip": 0.064}
    return {**body, **wide, "thigh": 0.235, "shin": 0.225, "foot": 0.1}


def pose_skeleton(person: Person, pose: Pose, *, size: float, x: float, ground_y: float) -> Skeleton:
    """Places a person: `size` px per body height, pelvis at `x` px, the feet on the ground at `ground_y` px."""
    body, points = _body_points(person, pose), {}
    turned = _turn(np.stack(list(body.values())), np.deg2rad(pose.yaw))
    middle = dict(zip(body, turned, strict=True))["head"]
    turned = np.concatenate([turned, middle + _turn(_face_points(lengths(person)["head"]), np.deg2rad(pose.head_yaw))])
    names = [*body, *JOINTS[:5]]
    lowest = turned[[names.index(f"{side}_{end}") for side in SIDES for end in ("ankle", "toe", "heel")]][:, 1].max()
    lift = 0.14 if pose.stance == "jumping" else 0.03
    points = turned * size + np.array([x, ground_y - (lowest + lift) * size, 0.0])
    return Skeleton(
        points=dict(zip(names, points, strict=True)),
        size=size,
        yaw=np.deg2rad(pose.yaw),
        head_yaw=np.deg2rad(pose.head_yaw),
        head_radius=lengths(person)["head"] * size,
        ground_y=ground_y,
    )


def _turn(body: np.ndarray, yaw: float) -> np.ndarray:
    """(left, up, forward) [N, 3] -> (x, y, z) of the picture frame; facing the camera, one's left is on the right."""
    left, up, forward = body.T
    x = left * np.cos(yaw) + forward * np.sin(yaw)
    z = forward * np.cos(yaw) - left * np.sin(yaw)
    return np.stack([x, -up * np.cos(PITCH) + z * np.sin(PITCH), z], axis=1)


def _body_points(person: Person, pose: Pose) -> dict[str, np.ndarray]:
    """All points but the face's, in body heights, (left, up, forward) from the pelvis."""
    size, spine = lengths(person), np.array(pose.spine)
    points = {"pelvis": np.zeros(3), "neck": spine * size["torso"]}
    points["head"] = points["neck"] + spine * size["neck"] + np.array([0, 1, 0.1]) * size["head"] * 0.9
    for side, sign in (("left", 1.0), ("right", -1.0)):
        limb = {name: np.array(pose.limbs[f"{side}_{name}"]) * (sign, 1, 1) for name in _SEGMENTS}
        shoulder = points["neck"] + (sign * size["shoulder"], 0, 0) - spine * 0.035
        elbow = shoulder + limb["upper_arm"] * size["upper_arm"]
        wrist = elbow + limb["forearm"] * size["forearm"]
        hip = np.array([sign * size["hip"], 0.0, 0.0])
        knee = hip + limb["thigh"] * size["thigh"]
        ankle = knee + limb["shin"] * size["shin"]
        outward, up, forward = limb["shin"]
        foot = np.array([sign * 0.12 + outward * 0.3, forward, -up])  # square to the shin, a little turned out
        ends = {"hand": wrist + limb["forearm"] * size["hand"]}
        ends["toe"] = ankle + (foot * 0.75 + limb["shin"] * 0.12) * size["foot"]
        ends["heel"] = ankle + (limb["shin"] * 0.14 - foot * 0.16) * size["foot"]
        joints = {"shoulder": shoulder, "elbow": elbow, "wrist": wrist, "hip": hip, "knee": knee, "ankle": ankle}
        points.update({f"{side}_{name}": point for name, point in {**joints, **ends}.items()})
    return points


def _face_points(radius: float) -> np.ndarray:
    """[5, 3] (left, up, forward) from the head's middle."""
    face = ((0, -0.12, 1.0), (0.36, 0.12, 0.86), (-0.36, 0.12, 0.86), (0.9, 0.0, -0.05), (-0.9, 0.0, -0.05))
    return np.array(face) * radius


_SEGMENTS = ("upper_arm", "forearm", "thigh", "shin")
