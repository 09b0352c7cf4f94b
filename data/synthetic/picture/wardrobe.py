"""What a drawn person looks like: body, hair and clothes, and the names of their colours."""

import colorsys
from dataclasses import dataclass, field, replace
from random import Random

RGB = tuple[int, int, int]

# Hue in degrees, saturation and value in percent, each (low, high): far enough apart that a colour still has its name
# after shading, colour temperature and JPEG.
COLOURS = {
    "red": ((354, 362), (78, 90), (70, 86)),
    "orange": ((24, 31), (86, 96), (92, 100)),
    "yellow": ((49, 55), (72, 88), (93, 100)),
    "green": ((110, 145), (50, 75), (45, 66)),
    "blue": ((216, 230), (70, 88), (58, 82)),
    "light blue": ((193, 204), (38, 48), (92, 100)),
    "purple": ((272, 286), (50, 66), (48, 64)),
    "pink": ((332, 344), (36, 48), (95, 100)),
    "brown": ((20, 27), (60, 74), (34, 44)),
    "black": ((0, 360), (0, 15), (9, 15)),
    "gray": ((0, 360), (0, 4), (50, 58)),
    "white": ((0, 360), (0, 3), (95, 100)),
}
# Pairs of garment and colour that only pictures of the `unseen` split show.
HELD_OUT = {
    **dict.fromkeys(("t-shirt", "shirt", "sweater", "tank top"), ("purple", "light blue")),
    **dict.fromkeys(("coat", "jacket"), ("yellow", "green")),
    **dict.fromkeys(("pants", "shorts"), ("red", "pink")),
    **dict.fromkeys(("hat", "cap", "beanie"), ("green", "purple")),
    "dress": ("orange", "brown"),
    "skirt": ("blue", "yellow"),
    "scarf": ("blue", "pink"),
}
KINDS = {
    "top": ("t-shirt", "shirt", "sweater", "tank top"),
    "outer": ("coat", "jacket"),
    "dress": ("dress",),
    "bottom": ("pants", "shorts", "skirt"),
    "socks": ("socks",),
    "shoes": ("shoes", "boots"),
    "gloves": ("gloves",),
    "scarf": ("scarf",),
    "hat": ("hat", "cap", "beanie"),
    "sunglasses": ("sunglasses",),
}
PATTERNS = ("striped", "checked", "dotted")
PATTERNED_SLOTS = ("top", "dress", "bottom", "outer", "scarf")
HAIR_COLOURS: dict[str, RGB] = {
    "black": (30, 26, 28),
    "brown": (96, 58, 32),
    "blond": (232, 196, 104),
    "red": (186, 78, 30),
    "gray": (172, 172, 176),
}
HAIR_STYLES = {"male": ("short", "short", "curly", "bald"), "female": ("long", "long", "bob", "pigtails", "bun")}
SKINS: tuple[RGB, ...] = (
    (255, 224, 196), (247, 208, 172), (236, 188, 150), (214, 160, 118), (176, 122, 84), (134, 88, 58), (98, 64, 44),
)  # fmt: skip


@dataclass(frozen=True)
class Garment:
    """One piece of clothing. `pattern` is "plain" or one of PATTERNS, drawn in `second` over `rgb`."""

    slot: str
    kind: str
    colour: str
    rgb: RGB
    pattern: str = "plain"
    second: RGB = (255, 255, 255)
    open: bool = False  # a coat or jacket that shows what is worn under it
    long: bool = False  # a dress to the ankles

    @property
    def held_out(self) -> bool:
        """Whether only the `unseen` split may show it."""
        return self.colour in HELD_OUT.get(self.kind, ())


@dataclass(frozen=True)
class Person:
    """Body, hair and clothes. `garments` maps a slot of KINDS to what is worn there."""

    sex: str
    child: bool
    skin: RGB
    hair: str
    hair_colour: str
    beard: bool
    girth: float
    garments: dict[str, Garment] = field(default_factory=dict)

    @property
    def noun(self) -> str:
        """man, woman, boy or girl."""
        adult, child = ("man", "boy") if self.sex == "male" else ("woman", "girl")
        return child if self.child else adult


def shade(rgb: RGB, factor: float) -> RGB:
    """A darker (< 1) or lighter (> 1) version of a colour."""
    red, green, blue = (min(255, round(channel * factor)) for channel in rgb)
    return red, green, blue


def draw_colour(name: str, rng: Random) -> RGB:
    """A colour that has this name."""
    hue, saturation, value = (rng.uniform(*bounds) for bounds in COLOURS[name])
    red, green, blue = colorsys.hsv_to_rgb(hue % 360 / 360, saturation / 100, value / 100)
    return round(255 * red), round(255 * green), round(255 * blue)


def sample_garment(slot: str, rng: Random, *, kind: str | None = None, held_out: bool = False) -> Garment:
    """A garment for a slot; `held_out`: in a colour that only the `unseen` split shows, if its kind has any."""
    kind = kind or rng.choice(KINDS[slot])
    kept = HELD_OUT.get(kind, ())
    choices = kept if held_out and kept else [name for name in COLOURS if name not in kept]
    colour = "black" if slot == "sunglasses" else rng.choice(choices)
    pattern = rng.choice(PATTERNS) if slot in PATTERNED_SLOTS and rng.random() < 0.3 else "plain"
    light = colour in ("white", "yellow", "light blue", "pink", "gray", "orange")
    return Garment(
        slot=slot,
        kind=kind,
        colour=colour,
        rgb=draw_colour(colour, rng),
        pattern=pattern,
        second=(34, 34, 40) if light else (246, 246, 246),
        open=slot == "outer" and rng.random() < 0.5,
        long=kind == "dress" and rng.random() < 0.3,
    )


def sample_person(rng: Random, *, held_out: bool = False) -> Person:
    """A dressed person; with `held_out`, in at least one garment of HELD_OUT."""
    sex = rng.choice(("male", "female"))
    child = rng.random() < 0.18
    hair = rng.choice(HAIR_STYLES[sex])
    if child and hair == "bald":
        hair = "short"
    garments = _sample_outfit(sex, rng)
    if hair == "bun" and "hat" in garments:
        hair = "bob"
    if held_out:
        slot = rng.choice([s for s in garments if garments[s].kind in HELD_OUT])
        old = garments[slot]
        new = sample_garment(slot, rng, kind=old.kind, held_out=True)
        garments[slot] = replace(new, open=old.open, long=old.long)
    return Person(
        sex=sex,
        child=child,
        skin=rng.choice(SKINS),
        hair=hair,
        hair_colour=rng.choice([c for c in HAIR_COLOURS if not (child and c == "gray")]),
        beard=sex == "male" and not child and rng.random() < 0.4,
        girth=rng.uniform(0.92, 1.14),
        garments=garments,
    )


def _sample_outfit(sex: str, rng: Random) -> dict[str, Garment]:
    """Clothes that go together; nothing is worn where it would be hidden completely."""
    cold = rng.random() < 0.45
    worn: dict[str, Garment] = {}

    def wear(slot: str, chance: float = 1.0, kind: str | None = None) -> None:
        if rng.random() < chance:
            worn[slot] = sample_garment(slot, rng, kind=kind)

    if sex == "female" and rng.random() < 0.45:
        wear("dress")
    else:
        wear("top", kind=rng.choice(("shirt", "sweater", "t-shirt")) if cold else None)
        bare = rng.choice(("shorts", "skirt") if sex == "female" else ("shorts",))
        wear("bottom", kind=bare if rng.random() < (0.2 if cold else 0.5) else "pants")
        wear("outer", 0.65 if cold else 0.06)
        if "outer" in worn and not worn["outer"].open:
            del worn["top"]
    wear("hat", 0.5 if cold else 0.3, kind=rng.choice(("beanie", "hat", "cap") if cold else ("hat", "cap")))
    wear("scarf", 0.5 if cold else 0.04)
    wear("gloves", 0.5 if cold else 0.06)
    wear("sunglasses", 0.1 if cold else 0.35)
    wear("shoes", 1.0 if cold else 0.86, kind="boots" if cold and rng.random() < 0.4 else "shoes")
    legs_show = "dress" in worn or worn["bottom"].kind != "pants"
    if legs_show and "shoes" in worn and worn["shoes"].kind == "shoes":
        wear("socks", 0.5)
    return worn
