"""Captions: one or two sentences about what is seen of a person, in several wordings."""

from random import Random

from ..picture.scene import Scene
from ..picture.skeleton import PROP_ARMS, STANCES
from ..picture.views import View
from . import predicates as told
from .facts import GESTURE_WORDS, HAIR_WORDS, NOUNS, PROP_WORDS, STANCE_WORDS, garment_words, noun_facts, with_article

_PRONOUNS = {"man": "he", "boy": "he", "woman": "she", "girl": "she"}
_ORDER = ("dress", "outer", "top", "bottom", "scarf", "gloves", "socks", "shoes", "hat", "sunglasses")
_FACING = {
    "front": "facing the camera",
    "back": "with the back to the camera",
    "left": "facing left",
    "right": "facing right",
}


def captions_for(scene: Scene, index: int, rng: Random, *, count: int) -> list[str]:
    """`count` captions of one person, each by a different sentence plan."""
    plans = rng.sample(_PLANS, count)
    return [" ".join(plan(scene, index, rng).split()) for plan in plans]


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else ""


def _noun(scene: Scene, index: int, rng: Random) -> tuple[str, str]:
    """A noun and the pronoun that goes with it."""
    fact = noun_facts(scene, index)[-1]
    name = next(name for name, words in NOUNS.items() if words == fact.words)
    return rng.choice(fact.words), _PRONOUNS.get(name, "the person")


def _looks(view: View) -> str:
    """Hair and beard where they are seen: "long black hair and a beard"."""
    person, words = view.actor.person, []
    if told.has_hair(view, style="bald"):
        words.append("a bald head")
    elif told.has_hair(view, style=person.hair, colour=person.hair_colour):
        words.append(HAIR_WORDS[person.hair].format(f" {person.hair_colour}").strip())
    elif told.has_hair(view, colour=person.hair_colour):
        words.append(f"{person.hair_colour} hair")
    if told.has_beard(view) and told.face_seen(view):
        words.append("a beard")
    return _listed(words)


def _clothes(view: View, rng: Random) -> str:
    worn = [g for slot in _ORDER if (g := told.garment_seen(view, slot)) and told.wears(view, slot, kind=g.kind)]
    return _listed([rng.choice(garment_words(g, colour=g.slot != "sunglasses")) for g in worn])


def _action(view: View, rng: Random) -> list[str]:
    """What can be seen of it: ["standing", "waving", "facing left"]."""
    words = [rng.choice(STANCE_WORDS[s]) for s in STANCES if told.does(view, s)]
    words += [rng.choice(GESTURE_WORDS[g]) for g in told.KNOWN_GESTURES if told.gestures(view, g)]
    colour = view.actor.prop_colour
    words += [PROP_WORDS[p].format(with_article(f"{colour} {p}")) for p in PROP_ARMS if told.holds(view, p)]
    return words + [words_of for way, words_of in _FACING.items() if told.faces(view, way)]


def _place(scene: Scene, index: int) -> str:
    share = scene.views[index].center_x / scene.picture.width
    side = "left" if share < 0.38 else "right" if share > 0.62 else ""
    return f"on the {side} side of the picture" if side else "in the middle of the picture"


def _with(looks: str) -> str:
    return f"with {looks}" if looks else ""


def _one_sentence(scene: Scene, index: int, rng: Random) -> str:
    view, (noun, _) = scene.views[index], _noun(scene, index, rng)
    action, clothes = _action(view, rng), _clothes(view, rng)
    dressed = f"wearing {clothes}" if clothes else ""
    doing = f"is {', '.join(action)}" if action else "is seen"
    return f"{with_article(noun).capitalize()} {_with(_looks(view))} {dressed} {doing} {_place(scene, index)}."


def _two_sentences(scene: Scene, index: int, rng: Random) -> str:
    view, (noun, pronoun) = scene.views[index], _noun(scene, index, rng)
    action, clothes, looks = _action(view, rng), _clothes(view, rng), _looks(view)
    first = f"{with_article(noun).capitalize()} is {', '.join([*action, _place(scene, index)])}."
    has = f"has {looks}" if looks else ""
    wears = f"{'is wearing' if rng.random() < 0.6 else 'wears'} {clothes}" if clothes else ""
    second = " and ".join(filter(None, (has, wears)))
    return f"{first} {pronoun.capitalize()} {second}." if second else first


def _place_first(scene: Scene, index: int, rng: Random) -> str:
    view, (noun, _) = scene.views[index], _noun(scene, index, rng)
    action, clothes = _action(view, rng), _clothes(view, rng)
    dressed = f"in {clothes}" if clothes else ""
    doing = f"is {_listed(action)}." if action else "can be seen."
    return f"{_place(scene, index).capitalize()}, {with_article(noun)} {_with(_looks(view))} {dressed} {doing}"


def _individual(scene: Scene, index: int, rng: Random) -> str:
    view, (noun, pronoun) = scene.views[index], _noun(scene, index, rng)
    action, clothes = _action(view, rng), _clothes(view, rng)
    dressed = f", wearing {clothes}" if clothes else ""
    second = f" {pronoun.capitalize()} is {_listed(action)}." if action else ""
    return f"The individual is {with_article(noun)} {_with(_looks(view))}".strip() + f"{dressed}.{second}"


_PLANS = (_one_sentence, _two_sentences, _place_first, _individual)
