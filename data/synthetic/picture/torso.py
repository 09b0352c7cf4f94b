"""The torso and what hangs from it: shirts, coats, dresses, skirts, the seat of trousers, scarves."""

import numpy as np

from .part_map import Fabric, Pen
from .shapes import Points, between, capsule, ellipse, hull, moved
from .skeleton import PITCH, SIDES, Skeleton
from .wardrobe import Garment, Person, shade

# The torso's cross-sections are ellipses: height along the spine (0 pelvis, 1 neck), half-width, half-depth, in body
# heights.
_HEIGHT = np.array([-0.25, -0.05, 0.15, 0.38, 0.65, 0.86, 0.95, 1.0, 1.07])
_DEPTH = np.array([0.068, 0.074, 0.068, 0.06, 0.068, 0.066, 0.058, 0.046, 0.034])
_WIDTH = {
    "male": np.array([0.088, 0.092, 0.09, 0.09, 0.108, 0.118, 0.108, 0.07, 0.034]),
    "female": np.array([0.094, 0.098, 0.09, 0.078, 0.09, 0.1, 0.09, 0.06, 0.031]),
}
LABELS = {"top": 5, "dress": 6, "outer": 7, "bottom": 9, "socks": 8, "gloves": 3, "scarf": 11, "hat": 1}  # CIHP's
SKIRT_LABEL, NECK_LABEL = 12, 10
# How far down the legs a garment reaches: 1 is the knee, 2 the ankle.
_HEMS = {"skirt": 0.85, "coat": 0.85}


class Torso:
    """The torso as a solid: outlines and strips of its surface, in picture px."""

    def __init__(self, person: Person, skeleton: Skeleton) -> None:
        self.skeleton, self.size = skeleton, skeleton.size
        self.pelvis, self.neck = skeleton.xy("pelvis"), skeleton.xy("neck")
        along = self.neck - self.pelvis
        up = along / max(np.hypot(*along), 1e-6)
        self.across = np.array([-up[1], up[0]])  # the picture's right when upright
        self.width = _WIDTH[person.sex] * person.girth * (0.92 if person.child else 1.0) * self.size
        self.depth = _DEPTH * person.girth * self.size

    def section(self, height: float, grow: float = 0.0) -> tuple[float, float]:
        """Half-width and half-depth at a height, px."""
        width, depth = (float(np.interp(height, _HEIGHT, sizes)) for sizes in (self.width, self.depth))
        return width + grow * self.size, depth + grow * self.size

    def outline(self, low: float, high: float, grow: float = 0.0) -> Points:
        """The visible outline of the torso between two heights."""
        heights = np.linspace(low, high, 9)
        sine, cosine = np.sin(self.skeleton.yaw), np.cos(self.skeleton.yaw)
        reach = np.array([np.hypot(a * cosine, b * sine) for a, b in (self.section(h, grow) for h in heights)])
        middle = between(self.pelvis, self.neck, heights[:, None])  # [9, 2]
        return np.concatenate([middle - reach[:, None] * self.across, (middle + reach[:, None] * self.across)[::-1]])

    def strip(
        self, low: float, high: float, *, edges: tuple[float, float], top_edges: tuple[float, float] | None = None,
        grow: float = 0.0,
    ) -> Points | None:  # fmt: skip
        """The surface between two angles around the spine (radians; 0 is the front, + the person's left).

        top_edges: the angles at the upper end, where they differ. None if all of it is on the far side.
        """
        start, end = np.array(edges), np.array(top_edges or edges)
        lefts, rights = [], []
        for fraction in np.linspace(0, 1, 5):
            height = low + (high - low) * fraction
            first, last = start + (end - start) * fraction
            angles = np.linspace(first, last, 7)
            a, b = self.section(height, grow)
            sine, cosine = np.sin(self.skeleton.yaw), np.cos(self.skeleton.yaw)
            x = a * np.sin(angles) * cosine + b * np.cos(angles) * sine
            z = b * np.cos(angles) * cosine - a * np.sin(angles) * sine
            if (z <= 0).all():
                return None
            middle = moved(between(self.pelvis, self.neck, height), 0, np.sin(PITCH) * b * cosine * 0.4)
            seen = x[z > 0]
            lefts.append(middle + self.across * seen.min())
            rights.append(middle + self.across * seen.max())
        return np.array(lefts + rights[::-1])

    def leg_point(self, side: str, reach: float) -> Points:
        """A point on a leg's axis: `reach` is 0 at the hip, 1 at the knee, 2 at the ankle."""
        hip, knee, ankle = (self.skeleton.xy(f"{side}_{name}") for name in ("hip", "knee", "ankle"))
        return between(hip, knee, reach) if reach <= 1 else between(knee, ankle, reach - 1)

    def hanging(self, reach: float, *, flare: float, top: float = 0.3, grow: float = 0.01) -> Points:
        """A skirt: from the waist over the hips to a hem around both legs, `flare` body heights wide."""
        rims = [self.outline(-0.1, top, grow)]
        for side in SIDES:
            rims.append(ellipse(self.leg_point(side, reach), (flare * self.size, 0.03 * self.size)))
            rims.append(ellipse(self.leg_point(side, min(reach, 0.6)), (0.068 * self.size,) * 2))
        return hull(np.concatenate(rims))


def fabric(garment: Garment, size: float) -> Fabric:
    """A garment's pattern; its period grows with the person (`size` px per body height)."""
    period = {"striped": 0.058, "checked": 0.062, "dotted": 0.056}.get(garment.pattern, 0.05) * size
    return Fabric(garment.pattern, garment.second, max(period, 4.0))


def draw_neck(pen: Pen, torso: Torso, person: Person) -> None:
    """Neck and bare shoulders."""
    skeleton, size = torso.skeleton, torso.size
    part = pen.part(NECK_LABEL, "neck", shade(person.skin, 0.93))
    throat = capsule(torso.neck, skeleton.xy("head"), radii=(0.033 * size, 0.03 * size))
    pen.draw(part, torso.outline(0.6, 1.04), throat)


def draw_seat(pen: Pen, torso: Torso, garment: Garment) -> None:
    """The part of trousers or shorts above the legs, or a skirt."""
    size = torso.size
    if garment.kind == "skirt":
        part = pen.part(SKIRT_LABEL, "bottom", garment.rgb, fabric=fabric(garment, size))
        pen.draw(part, torso.hanging(_HEMS["skirt"], flare=0.085))
        return
    hips = [ellipse(torso.skeleton.xy(f"{side}_hip"), (0.052 * size,) * 2) for side in SIDES]
    part = pen.part(LABELS["bottom"], "bottom", garment.rgb, fabric=fabric(garment, size))
    pen.draw(part, hull(np.concatenate([torso.outline(-0.05, 0.3, 0.006), *hips])))


def draw_top(pen: Pen, torso: Torso, person: Person, garment: Garment) -> None:
    """A shirt without its sleeves (they belong to the arms), tucked in or not."""
    low = 0.12 if person.garments["bottom"].kind == "skirt" else -0.08
    high = {"sweater": 1.06, "shirt": 1.04}.get(garment.kind, 1.0)
    grow = 0.012 if garment.kind == "sweater" else 0.005
    part = pen.part(LABELS["top"], "top", garment.rgb, fabric=fabric(garment, torso.size))
    pen.draw(part, torso.outline(low, high, grow))
    if garment.kind == "sweater":
        hem = pen.part(LABELS["top"], "top", shade(garment.rgb, 0.8), group=part)
        pen.draw(hem, torso.outline(low, low + 0.1, grow), torso.outline(0.98, 1.07, grow))
    elif garment.kind == "shirt":
        _draw_placket(pen, torso, garment, part)
    else:
        _draw_neckline(pen, torso, person, 0.8 if garment.kind == "tank top" else 0.88)


def _draw_placket(pen: Pen, torso: Torso, garment: Garment, part: int) -> None:
    """Button border and collar, where the front is seen."""
    border = torso.strip(-0.05, 0.97, edges=(-0.1, 0.1), grow=0.005)
    collars = [torso.strip(0.9, 1.04, edges=(s * 0.1, s * 0.5), top_edges=(s * 0.5, s * 1.2)) for s in (-1, 1)]
    detail = pen.part(LABELS["top"], "top", shade(garment.rgb, 0.76 if sum(garment.rgb) > 180 else 1.9), group=part)
    pen.draw(detail, border, *collars)


def _draw_neckline(pen: Pen, torso: Torso, person: Person, low: float) -> None:
    """Skin above a round neck."""
    skin = torso.strip(low, 1.03, edges=(-0.15, 0.15), top_edges=(-1.1, 1.1), grow=0.006)
    pen.draw(pen.part(NECK_LABEL, "neck", shade(person.skin, 0.93)), skin)


def draw_dress(pen: Pen, torso: Torso, person: Person, garment: Garment) -> None:
    """Bodice and skirt in one, with a belt."""
    reach, flare = (1.75, 0.13) if garment.long else (0.92, 0.115)
    part = pen.part(LABELS["dress"], "dress", garment.rgb, fabric=fabric(garment, torso.size))
    pen.draw(part, torso.hanging(reach, flare=flare, top=0.36), torso.outline(0.2, 0.98, 0.005))
    belt = pen.part(LABELS["dress"], "dress", shade(garment.rgb, 0.72), group=part)
    pen.draw(belt, torso.outline(0.34, 0.42, 0.008))
    _draw_neckline(pen, torso, person, 0.84)


def draw_coat_tails(pen: Pen, torso: Torso, garment: Garment) -> None:
    """The back of an open coat, which hangs behind the legs."""
    if garment.kind == "coat" and garment.open and np.cos(torso.skeleton.yaw) > 0:
        part = pen.part(LABELS["outer"], "outer", shade(garment.rgb, 0.78))
        pen.draw(part, torso.hanging(_HEMS["coat"], flare=0.085, grow=0.016))


def draw_outer(pen: Pen, torso: Torso, garment: Garment) -> None:
    """A coat (to the thighs) or jacket (to the hips), buttoned or open."""
    part = pen.part(LABELS["outer"], "outer", garment.rgb, fabric=fabric(garment, torso.size))
    if not garment.open or np.cos(torso.skeleton.yaw) <= 0.2:  # closed, or seen from behind or the side
        tails = torso.hanging(_HEMS["coat"], flare=0.085, grow=0.016) if garment.kind == "coat" else None
        pen.draw(part, tails, torso.outline(-0.12, 1.05, 0.018))
        if not garment.open:
            rgb = shade(garment.rgb, 0.66 if sum(garment.rgb) > 180 else 2.4)
            detail = pen.part(LABELS["outer"], "outer", rgb, group=part)
            line = torso.strip(-0.12, 0.98, edges=(-0.07, 0.07), grow=0.018)
            pen.draw(detail, torso.outline(0.98, 1.07, 0.016), line)
        return
    low = -0.25 if garment.kind == "coat" else -0.12
    for sign, side in ((1, "left"), (-1, "right")):
        panel = torso.strip(low, 1.05, edges=(sign * 0.5, sign * 1.9), top_edges=(sign * 0.75, sign * 2.2), grow=0.018)
        pen.draw(part, panel)
        if garment.kind == "coat" and panel is not None:
            pen.draw(part, _flap(torso, side, sign))


def _flap(torso: Torso, side: str, sign: int) -> Points:
    """The lower front of an open coat on one side."""
    top = torso.strip(-0.25, -0.1, edges=(sign * 0.5, sign * 1.9), grow=0.018)
    rim = torso.outline(-0.25, -0.1, 0.018) if top is None else top
    out = torso.leg_point(side, _HEMS["coat"]) + torso.across * sign * np.cos(torso.skeleton.yaw) * 0.05 * torso.size
    return hull(np.concatenate([rim, ellipse(out, (0.035 * torso.size, 0.02 * torso.size))]))


def draw_scarf(pen: Pen, torso: Torso, garment: Garment) -> None:
    """A band around the neck and, seen from the front, a tail."""
    size, across = torso.size, torso.across
    narrow = fabric(garment, size)._replace(period=max(0.04 * size, 4.0))
    part = pen.part(LABELS["scarf"], "scarf", garment.rgb, fabric=narrow)
    wide = 0.05 + 0.022 * abs(np.cos(torso.skeleton.yaw))
    for height in (0.99, 1.05):
        middle = between(torso.pelvis, torso.neck, height)
        pen.draw(part, capsule(middle - across * wide * size, middle + across * wide * size, radii=(0.026 * size,) * 2))
    pen.draw(part, torso.strip(0.55, 0.98, edges=(0.1, 0.75), grow=0.02))
