"""What can be seen of each person: the truth that rows are written from and expressions are checked against."""

from dataclasses import dataclass

import numpy as np

from .limbs import ARM_LABELS
from .part_map import NOBODY, SCALE, PartMap
from .skeleton import JOINTS, Pose, Skeleton
from .torso import LABELS
from .wardrobe import RGB, Person

# A region is seen when all its points are in the picture with nobody and nothing in front. Files hold these names.
_REGIONS = {
    "head": ("head",),
    "neck": ("neck",),
    "trunk": ("left_shoulder", "right_shoulder", "pelvis"),
    "arms": ("left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    "hands": ("left_wrist", "right_wrist"),
    "legs": ("left_hip", "right_hip", "left_knee", "right_knee"),
    "feet": ("left_ankle", "right_ankle"),
}
# px of the label map from which a thing can be recognised
_MIN_AREAS = {"top": 70, "outer": 90, "dress": 110, "bottom": 70, "hair": 14, "prop": 25}
_MIN_AREA = 14
_MIN_EYE_AREA = 6  # sunglasses


@dataclass(frozen=True)
class Actor:
    """A person, what the person does, and the thing held."""

    person: Person
    pose: Pose
    prop_colour: str
    prop_rgb: RGB
    prop_large: bool


@dataclass(frozen=True)
class View:
    """What a picture shows of one person, in picture px; left and right are the person's own.

    label_map: uint8 [h, w], CIHP classes of this person alone. keypoints: [17, 2], (0, 0) where not visible.
    box_xyxy: tight around the label map, its far edges exclusive. whole_area: the area if nobody stood in front.
    size: px per body height. slots: what is worn or held and seen. regions: of the body, where nothing hides them;
    left_hand and right_hand only where the person's own body does not hide them either. behind: who stands in front of
    this person. outside: joints (of 17) beyond the border.
    """

    actor: Actor
    label_map: np.ndarray
    keypoints: np.ndarray
    box_xyxy: tuple[int, int, int, int]
    area: int
    whole_area: int
    size: float
    slots: frozenset[str]
    regions: frozenset[str]
    behind: frozenset[int]
    outside: int

    @property
    def center_x(self) -> float:
        """The middle of the box, px."""
        return (self.box_xyxy[0] + self.box_xyxy[2]) / 2


def look_at(part_map: PartMap, actors: list[Actor], skeletons: list[Skeleton], whole: list[int]) -> tuple[View, ...]:
    """What a finished part map shows of each actor; whole: areas before others were drawn over them."""
    parts = part_map.map()[SCALE // 2 :: SCALE, SCALE // 2 :: SCALE]  # [h, w]
    counts = np.bincount(parts.ravel(), minlength=len(part_map.parts))
    owners, labels = part_map.owners()[parts], np.array([p.label for p in part_map.parts], np.uint8)[parts]
    things = (parts > 0) & (owners == NOBODY)
    views = []
    for number, (actor, skeleton) in enumerate(zip(actors, skeletons, strict=True)):
        own = owners == number
        areas: dict[str, int] = {}
        for part, count in zip(part_map.parts, counts.tolist(), strict=True):
            slot = "prop" if part.slot == f"prop{number}" else part.slot
            if part.owner == number or slot == "prop":
                areas[slot] = areas.get(slot, 0) + count
        free = own | ((owners == NOBODY) & ~things)
        seen = {name for name, points in _REGIONS.items() if _seen(skeleton, points, free)}
        for side, label in ARM_LABELS.items():
            hand = f"{side}_hand"
            if _seen(skeleton, (hand,), own) and _at(skeleton.xy(hand), labels) in (label, LABELS["gloves"]):
                seen.add(hand)
        views.append(
            View(
                actor=actor,
                label_map=np.where(own, labels, 0).astype(np.uint8),
                keypoints=_keypoints(skeleton, free),
                box_xyxy=_box(own),
                area=int(own.sum()),
                whole_area=whole[number],
                size=skeleton.size,
                slots=frozenset(slot for slot, area in areas.items() if area >= _threshold(slot)),
                regions=frozenset(seen),
                behind=_coverers(skeleton, owners, number),
                outside=sum(not _inside(skeleton.xy(name), own) for name in JOINTS),
            )
        )
    return tuple(views)


def _threshold(slot: str) -> int:
    return _MIN_EYE_AREA if slot == "sunglasses" else _MIN_AREAS.get(slot, _MIN_AREA)


def _inside(xy: np.ndarray, grid: np.ndarray) -> bool:
    x, y = xy
    return bool(0 <= x < grid.shape[1] and 0 <= y < grid.shape[0])


def _at(xy: np.ndarray, grid: np.ndarray) -> int:
    return int(grid[int(xy[1]), int(xy[0])])


def _seen(skeleton: Skeleton, points: tuple[str, ...], free: np.ndarray) -> bool:
    return all(_inside(skeleton.xy(name), free) and _at(skeleton.xy(name), free) for name in points)


def _keypoints(skeleton: Skeleton, free: np.ndarray) -> np.ndarray:
    """COCO's joints, float64 [17, 2] px; (0, 0) where outside the picture, turned away, or behind somebody else."""
    rows = np.zeros((len(JOINTS), 2))
    for row, name in enumerate(JOINTS):
        if not (row < 5 and skeleton.turned_away(name)) and _seen(skeleton, (name,), free):
            rows[row] = skeleton.xy(name)
    return rows


def _box(own: np.ndarray) -> tuple[int, int, int, int]:
    """Tight box of a mask, far edges exclusive; zeros for an empty one."""
    if not own.any():
        return 0, 0, 0, 0
    rows, columns = np.flatnonzero(own.any(axis=1)), np.flatnonzero(own.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _coverers(skeleton: Skeleton, owners: np.ndarray, number: int) -> frozenset[int]:
    """Who stands in front of this person: those found at two or more of its joints."""
    found = [_at(skeleton.xy(name), owners) for name in JOINTS[5:] if _inside(skeleton.xy(name), owners)]
    return frozenset(who for who in set(found) if who not in (NOBODY, number) and found.count(who) > 1)
