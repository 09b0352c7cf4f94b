"""What is true of a person in a picture: True, False, or None where the picture does not show it.

An expression fits one person only if it is True of that person and False, not merely unseen, of all others.
"""

from collections.abc import Iterable

import numpy as np

from ..picture.scene import Scene
from ..picture.skeleton import GESTURES, JOINTS
from ..picture.views import View
from ..picture.wardrobe import Garment

Truth = bool | None

# Easily confused pairs: when one is asked for, the other is neither right nor wrong.
_CONFUSABLE = {
    frozenset(pair)
    for pair in (
        ("shirt", "t-shirt"), ("shirt", "sweater"), ("t-shirt", "tank top"), ("coat", "jacket"), ("hat", "cap"),
        ("hat", "beanie"), ("cap", "beanie"), ("shoes", "boots"), ("blue", "light blue"), ("long", "bob"),
        ("short", "curly"), ("short", "bun"), ("walking", "running"), ("waving", "raised"),
        ("squatting", "kneeling"), ("squatting", "sitting"),
    )
}  # fmt: skip
_SLOT_REGIONS = {
    "top": "trunk", "outer": "trunk", "dress": "trunk", "bottom": "legs", "socks": "feet", "shoes": "feet",
    "gloves": "hands", "scarf": "neck", "hat": "head",
}  # fmt: skip
_INSTEAD = {"top": ("dress",), "bottom": ("dress",), "dress": ("top", "bottom")}
_LEGS_KINDS = ("pants", "shorts", "skirt")
_ANKLES_KINDS = ("pants", "boots")  # they hide socks, and whether there are any
_KNEES = [JOINTS.index(f"{side}_knee") for side in ("left", "right")]
_GAP = 0.05  # of the width: people closer than this are not clearly ordered
_NEARER = 1.12  # ratio of sizes from which one person is clearly nearer


def all_of(truths: Iterable[Truth]) -> Truth:
    """Three-valued and."""
    unknown = False
    for truth in truths:
        if truth is False:
            return False
        unknown = unknown or truth is None
    return None if unknown else True


def negate(truth: Truth) -> Truth:
    """Three-valued not."""
    return None if truth is None else not truth


def same(asked: str | bool, real: str | bool) -> Truth:
    """Whether two names agree; None where they are easily confused."""
    return True if asked == real else None if frozenset((asked, real)) in _CONFUSABLE else False


def face_seen(view: View) -> bool:
    """Whether the face is turned to the camera and nothing hides it."""
    return bool(view.keypoints[0].any()) and "head" in view.regions


def garment_seen(view: View, slot: str) -> Garment | None:
    """The garment of a slot, if one is worn and seen."""
    return view.actor.person.garments.get(slot) if slot in view.slots else None


def wears(view: View, slot: str, **asked: str | bool | None) -> Truth:
    """Whether a garment of the asked kind, colour, pattern ... is worn in a slot; None: any will do."""
    garment = view.actor.person.garments.get(slot)
    if garment is None:
        instead = any(garment_seen(view, other) for other in _INSTEAD.get(slot, ()))
        return False if instead or _would_be_seen(view, slot) else None
    if slot not in view.slots:
        return None
    return all_of(_agrees(view, garment, name, value) for name, value in asked.items() if value is not None)


def dressed_in(view: View, colour: str) -> Truth:
    """Whether the upper body is clothed in one colour, as "the man in red" is; None if only something else has it."""
    worn = view.actor.person.garments
    main = worn.get("dress") or worn.get("outer") or worn["top"]
    if main.slot not in view.slots:
        return None
    if main.colour == colour and main.pattern == "plain" and not main.open:
        return True
    seen = [g for slot, g in worn.items() if slot in view.slots and slot != "sunglasses"]
    return False if all(_agrees(view, garment, "colour", colour) is False for garment in seen) else None


def _would_be_seen(view: View, slot: str) -> bool:
    """Whether a garment would be seen there if it were worn."""
    if slot == "sunglasses":
        return face_seen(view)
    if slot == "socks" and any(g.kind in _ANKLES_KINDS or g.long for g in view.actor.person.garments.values()):
        return False
    return _SLOT_REGIONS[slot] in view.regions


def _agrees(view: View, garment: Garment, name: str, value: str | bool) -> Truth:
    real = getattr(garment, name)
    if name == "open" and np.cos(np.deg2rad(view.actor.pose.yaw)) < 0.4:
        return None
    on_legs = name == "long" or (name == "kind" and value in _LEGS_KINDS)
    if on_legs and not view.keypoints[_KNEES].any():
        return None
    if real == value:
        return True
    if on_legs and "legs" not in view.regions:
        return None
    if name == "colour" and garment.pattern != "plain" and value in ("white", "black"):
        return None  # its pattern may be
    if name in ("open", "long"):
        return False if "legs" in view.regions and "trunk" in view.regions else None
    return same(value, real)


def is_noun(view: View, noun: str) -> Truth:
    """person, child, man, woman, boy or girl. The head shows the sex; head and torso together show the age."""
    if noun == "person":
        return True
    person, head = view.actor.person, "head" in view.regions
    aged = head and "trunk" in view.regions
    child = person.child if aged else None
    if noun == "child":
        return child
    sex = (person.sex == ("male" if noun in ("man", "boy") else "female")) if head else None
    return all_of((sex, child if noun in ("boy", "girl") else negate(child)))


def has_hair(view: View, *, style: str | None = None, colour: str | None = None) -> Truth:
    """Hair of a style and colour; style "bald" means none."""
    person = view.actor.person
    if person.hair == "bald":
        clear = "head" in view.regions and "hat" not in person.garments
        return (style == "bald") if clear else None
    if "hair" not in view.slots or ("head" not in view.regions and style):
        return None
    return all_of((same(style, person.hair) if style else True, same(colour, person.hair_colour) if colour else True))


def has_beard(view: View) -> Truth:
    """Whether there is a beard; None where the face is not seen."""
    return view.actor.person.beard if face_seen(view) else None


def does(view: View, stance: str) -> Truth:
    """What the legs do. From the front, walking, running and standing look alike."""
    if "legs" not in view.regions:
        return None
    real = view.actor.pose.stance
    upright = ("standing", "walking", "running")
    if stance != real and {stance, real} <= set(upright) and view.actor.pose.view in ("front", "back"):
        return None
    return same(stance, real)


def gestures(view: View, gesture: str, *, hand: str | None = None) -> Truth:
    """What the arms do: one of KNOWN_GESTURES; hand: the side that must wave or point."""
    pose = view.actor.pose
    if "arms" not in view.regions or (gesture == "crossed" and pose.view == "back"):
        return None
    if pose.gesture == gesture in ("waving", "pointing") and f"{pose.hand}_hand" not in view.regions:
        return None  # hidden by the person's own body
    if pose.gesture == gesture and hand:
        return pose.hand == hand
    if pose.stance == "jumping" and pose.gesture != gesture:
        return None  # the arms are up anyway
    return same(gesture, pose.gesture)


def holds(view: View, prop: str, *, colour: str | None = None) -> Truth:
    """Whether a thing is in the hands; "" asks for empty hands."""
    pose = view.actor.pose
    if not pose.prop:
        return prop == "" if "hands" in view.regions and pose.view != "back" else None
    if "prop" not in view.slots:
        return None
    return prop == pose.prop and (same(colour, view.actor.prop_colour) if colour else True)


def faces(view: View, way: str) -> Truth:
    """Which way the body faces: front, back, left or right of the picture."""
    if not {"head", "trunk"} & view.regions or view.actor.pose.view == "between":
        return None
    return view.actor.pose.view == way


def has_rank(scene: Scene, index: int, rank: int) -> Truth:
    """Whether a person is the `rank`-th from the left (from 0; negative from the right)."""
    order = scene.left_to_right()
    rank, place = rank % len(order), order.index(index)
    gap = _GAP * scene.picture.width
    if place == rank:
        around = (k for k in (place - 1, place + 1) if 0 <= k < len(order))
        return True if all(_distance(scene, order[k], index) >= gap for k in around) else None
    if abs(place - rank) == 1 and _distance(scene, order[rank], index) < gap:
        return None
    return False


def _distance(scene: Scene, one: int, other: int) -> float:
    return abs(scene.views[one].center_x - scene.views[other].center_x)


def on_side(scene: Scene, index: int, side: str) -> Truth:
    """Whether a person is in the left or right part of the picture, or in its middle."""
    place = scene.views[index].center_x / scene.picture.width
    if side == "middle":
        return True if 0.4 <= place <= 0.6 else None if 0.32 < place < 0.68 else False
    place = place if side == "left" else 1 - place
    return True if place < 0.4 else None if place < 0.5 else False


def beside(scene: Scene, index: int, other: int, *, side: str) -> Truth:
    """Whether a person is to the left or right (in the picture) of another."""
    if index == other:
        return False
    gap = (scene.views[other].center_x - scene.views[index].center_x) * (1 if side == "left" else -1)
    limit = _GAP * scene.picture.width
    return True if gap >= limit else False if gap <= -limit else None


def next_to(scene: Scene, index: int, other: int, *, side: str) -> Truth:
    """Whether a person is the next one to the left or right of another."""
    rank = scene.left_to_right().index(other) + (-1 if side == "left" else 1)
    return has_rank(scene, index, rank) if 0 <= rank < len(scene.views) else False


def is_extreme(scene: Scene, index: int, way: str) -> Truth:
    """Whether a person is the nearest or farthest of all, by a clear margin."""
    if len(scene.views) == 1:
        return None
    near = [view.size / (0.76 if view.actor.person.child else 1.0) for view in scene.views]
    ratios = [near[index] / other for k, other in enumerate(near) if k != index]
    worst = min(ratios) if way == "nearest" else 1 / max(ratios)
    return True if worst >= _NEARER else False if worst <= 1 / _NEARER else None


def is_covered(view: View) -> Truth:
    """Whether somebody stands in front of a person."""
    share = view.area / max(view.whole_area, 1)
    return True if view.behind and share < 0.9 else False if share > 0.97 else None


def is_cut(view: View) -> Truth:
    """Whether a person reaches well beyond the border of the picture."""
    return True if view.outside >= 3 else False if view.outside == 0 else None


def knees_bare(view: View) -> Truth:
    """Whether both knees show skin; None if only one does."""
    if "legs" not in view.regions:
        return None
    bare = [view.label_map[y, x] in (16, 17) for x, y in view.keypoints[_KNEES].astype(int)]  # CIHP's legs
    return all(bare) or (None if any(bare) else False)


def turned_away(view: View) -> Truth:
    """Whether the back of the head is seen."""
    if "head" not in view.regions:
        return None
    facing = float(np.cos(np.deg2rad(view.actor.pose.head_yaw)))
    return True if facing < -0.6 else False if facing > 0.1 else None


KNOWN_GESTURES = tuple(dict.fromkeys(g for kinds in GESTURES.values() for g in kinds if g not in ("none", "holding")))
