"""A picture of one to four people, and what is true and can be seen of each."""

from dataclasses import dataclass, replace
from random import Random

from PIL import Image, ImageDraw

from .backgrounds import draw_background
from .figure import draw_person
from .part_map import SCALE, PartMap, Pen, Style, paint
from .skeleton import Skeleton, pose_skeleton, sample_pose
from .views import Actor, View, look_at
from .wardrobe import COLOURS, Person, draw_colour, sample_person

_ATTEMPTS = 6
_SHARES = (0.16, 0.36, 0.32, 0.16)  # of scenes with one, two, three, four people
MOST_PEOPLE = len(_SHARES)
_MIN_AREA, _MIN_SHARE = 350, 0.35  # px; share of the area if nobody stood in front


@dataclass(frozen=True)
class Scene:
    """The picture (RGB), its place, and the people in it, the farthest first."""

    picture: Image.Image
    place: str
    views: tuple[View, ...]

    def left_to_right(self) -> list[int]:
        """Indices of the people by the middle of their boxes."""
        return sorted(range(len(self.views)), key=lambda i: self.views[i].center_x)

    @property
    def clear(self) -> bool:
        """Whether everybody is large enough and not hidden too much."""
        return all(view.area >= max(_MIN_AREA, _MIN_SHARE * view.whole_area) for view in self.views)


def sample_scene(rng: Random, *, held_out: bool = False, max_people: int = MOST_PEOPLE) -> Scene:
    """A scene of up to `max_people`, everybody clearly visible; held_out: all wear what only `unseen` shows."""
    counts, shares = range(1, max_people + 1), _SHARES[:max_people]
    for attempt in range(_ATTEMPTS):
        count = 1 if attempt == _ATTEMPTS - 1 else rng.choices(counts, shares)[0]
        width = rng.randrange(192, 321, 8) if count < 3 else rng.randrange(256, 321, 8)
        actors = _cast(rng, count, held_out)
        scene = _draw(rng, actors, (width, rng.randrange(192, 321, 8)))
        if scene.clear:
            break
    return scene


def _cast(rng: Random, count: int, held_out: bool) -> list[Actor]:
    """People who sometimes share clothes, so that one word is seldom enough."""
    actors: list[Actor] = []
    for _ in range(count):
        person, pose = sample_person(rng, held_out=held_out), sample_pose(rng)
        if actors and rng.random() < 0.5:
            person = _borrow(person, rng.choice(actors).person, rng)
        colour = rng.choice(tuple(COLOURS))
        actors.append(Actor(person, pose, colour, draw_colour(colour, rng), rng.random() < 0.5))
    return actors


def _borrow(person: Person, other: Person, rng: Random) -> Person:
    """The person in one garment of another's, of the same kind as before."""
    shared = [slot for slot in person.garments if slot in other.garments and not person.garments[slot].held_out]
    shared = [slot for slot in shared if person.garments[slot].kind == other.garments[slot].kind]
    if not shared:
        return person
    slot = rng.choice(shared)
    mine = person.garments[slot]
    lent = replace(other.garments[slot], open=mine.open, long=mine.long)
    return replace(person, garments={**person.garments, slot: lent})


def _draw(rng: Random, actors: list[Actor], size_wh: tuple[int, int]) -> Scene:
    """Places, draws and paints the actors, the farthest first."""
    horizon = rng.uniform(0.42, 0.6) * size_wh[1]
    skeletons = _place(rng, actors, size_wh, horizon)
    order = sorted(range(len(actors)), key=lambda i: skeletons[i].ground_y)
    actors, skeletons = [actors[i] for i in order], [skeletons[i] for i in order]
    place, background = draw_background((size_wh[0] * SCALE, size_wh[1] * SCALE), horizon * SCALE, rng)
    seat_rgb = rng.choice(((150, 108, 70), (92, 92, 98), (186, 150, 104), (70, 84, 108)))
    part_map, whole = PartMap(size_wh), []
    for number, (actor, skeleton) in enumerate(zip(actors, skeletons, strict=True)):
        first = len(part_map.parts)
        draw_person(
            Pen(part_map, number), actor.person, actor.pose, skeleton,
            prop_rgb=actor.prop_rgb, prop_large=actor.prop_large, seat_rgb=seat_rgb,
        )  # fmt: skip
        counts = part_map.image.histogram()[first : len(part_map.parts)]
        drawn = zip(part_map.parts[first:], counts, strict=True)
        whole.append(sum(count for part, count in drawn if part.owner == number) // SCALE**2)
    shadow, style = _shadow(background.size, skeletons), _sample_style(rng)
    picture = paint(part_map, background, shadow=shadow, style=style, seed=rng.getrandbits(32))
    return Scene(picture=picture, place=place, views=look_at(part_map, actors, skeletons, whole))


def _place(rng: Random, actors: list[Actor], size_wh: tuple[int, int], horizon: float) -> list[Skeleton]:
    """Size and place of each: smaller people stand nearer the horizon, as a camera at head height sees them."""
    width, height = size_wh
    close = rng.random() < 0.14
    largest = rng.uniform(1.15, 1.7) * height if close else rng.uniform(0.66, 0.92) * height
    floor = height + largest - rng.uniform(0.75, 0.9) * height if close else rng.uniform(0.94, 0.985) * height
    slots = list(range(len(actors)))
    rng.shuffle(slots)
    skeletons = []
    for slot, actor in zip(slots, actors, strict=True):
        nearness = 1.0 if close or len(actors) == 1 else rng.choice((1.0, rng.uniform(0.76, 1.0)))
        spread = rng.uniform(-0.24, 0.24) if len(actors) > 1 else rng.uniform(-0.3, 0.3)
        x = (0.06 + 0.88 * (slot + 0.5 + spread) / len(actors)) * width
        if rng.random() < 0.06 and slot in (0, len(actors) - 1):
            x = rng.uniform(-0.01, 0.04) * width if slot == 0 else rng.uniform(0.96, 1.01) * width
        size = nearness * largest * (0.76 if actor.person.child else rng.uniform(0.94, 1.04))
        ground = floor if close else horizon + nearness * (floor - horizon)
        skeletons.append(pose_skeleton(actor.person, actor.pose, size=size, x=x, ground_y=ground))
    return skeletons


def _shadow(size_wh: tuple[int, int], skeletons: list[Skeleton]) -> Image.Image:
    """A soft spot under everybody, L of `size_wh` (map px)."""
    mask = Image.new("L", size_wh)
    pen = ImageDraw.Draw(mask)
    for skeleton in skeletons:
        x, y = float(skeleton.xy("pelvis")[0]) * SCALE, (skeleton.ground_y - 0.01 * skeleton.size) * SCALE
        for grow, level in ((0.24, 22), (0.17, 44)):
            wide = grow * skeleton.size * SCALE
            pen.ellipse((x - wide, y - wide * 0.22, x + wide, y + wide * 0.22), fill=level)
    return mask


def _sample_style(rng: Random) -> Style:
    return Style(
        outline=rng.choice((0, 1, 1)),
        shade=rng.choice((0, 3, 4, 5)),
        warmth=rng.uniform(-0.035, 0.035),
        noise=rng.choice((0.0, 0.0, 2.0, 4.0)),
        blur=rng.choice((0.0, 0.0, 0.0, 1.25)),
    )
