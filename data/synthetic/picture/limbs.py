"""Arms and legs with their sleeves, gloves, trouser legs, socks and shoes."""

from .part_map import Pen
from .shapes import between, capsule, ellipse, moved
from .skeleton import Skeleton
from .torso import LABELS, fabric
from .wardrobe import Person, shade

ARM_LABELS = {"left": 14, "right": 15}
LEG_LABELS = {"left": 16, "right": 17}
SHOE_LABELS = {"left": 18, "right": 19}
# How far down the arm a sleeve reaches: 1 is the elbow, 2 the wrist.
_SLEEVES = {
    "t-shirt": 0.62, "tank top": 0.0, "shirt": 1.9, "sweater": 1.92, "coat": 1.93, "jacket": 1.93, "dress": 0.45,
}  # fmt: skip


def draw_arm(pen: Pen, person: Person, skeleton: Skeleton, side: str) -> None:
    """One arm: skin, then the sleeve, then a glove."""
    size = skeleton.size
    shoulder, elbow, wrist, hand = (skeleton.xy(f"{side}_{name}") for name in ("shoulder", "elbow", "wrist", "hand"))
    upper, fore, end = (r * size * (0.5 + 0.5 * person.girth) for r in (0.033, 0.027, 0.021))
    skin = pen.part(ARM_LABELS[side], "arms", person.skin)
    pen.draw(skin, capsule(shoulder, elbow, radii=(upper, fore)), capsule(elbow, wrist, radii=(fore, end)))
    pen.draw(skin, capsule(wrist, hand, radii=(end, end * 1.12)))
    garment = next(person.garments[slot] for slot in ("outer", "dress", "top") if slot in person.garments)
    reach = _SLEEVES[garment.kind]
    if reach:
        wide = (0.014 if garment.slot == "outer" else 0.01 if garment.kind == "sweater" else 0.006) * size
        part = pen.part(LABELS[garment.slot], garment.slot, garment.rgb, fabric=fabric(garment, size))
        turn = between(shoulder, elbow, min(reach, 1.0))
        pen.draw(part, capsule(shoulder, turn, radii=(upper + wide, fore + wide)))
        if reach > 1:
            cuff = between(elbow, wrist, reach - 1)
            pen.draw(part, capsule(elbow, cuff, radii=(fore + wide, end + wide)))
    if "gloves" in person.garments:
        glove = pen.part(LABELS["gloves"], "gloves", person.garments["gloves"].rgb)
        pen.draw(glove, capsule(between(elbow, wrist, 0.86), hand, radii=(end * 1.25, end * 1.45)))


def draw_leg(pen: Pen, person: Person, skeleton: Skeleton, side: str) -> None:
    """One leg: skin, sock, trouser leg, shoe."""
    size, worn = skeleton.size, person.garments
    hip, knee, ankle, toe, heel = (skeleton.xy(f"{side}_{name}") for name in ("hip", "knee", "ankle", "toe", "heel"))
    thigh, mid, low = (r * size * (0.5 + 0.5 * person.girth) for r in (0.052, 0.038, 0.027))
    skin = pen.part(LEG_LABELS[side], "legs", person.skin)
    pen.draw(skin, capsule(hip, knee, radii=(thigh, mid)), capsule(knee, ankle, radii=(mid, low)))
    pen.draw(skin, capsule(heel, toe, radii=(0.022 * size, 0.02 * size)))
    pen.draw(skin, capsule(ankle, heel, radii=(low, 0.022 * size)))
    if "socks" in worn:
        sock = pen.part(LABELS["socks"], "socks", worn["socks"].rgb)
        pen.draw(sock, capsule(between(knee, ankle, 0.5), ankle, radii=(low * 1.3, low * 1.15)))
    if "bottom" in worn and worn["bottom"].kind != "skirt":
        _draw_trouser_leg(pen, person, skeleton, side, (thigh, mid, low))
    if "shoes" in worn:
        shoe = pen.part(SHOE_LABELS[side], "shoes", worn["shoes"].rgb)
        if worn["shoes"].kind == "boots":
            pen.draw(shoe, capsule(between(knee, ankle, 0.5), ankle, radii=(mid * 1.18, low * 1.5)))
        sole = pen.part(SHOE_LABELS[side], "shoes", shade(worn["shoes"].rgb, 0.55), group=shoe)
        drop = 0.012 * size
        pen.draw(sole, capsule(moved(heel, 0, drop), moved(toe, 0, drop), radii=(0.028 * size, 0.024 * size)))
        pen.draw(shoe, capsule(heel, toe, radii=(0.03 * size, 0.026 * size)))
        pen.draw(shoe, capsule(ankle, heel, radii=(0.03 * size,) * 2))


def _draw_trouser_leg(
    pen: Pen, person: Person, skeleton: Skeleton, side: str, radii: tuple[float, float, float]
) -> None:
    """A leg of trousers or shorts; radii: of thigh, knee and ankle, px."""
    garment, size = person.garments["bottom"], skeleton.size
    hip, knee, ankle = (skeleton.xy(f"{side}_{name}") for name in ("hip", "knee", "ankle"))
    thigh, mid, low = radii
    part = pen.part(LABELS["bottom"], "bottom", garment.rgb, fabric=fabric(garment, size))
    if garment.kind == "shorts":
        pen.draw(part, capsule(hip, between(hip, knee, 0.72), radii=(thigh * 1.14, mid * 1.5)))
        return
    pen.draw(part, capsule(hip, knee, radii=(thigh * 1.12, mid * 1.2)))
    pen.draw(part, capsule(knee, between(knee, ankle, 0.95), radii=(mid * 1.2, low * 1.35)))
    pen.draw(part, ellipse(ankle, (low * 1.3,) * 2))
