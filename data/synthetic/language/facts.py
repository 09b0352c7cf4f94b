"""Facts that can be said about a person: words with the predicate that they stand for."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ..picture.scene import Scene
from ..picture.skeleton import PROP_ARMS, STANCES
from ..picture.views import Actor
from ..picture.wardrobe import KINDS, Garment, Person
from . import predicates as told
from .predicates import Truth

Holds = Callable[[Scene, int], Truth]

NOUNS = {
    "person": ("person", "person", "individual"),
    "child": ("child", "kid"),
    "man": ("man", "man", "guy"),
    "woman": ("woman", "woman", "lady"),
    "boy": ("boy", "boy", "young boy"),
    "girl": ("girl", "girl", "young girl"),
}
_PLURAL = ("pants", "shorts", "shoes", "boots", "socks", "gloves", "sunglasses")
_COMMON = ("shirt", "t-shirt", "pants", "shoes")  # too common to be named without a colour or pattern
_SYNONYMS = {
    "pants": ("pants", "trousers"), "sunglasses": ("sunglasses", "dark glasses"), "sweater": ("sweater", "pullover"),
    "beanie": ("beanie", "woolly hat"), "cap": ("cap", "baseball cap"), "gray": ("gray", "grey"),
    "checked": ("checked", "checkered"), "dotted": ("dotted", "polka dot", "spotted"),
    "striped": ("striped", "stripy"),
}  # fmt: skip
STANCE_WORDS = {
    "standing": ("standing", "standing upright"), "walking": ("walking", "walking along", "taking a walk"),
    "running": ("running", "on the run", "running fast"), "sitting": ("sitting", "seated", "sitting down"),
    "squatting": ("squatting", "crouching"), "kneeling": ("kneeling", "on one knee"),
    "jumping": ("jumping", "in the air", "leaping into the air"),
}  # fmt: skip
GESTURE_WORDS = {
    "waving": ("waving", "waving a hand"), "crossed": ("with crossed arms", "with arms folded"),
    "hips": ("with hands on hips", "with both hands on the hips"),
    "raised": ("with both arms raised", "raising both arms", "with arms up in the air"),
    "pointing": ("pointing", "pointing at something", "with an outstretched arm"),
}  # fmt: skip
PROP_WORDS = {
    "bucket": "carrying {}", "umbrella": "holding {}", "balloon": "with {}", "ball": "holding {}", "book": "reading {}",
}  # fmt: skip
HAIR_WORDS = {
    "short": "short{} hair", "long": "long{} hair", "bob": "a{} bob", "curly": "curly{} hair",
    "pigtails": "{} pigtails", "bun": "{} hair in a bun",
}  # fmt: skip
_FACING_WORDS = {
    "front": ("facing the camera", "turned towards the camera"),
    "back": ("seen from behind", "facing away from the camera", "turned away from the camera"),
    "left": ("facing left", "turned to the left", "in profile facing left"),
    "right": ("facing right", "turned to the right", "in profile facing right"),
}


@dataclass(frozen=True)
class Fact:
    """Something said about a person. words: ways to say it. role: noun, adjective, wearing, with, doing or place.

    An expression has at most one fact of a topic. family: look, action, position, relation, negation or reasoning.
    """

    topic: str
    role: str
    words: tuple[str, ...]
    holds: Holds
    family: str = "look"


def _of_view(predicate: Callable[..., Truth], *args: str, **asked: object) -> Holds:
    return lambda scene, index: predicate(scene.views[index], *args, **asked)


def _not_of_view(predicate: Callable[..., Truth], *args: str, **asked: object) -> Holds:
    return lambda scene, index: told.negate(predicate(scene.views[index], *args, **asked))


def with_article(words: str) -> str:
    """The words with "a" or "an"; a plural stays as it is."""
    if words.split()[-1] in _PLURAL or words.endswith(("glasses", "trousers")):
        return words
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def garment_words(garment: Garment, *, colour: bool = True, pattern: bool = True, kind: str = "") -> tuple[str, ...]:
    """Ways to name a garment: "a red striped coat", "a striped red coat" ..."""
    names = []
    for noun in _SYNONYMS.get(kind or garment.kind, (kind or garment.kind,)):
        hues = _SYNONYMS.get(garment.colour, (garment.colour,)) if colour else ("",)
        for hue in hues:
            if not pattern or garment.pattern == "plain":
                names.append(f"{hue} {noun}")
                continue
            for texture in _SYNONYMS[garment.pattern]:
                names += [f"{hue} {texture} {noun}", f"{texture} {hue} {noun}"]
    return tuple(with_article(" ".join(name.split())) for name in names)


def noun_facts(scene: Scene, index: int) -> list[Fact]:
    """The nouns that are true of a person, "person" first."""
    nouns = [Fact("noun", "noun", words, _of_view(told.is_noun, noun)) for noun, words in NOUNS.items()]
    return [fact for fact in nouns if fact.holds(scene, index)]


def wearing_facts(garment: Garment) -> list[Fact]:
    """What can be said about one garment."""
    slot, kind, hue = garment.slot, garment.kind, garment.colour
    if slot == "sunglasses":
        return [Fact(slot, "wearing", garment_words(garment, colour=False), _of_view(told.wears, slot))]
    coloured = _of_view(told.wears, slot, kind=kind, colour=hue)
    facts = [Fact(slot, "wearing", garment_words(garment, pattern=False), coloured)] * 2  # likelier than the others
    if kind not in _COMMON:
        words = garment_words(garment, colour=False, pattern=False)
        facts.append(Fact(slot, "wearing", words, _of_view(told.wears, slot, kind=kind)))
    if garment.pattern != "plain":
        exact = {"kind": kind, "pattern": garment.pattern}
        facts.append(Fact(slot, "wearing", garment_words(garment), _of_view(told.wears, slot, colour=hue, **exact)))
        facts.append(Fact(slot, "wearing", garment_words(garment, colour=False), _of_view(told.wears, slot, **exact)))
    if slot == "top":
        words = garment_words(garment, pattern=False, kind="top")
        facts.append(Fact(slot, "wearing", words, _of_view(told.wears, slot, colour=hue)))
    for trait in ("open", "long"):
        if getattr(garment, trait):
            words = tuple(with_article(f"{trait} {name}") for name in (f"{hue} {kind}", kind))
            holds_it = _of_view(told.wears, slot, kind=kind, **{trait: True})
            facts.append(Fact(slot, "wearing", words[1:], holds_it))
            coloured = _of_view(told.wears, slot, kind=kind, colour=hue, **{trait: True})
            facts.append(Fact(slot, "wearing", words[:1], coloured))
    return facts


def colour_fact(colour: str) -> Fact:
    """Being dressed in a colour, whatever the garment."""
    hues = _SYNONYMS.get(colour, (colour,))
    words = tuple(f"{verb} {hue}" for verb in ("in", "dressed in", "wearing") for hue in hues)
    return Fact("colour", "doing", words, _of_view(told.dressed_in, colour))


def look_facts(person: Person) -> list[Fact]:
    """What could be said about hair like this person's, and about a beard."""
    facts = [Fact("hair", "adjective", ("bald",), _of_view(told.has_hair, style="bald"))]
    if person.hair != "bald":
        hue, style = person.hair_colour, person.hair
        words = HAIR_WORDS[style]
        facts += [
            Fact("hair", "with", (f"{hue} hair",), _of_view(told.has_hair, colour=hue)),
            Fact("hair", "with", (words.format("").strip(),), _of_view(told.has_hair, style=style)),
            Fact("hair", "with", (words.format(f" {hue}").strip(),), _of_view(told.has_hair, style=style, colour=hue)),
        ]
        if hue in ("blond", "red", "gray"):
            facts.append(Fact("hair", "adjective", (f"{hue}-haired",), _of_view(told.has_hair, colour=hue)))
    facts.append(Fact("beard", "with", ("a beard",), _of_view(told.has_beard)))
    facts.append(Fact("beard", "adjective", ("bearded",), _of_view(told.has_beard)))
    return facts


def action_facts(actor: Actor) -> list[Fact]:
    """What could be said of stance, arms, things held and facing, with this actor's hand and colour of the thing."""
    action = partial(Fact, family="action")
    facts = [action("stance", "doing", STANCE_WORDS[s], _of_view(told.does, s)) for s in STANCES]
    facts += [action("gesture", "doing", GESTURE_WORDS[g], _of_view(told.gestures, g)) for g in told.KNOWN_GESTURES]
    hand = actor.pose.hand
    raised = (f"waving with the {hand} hand", f"raising the {hand} hand to wave")
    facts.append(action("gesture", "doing", raised, _of_view(told.gestures, "waving", hand=hand)))
    for prop in PROP_ARMS:
        hue = actor.prop_colour
        plain, coloured = (PROP_WORDS[prop].format(with_article(name)) for name in (prop, f"{hue} {prop}"))
        facts.append(action("gesture", "doing", (plain,), _of_view(told.holds, prop)))
        facts.append(action("gesture", "doing", (coloured,), _of_view(told.holds, prop, colour=hue)))
    facts += [action("facing", "doing", words, _of_view(told.faces, way)) for way, words in _FACING_WORDS.items()]
    return facts


def position_facts(scene: Scene) -> list[Fact]:
    """Every place in a picture that could be a person's."""
    count, place = len(scene.views), partial(Fact, "position", family="position")
    facts: list[Fact] = []
    words: tuple[str, ...]
    for side in ("left", "right"):
        words = (f"on the {side}", f"on the {side} side of the picture", f"at the {side}")
        facts.append(place("place", words, partial(told.on_side, side=side)))
        rank = 0 if side == "left" else -1
        words = (f"on the far {side}", f"furthest to the {side}")
        if count > 1:
            facts.append(place("place", words, partial(told.has_rank, rank=rank)))
            facts.append(place("adjective", (f"{side}most",), facts[-1].holds))
        if count > 2:
            second = 1 if side == "left" else -2
            words = (f"second from the {side}", f"in second place from the {side}")
            facts.append(place("place", words, partial(told.has_rank, rank=second)))
    if count in (1, 2):
        words = ("in the middle of the picture", "in the center of the picture")
        facts.append(place("place", words, partial(told.on_side, side="middle")))
    if count == 3:
        words = ("in the middle", "in the center", "between the other two people")
        facts.append(place("place", words, partial(told.has_rank, rank=1)))
    depth = {
        "nearest": ("closest to the camera", "nearest to us", "in the foreground"),
        "farthest": ("farthest from the camera", "in the background", "furthest away"),
    }
    for way, words in depth.items():
        facts.append(Fact("depth", "place", words, partial(told.is_extreme, way=way), family="position"))
    hidden = ("partly hidden behind somebody", "partly covered by another person")
    facts.append(Fact("covered", "doing", hidden, _of_view(told.is_covered), family="relation"))
    cut = ("partly outside the picture", "cut off by the edge of the picture")
    facts.append(Fact("cut", "doing", cut, _of_view(told.is_cut), family="position"))
    return facts


def negations(scene: Scene) -> list[Fact]:
    """What people could lack: things to wear, a stance, something in the hands."""
    no = partial(Fact, family="negation")
    facts: list[Fact] = []
    words: tuple[str, ...]
    for slot in ("hat", "sunglasses", "scarf", "gloves", "outer", "socks"):
        noun = {"outer": "coat or jacket", "scarf": "scarf", "hat": "hat"}.get(slot, slot)
        thing = with_article(noun)
        words = (f"without {thing}", f"not wearing {thing}", f"who is not wearing {thing}")
        facts.append(no(f"no {slot}", "doing", words, _not_of_view(told.wears, slot)))
    facts.append(no("no shoes", "doing", ("barefoot", "without shoes"), _not_of_view(told.wears, "shoes")))
    for stance in ("sitting", "standing", "running", "walking"):
        words = (f"not {stance}", f"who is not {stance}")
        facts.append(no("stance", "doing", words, _not_of_view(told.does, stance)))
    away = ("not facing the camera", "who is not looking at the camera")
    facts.append(no("facing", "doing", away, _not_of_view(told.faces, "front")))
    facts.append(no("gesture", "doing", ("with empty hands", "not holding anything"), _of_view(told.holds, "")))
    garments = [told.garment_seen(v, slot) for v in scene.views for slot in ("top", "bottom", "dress")]
    for garment in garments:
        if garment and garment.kind in KINDS["bottom"] + KINDS["dress"]:
            words = tuple(f"not wearing {name}" for name in garment_words(garment, pattern=False))
            asked = {"kind": garment.kind, "colour": garment.colour}
            facts.append(no(garment.slot, "doing", words, _not_of_view(told.wears, garment.slot, **asked)))
    return facts


def facts_of(scene: Scene, index: int) -> list[Fact]:
    """Everything except nouns and relations that is true of a person and can be seen."""
    view = scene.views[index]
    worn = [fact for g in view.actor.person.garments.values() if g.slot in view.slots for fact in wearing_facts(g)]
    looks, actions = look_facts(view.actor.person), action_facts(view.actor)
    every = [*worn, *looks, *actions, *position_facts(scene), *negations(scene)]
    return [fact for fact in every if fact.holds(scene, index)]


def relation_facts(scene: Scene, index: int, names: dict[int, str]) -> list[Fact]:
    """Where a person is relative to others; names: what to call people, words that fit nobody else."""
    relation = partial(Fact, family="relation")
    facts: list[Fact] = []
    words: tuple[str, ...]
    others = {other: name for other, name in names.items() if other != index}
    for other, name in others.items():
        for side in ("left", "right"):
            words = (f"to the {side} of {name}", f"further {side} than {name}", f"{side} of {name}")
            where = partial(told.beside, other=other, side=side)
            facts.append(relation("position", "place", words, where))
            words = (f"directly to the {side} of {name}", f"next to {name}, on the {side}")
            facts.append(relation("position", "place", words, partial(told.next_to, other=other, side=side)))
        behind = (f"partly hidden behind {name}", f"partly covered by {name}", f"behind {name}")
        facts.append(relation("covered", "place", behind, partial(_behind, other=other)))
        for second, other_name in others.items():
            if second != other:
                words = (f"between {name} and {other_name}",)
                facts.append(relation("position", "place", words, partial(_between, one=other, two=second)))
    return [fact for fact in facts if fact.holds(scene, index)]


def _behind(scene: Scene, index: int, other: int) -> Truth:
    covered = told.is_covered(scene.views[index])
    return covered if covered is not True or other in scene.views[index].behind else None


def _between(scene: Scene, index: int, *, one: int, two: int) -> Truth:
    return told.all_of((told.beside(scene, index, one, side="right"), told.beside(scene, index, two, side="left")))
