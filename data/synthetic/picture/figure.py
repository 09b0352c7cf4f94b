"""One person, drawn back to front."""

from .head import draw_back_hair, draw_head
from .limbs import draw_arm, draw_leg
from .part_map import Pen
from .props import draw_prop, draw_seat_below
from .skeleton import SIDES, Pose, Skeleton
from .torso import Torso, draw_coat_tails, draw_dress, draw_neck, draw_outer, draw_scarf, draw_seat, draw_top
from .wardrobe import RGB, Person

_BEHIND = -0.035  # an arm further back than this, in body heights, is drawn before the torso


def draw_person(
    pen: Pen, person: Person, pose: Pose, skeleton: Skeleton, *, prop_rgb: RGB, prop_large: bool, seat_rgb: RGB
) -> None:
    """Draws a person with clothes, and the things that the pose holds and sits on."""
    torso = Torso(person, skeleton)
    arms = {side: (skeleton.depth(f"{side}_elbow") + skeleton.depth(f"{side}_wrist")) / 2 for side in SIDES}
    far_to_near = sorted(arms, key=lambda side: arms[side])
    prop_depth = skeleton.depth(f"{pose.hand}_wrist") if pose.prop else 0.0

    def hold() -> None:
        draw_prop(pen, pose, skeleton, rgb=prop_rgb, large=prop_large)

    if pose.stance == "sitting":
        draw_seat_below(pen, skeleton, seat_rgb)
    if pose.prop and prop_depth < _BEHIND:
        hold()
    for side in far_to_near:
        if arms[side] < _BEHIND:
            draw_arm(pen, person, skeleton, side)
    if "outer" in person.garments:
        draw_coat_tails(pen, torso, person.garments["outer"])
    draw_back_hair(pen, person, skeleton, front=False)
    _draw_body(pen, person, pose, skeleton, torso)
    draw_back_hair(pen, person, skeleton, front=True)
    draw_head(pen, person, skeleton)
    held = pose.prop and prop_depth >= _BEHIND
    if held and pose.prop in ("umbrella", "balloon", "bucket"):
        hold()
    for side in far_to_near:
        if arms[side] >= _BEHIND:
            draw_arm(pen, person, skeleton, side)
    if held and pose.prop in ("ball", "book"):
        hold()


def _draw_body(pen: Pen, person: Person, pose: Pose, skeleton: Skeleton, torso: Torso) -> None:
    """Legs and torso; legs that point at the camera lie over the torso, others under it."""
    worn = person.garments
    draw_neck(pen, torso, person)
    lap = pose.stance in ("sitting", "squatting", "kneeling") and pose.view in ("front", "between")
    legs = sorted(SIDES, key=lambda side: skeleton.depth(f"{side}_knee") + skeleton.depth(f"{side}_ankle"))

    def dress_legs() -> None:
        for side in legs:
            draw_leg(pen, person, skeleton, side)
        if "bottom" in worn:
            draw_seat(pen, torso, worn["bottom"])

    if not lap or "dress" in worn:
        dress_legs()
    if "dress" in worn:
        draw_dress(pen, torso, person, worn["dress"])
    if "top" in worn:
        draw_top(pen, torso, person, worn["top"])
    if lap and "dress" not in worn:
        dress_legs()
    if "outer" in worn:
        draw_outer(pen, torso, worn["outer"])
    if "scarf" in worn:
        draw_scarf(pen, torso, worn["scarf"])
