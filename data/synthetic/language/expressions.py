"""Expressions that fit only one person of a picture: facts are drawn, checked on everybody, and worded."""

from dataclasses import dataclass
from random import Random

from ..picture.scene import Scene
from .facts import Fact, facts_of, noun_facts, relation_facts, wearing_facts
from .predicates import Truth, all_of

Names = dict[int, str]  # what to call the people of a scene
_TRIES = 16
# An expression belongs to the first family that it has.
_FAMILIES = ("reasoning", "relation", "negation", "action", "position", "look")
_WEIGHTS = {"look": 5, "action": 3, "position": 2}


@dataclass(frozen=True)
class Expression:
    """A text and the facts that it states; together they hold for one person only."""

    text: str
    facts: tuple[Fact, ...]

    @property
    def family(self) -> str:
        """The kind of thought that it takes."""
        return next(name for name in _FAMILIES if any(fact.family == name for fact in self.facts))


def fits(scene: Scene, index: int, facts: tuple[Fact, ...]) -> Truth:
    """Whether all facts hold for a person."""
    return all_of(fact.holds(scene, index) for fact in facts)


def fits_only(scene: Scene, index: int, facts: tuple[Fact, ...]) -> bool:
    """Whether the facts hold for this person and certainly not for anybody else."""
    others = (k for k in range(len(scene.views)) if k != index)
    return fits(scene, index, facts) is True and all(fits(scene, k, facts) is False for k in others)


def expressions_for(
    scene: Scene, index: int, rng: Random, *, names: Names, count: int, held_out: bool = False, looks: bool = False
) -> list[Expression]:
    """Up to `count` different expressions for one person.

    names: of the people in the scene, from `names_in`; not used with looks. held_out: each expression names a garment
    of HELD_OUT. looks: only looks are mentioned.
    """
    required = _held_out_facts(scene, index) if held_out else []
    if held_out and not required:
        return []
    pool, nouns = facts_of(scene, index), noun_facts(scene, index)
    if looks:
        pool, names = [fact for fact in pool if fact.family == "look"], {}
    relations = relation_facts(scene, index, names)
    found: dict[str, Expression] = {}
    for attempt in range(_TRIES):
        if len(found) == count:
            break
        use = relations if relations and (rng.random() < 0.25 or attempt > _TRIES // 2) else []
        first = [rng.choice(required)] if required else [rng.choice(use)] if use else []
        extra = rng.choice(use) if required and use and rng.random() < 0.5 else None
        drawn = draw_facts(pool, [*first, *([extra] if extra else [])], rng.choice((1, 1, 2, 2, 3)) + attempt // 6, rng)
        # the most telling noun, or sometimes a vaguer one
        facts = (nouns[-1] if rng.random() < 0.7 else rng.choice(nouns), *drawn)
        if fits_only(scene, index, facts):
            text = word(facts, rng)
            found.setdefault(text, Expression(text, facts))
    return list(found.values())


def _held_out_facts(scene: Scene, index: int) -> list[Fact]:
    view = scene.views[index]
    garments = [g for g in view.actor.person.garments.values() if g.held_out and g.slot in view.slots]
    return [wearing_facts(garment)[0] for garment in garments]


def draw_facts(pool: list[Fact], first: list[Fact], count: int, rng: Random) -> list[Fact]:
    """`first` and facts of other topics, `count` in all; looks are the likeliest."""
    facts = list(first)
    families = sorted({fact.family for fact in pool})
    weights = [_WEIGHTS.get(family, 1) for family in families]
    for _ in range(4 * count):
        if len(facts) >= count or not pool:
            break
        family = rng.choices(families, weights)[0]
        fact = rng.choice([fact for fact in pool if fact.family == family])
        negations = sum(f.family == "negation" for f in (*facts, fact))
        if fact.topic not in {f.topic for f in facts} and negations < 2:
            facts.append(fact)
    return facts


def names_in(scene: Scene, rng: Random) -> Names:
    """What to call each person of a scene: words about looks that fit nobody else; without such words, no entry."""
    names = {}
    for index in range(len(scene.views)):
        looks = [fact for fact in facts_of(scene, index) if fact.family == "look"]
        for count in (1, 1, 1, 2, 2) if looks else ():
            facts = (noun_facts(scene, index)[-1], *draw_facts(looks, [], count, rng))
            if fits_only(scene, index, facts):
                names[index] = word(facts, rng, plain=True)
                break
    return names


def word(facts: tuple[Fact, ...], rng: Random, *, plain: bool = False) -> str:
    """Facts as a noun phrase, in one of many ways; plain: "the man in a red coat", for use inside another phrase."""
    said = {role: [rng.choice(f.words) for f in facts if f.role == role] for role in _ROLES}
    clauses = [f"with {' and '.join(said['with'])}"] if said["with"] else []
    clauses.insert(rng.randint(0, len(clauses)), _wearing(said["wearing"], rng, plain) if said["wearing"] else "")
    clauses += [_doing(words, rng, plain) for words in sorted(said["doing"], key=lambda words: "not" in words.split())]
    relations = [fact.family == "relation" for fact in facts if fact.role == "place"]
    related = any(relations)
    last = sorted(zip(relations, said["place"], strict=True), key=lambda place: (place[0], " the " in place[1]))
    places = [words for _, words in last]  # another person's name comes last
    noun, style = " ".join([*said["adjective"], *said["noun"]]), rng.random()
    if plain or style < 0.55 or "most " in noun:
        article = "the "
    else:
        article = "" if style < 0.85 else "an " if noun[0] in "aeiou" else "a "
    phrase = [article + noun]
    if places and not plain and not related and rng.random() < 0.14 and places[0].startswith(("on ", "in ", "at ")):
        phrase = [f"{places.pop(0)},", *phrase]
    elif places and not related and rng.random() < 0.3:
        phrase.append(places.pop(0))
    return " ".join(part for part in (*phrase, *clauses, *places) if part)


def _wearing(garments: list[str], rng: Random, plain: bool) -> str:
    if not plain and rng.random() < 0.15:
        garments = [name.removeprefix("a ").removeprefix("an ") for name in garments]
    elif rng.random() < 0.25:
        garments = [f"the {name.removeprefix('a ').removeprefix('an ')}" for name in garments]
    verb = "in" if plain else rng.choice(("in", "in", "wearing", "wearing", "dressed in", "who is wearing"))
    return f"{verb} {' and '.join(garments)}"


def _doing(words: str, rng: Random, plain: bool) -> str:
    free = words.split()[0].endswith("ing") or words.startswith(("not ", "turned", "seen", "cut"))
    return f"who is {words}" if free and not plain and rng.random() < 0.3 else words


_ROLES = ("noun", "adjective", "wearing", "with", "doing", "place")
