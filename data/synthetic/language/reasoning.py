"""Expressions that take a step of thought, in the manner of ReasonRef: what follows from what is seen.

A riddle is a predicate of scene and person like any fact, so it is checked in the same way: true of one person and
certainly false of all others.
"""

from collections.abc import Callable
from functools import partial
from random import Random

from ..picture.props import BUCKET_SIZES
from ..picture.scene import Scene
from ..picture.views import View
from . import predicates as told
from .expressions import Expression, Names, fits_only
from .facts import Fact, Holds, facts_of
from .predicates import Truth

_MARGIN = 1.3  # ratio from which two sizes look different

_PEOPLE = ("nobody", "one person", "two people", "three people")
_WARMTH = {
    "coat": 3.0, "jacket": 2.5, "sweater": 1.5, "shirt": 0.5, "gloves": 1.0, "scarf": 1.0, "beanie": 1.0, "boots": 0.5,
    "shorts": -1.5, "tank top": -1.0, "skirt": -1.0, "dress": -0.5,
}  # fmt: skip


def _each(predicate: Callable[[View], Truth]) -> Holds:
    return lambda scene, index: predicate(scene.views[index])


def _most(value: Callable[[View], float | None], margin: Callable[[float, float], bool]) -> Holds:
    """Whether a person has the most of something; value: None where it cannot be seen."""

    def holds_most(scene: Scene, index: int) -> Truth:
        values = [amount for view in scene.views if (amount := value(view)) is not None]
        if len(values) < max(2, len(scene.views)):
            return None
        own = values.pop(index)
        return True if all(margin(own, other) for other in values) else False if own < max(values) else None

    return holds_most


def _bucket(view: View) -> float | None:
    """Half-width of the bucket in px, 0 without one; None where the hands are not seen."""
    held = told.holds(view, "bucket")
    if held is None:
        return None
    return BUCKET_SIZES["large" if view.actor.prop_large else "small"] * view.size if held else 0.0


def _warmth(view: View) -> float | None:
    """How warm the clothes are; None where some may be hidden."""
    if not {"head", "neck", "trunk", "hands", "legs"} <= view.regions:
        return None
    return sum(_WARMTH.get(garment.kind, 0.0) for garment in view.actor.person.garments.values())


def _coolness(view: View) -> float | None:
    warmth = _warmth(view)
    return None if warmth is None else -warmth


def _shaded(view: View) -> Truth:
    """Hats, caps and umbrellas keep the sun off; a beanie has no brim, and from behind a cap shows no peak."""
    worn = told.garment_seen(view, "hat")
    if told.holds(view, "umbrella") or (worn and worn.kind == "cap" and view.actor.pose.view == "back"):
        return None
    return worn.kind != "beanie" if worn else told.wears(view, "hat")


def _upper_and_lower_match(view: View) -> Truth:
    worn = view.actor.person.garments
    if "dress" in worn:
        return False if "dress" in view.slots else None
    upper = [worn[slot] for slot in ("top", "outer") if slot in worn]
    if len(upper) > 1:
        return None
    pair = upper[0], worn["bottom"]
    if not {g.slot for g in pair} <= view.slots or any(g.pattern != "plain" for g in pair):
        return None
    return told.wears(view, "bottom", colour=pair[0].colour)


def _must_rise(view: View) -> Truth:
    sits = told.does(view, "sitting")
    return None if view.actor.pose.stance in ("squatting", "kneeling") else sits


def _on_the_way(view: View) -> Truth:
    moving = told.does(view, "walking"), told.does(view, "running")
    return told.negate(told.all_of(told.negate(truth) for truth in moving))


def _faceless(view: View) -> Truth:
    if told.face_seen(view):
        return None if told.garment_seen(view, "sunglasses") else False  # they hide the eyes
    return told.turned_away(view) or None


# (wordings, the predicate that each of them stands for)
RIDDLES: tuple[tuple[tuple[str, ...], Holds], ...] = (
    (("the one who could carry more water", "who could bring the most water in one go?",
      "the person whose container holds the most water"), _most(_bucket, lambda a, b: a > _MARGIN * b)),
    (("the one who is dressed for the coldest weather", "who would freeze last on a winter day?",
      "the person with the warmest clothes"), _most(_warmth, lambda a, b: a >= b + 2)),
    (("the one dressed for the hottest day", "who would be cold first if it began to snow?"),
     _most(_coolness, lambda a, b: a >= b + 2)),
    (("the one who would stay dry in the rain", "who is ready for a rain shower?",
      "the person who does not mind if it starts to rain"), _each(lambda v: told.holds(v, "umbrella"))),
    (("the one whose fingers stay warm in the snow", "who leaves no fingerprints?",
      "the person who could make a snowball without cold fingers"), _each(lambda v: told.wears(v, "gloves"))),
    (("the one whose eyes are protected from bright light", "who is not dazzled by the sun?",
      "the person whose eyes cannot be seen because of what they wear"), _each(lambda v: told.wears(v, "sunglasses"))),
    (("the one whose face is shaded when the sun is high", "who wears something with a brim or peak?"), _each(_shaded)),
    (("the one who would be first to catch a bus that is about to leave", "who is in the greatest hurry?",
      "the fastest person in the picture"), _each(lambda v: told.does(v, "running"))),
    (("the one who would have to get up before leaving", "whose legs are resting?",
      "the person who needs a piece of furniture right now"), _each(_must_rise)),
    (("the one who is trying to catch somebody's eye", "who is saying hello or goodbye?",
      "the person greeting someone"), _each(lambda v: told.gestures(v, "waving"))),
    (("the one who leaves no footprints at this moment", "whose feet do not touch the ground?",
      "the person who will land in a moment"), _each(lambda v: told.does(v, "jumping"))),
    (("the one who would feel the grass between the toes", "who has to watch out for broken glass?",
      "the person who would get wet toes in a puddle"), _each(lambda v: told.negate(told.wears(v, "shoes")))),
    (("the one who could tell you a story word for word", "who needs good light for what they are doing?"),
     _each(lambda v: told.holds(v, "book"))),
    (("the one who could start a match", "who has what is needed for a game of catch?"),
     _each(lambda v: told.holds(v, "ball"))),
    (("the one whose thing would fly away when let go", "who should keep away from sharp needles?"),
     _each(lambda v: told.holds(v, "balloon"))),
    (("the one who would scrape the skin in a fall on the knees", "who feels the wind on bare knees?"),
     _each(told.knees_bare)),
    (("the one who does not know the photographer is there", "whose eyes the photographer cannot see from here?"),
     _each(_faceless)),
    (("the one who is too young to drive a car", "who still goes to school?",
      "the person who would get a child's ticket"), _each(lambda v: told.is_noun(v, "child"))),
    (("the one who has no need of a comb", "whom no hairdresser can help?"),
     _each(lambda v: told.has_hair(v, style="bald"))),
    (("the one wearing one colour above and below the waist", "whose top and bottom match in colour?"),
     _each(_upper_and_lower_match)),
    (("the one who will soon be somewhere else", "the person on the way to another place"), _each(_on_the_way)),
)  # fmt: skip


def _order_riddles(scene: Scene) -> list[Fact]:
    """Riddles that count from the sides."""
    count = len(scene.views)
    riddles: list[Fact] = []
    for rank in range(count) if count > 2 else ():
        left, right = (_PEOPLE[number] for number in (rank, count - 1 - rank))
        words = [f"the one with {left} on the left and {right} on the right"]
        if rank == 1:
            words.append("the one who would be leftmost if the person on the far left walked away")
        if rank == count - 2:
            words.append("the one who would be rightmost if the person on the far right walked away")
        if 2 * rank + 1 == count:
            words.append("the one with as many people on one side as on the other")
        riddles.append(_fact(tuple(words), partial(told.has_rank, rank=rank)))
    return riddles


def _odd_one_out(scene: Scene, index: int) -> list[Fact]:
    """Riddles about what all the others share and this person does not."""
    riddles: list[Fact] = []
    others = [k for k in range(len(scene.views)) if k != index]
    if len(others) < 2:
        return []
    for fact in facts_of(scene, others[0]):
        if fact.role in ("wearing", "doing") and fact.family in ("look", "action"):
            verb = ("wears", "wearing") if fact.role == "wearing" else ("is", "")
            said = [w for w in fact.words if verb[1] or w.split()[0].endswith("ing")]
            words = tuple(f"everybody but this person {verb[0]} {word}" for word in said)
            words += tuple(" ".join(f"the only one who is not {verb[1]} {word}".split()) for word in said)
            if words:
                riddles.append(_fact(words, partial(_lacks, fact=fact)))
    return riddles


def _lacks(scene: Scene, index: int, *, fact: Fact) -> Truth:
    return told.negate(fact.holds(scene, index))


def _ahead_riddles(names: Names) -> list[Fact]:
    """Riddles about whom another person would meet when walking straight on; names: what to call each."""
    riddles: list[Fact] = []
    for other, name in names.items():
        words = (
            f"the first person that {name} would meet when walking straight on",
            f"who would {name} bump into without turning?",
        )
        riddles.append(_fact(words, partial(_meets, other=other)))
    return riddles


def _meets(scene: Scene, index: int, other: int) -> Truth:
    """Whether a person is the next one in the direction, left or right, that another faces."""
    if index == other:
        return False
    for way in ("left", "right"):
        if told.faces(scene.views[other], way):
            rank = scene.left_to_right().index(other) + (-1 if way == "left" else 1)
            ahead = told.has_rank(scene, index, rank) if 0 <= rank < len(scene.views) else False
            return False if ahead is False else told.all_of((ahead, told.beside(scene, index, other, side=way)))
    return None


def _fact(words: tuple[str, ...], truth: Holds) -> Fact:
    return Fact("riddle", "riddle", words, truth, family="reasoning")


def riddle_for(scene: Scene, index: int, rng: Random, *, names: Names) -> Expression | None:
    """A riddle whose answer is this person, if there is one; names: what to call people."""
    if len(scene.views) < 2:
        return None
    plain = [_fact(words, truth) for words, truth in RIDDLES]
    rng.shuffle(plain)
    others = (_odd_one_out(scene, index), 2.0), (_ahead_riddles(names), 2.0), (_order_riddles(scene), 3.0)
    # the larger the number, the later a kind is tried
    for riddles, _ in sorted([(plain, 1.0), *others], key=lambda kind: rng.random() * kind[1]):
        for fact in rng.sample(riddles, len(riddles)):
            if fits_only(scene, index, (fact,)):
                return Expression(rng.choice(fact.words), (fact,))
    return None
