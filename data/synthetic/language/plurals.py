"""Facts worded for any number of people: "the two men in red coats", "everyone with a hat", "who is sitting?"."""

import re
from random import Random

from .expressions import word
from .facts import NOUNS, Fact

NUMBERS = ("no", "one", "two", "three", "four")
_NOUNS = {
    "person": "people", "individual": "people", "child": "children", "man": "men", "woman": "women", "lady": "ladies",
}  # fmt: skip
_GARMENTS = {"scarf": "scarves", "dress": "dresses"}
_THINGS = (
    "coat jacket shirt t-shirt sweater pullover top skirt hat cap beanie beard bob umbrella balloon ball book bucket"
)
_THING = re.compile(rf"\ban? ((?:(?! an? | or ).)*?)\b({_THINGS.replace(' ', '|')}|scarf|dress)$")
# How likely each wording is, by the number of people whom it fits: nobody, one, several.
_STYLES = (
    {"singular": 50, "plural": 28, "everyone": 14, "counted": 8},
    {"singular": 40, "plural": 40, "everyone": 20},
    {"singular": 16, "plural": 40, "everyone": 20, "counted": 24},
)


def word_for(facts: tuple[Fact, ...], rng: Random, *, count: int) -> str:
    """Facts, the noun first, as a phrase about everybody for whom they hold: `count` people."""
    styles = _STYLES[min(count, 2)]
    (style,) = rng.choices(tuple(styles), tuple(styles.values()))
    anybody, rest = facts[0].words == NOUNS["person"], facts[1:]
    if anybody and len(rest) == 1 and rng.random() < 0.1 and (asked := _question(rest[0], rng)):
        return asked
    if style == "singular":
        return word(facts, rng)
    if style == "everyone" and anybody and rest:
        head = rng.choice(("everyone", "everybody", "anyone", "every person"))
        return " ".join((head, *_clauses(rest, rng, many=False)))
    said = [rng.choice(fact.words) for fact in facts if fact.role == "adjective"]
    noun = " ".join((*said, _plural_noun(rng.choice(facts[0].words))))
    number = (count if count > 1 else rng.choice((2, 2, 3))) if style == "counted" else 0
    return " ".join((_head(noun, rng, number, bare=bool(rest)), *_clauses(rest, rng, many=True)))


def word_everybody(rng: Random, count: int) -> str:
    """All `count` people of a picture."""
    where = rng.choice(("", "", " in the picture"))
    heads = ["everyone", "everybody", "all people", "all the people", "every person", "the people"]
    if count == 1:
        heads += ["the person", "the only person"]
    else:
        heads += [f"the {NUMBERS[count]} people", "both people" if count == 2 else f"all {NUMBERS[count]} people"]
    return rng.choice(heads) + where


def _plural_noun(noun: str) -> str:
    return _NOUNS.get(noun, f"{noun}s")


def _head(noun: str, rng: Random, number: int, *, bare: bool) -> str:
    """ "the men", "all men", "both men"; bare: "men" will do, as more is said."""
    if number:
        total = f"both {noun}" if number == 2 else f"all {NUMBERS[number]} {noun}"
        return rng.choice((f"the {NUMBERS[number]} {noun}",) * 3 + (f"{NUMBERS[number]} {noun}", total))
    return rng.choice((f"the {noun}",) * 4 + (f"all {noun}", f"all the {noun}") + (noun,) * 2 * bare)


def _things(words: str, rng: Random) -> str:
    """ "holding an umbrella" as it is, or "holding umbrellas": both are said of several people."""
    if words.startswith(("not ", "without ", "who is not ")) or rng.random() < 0.5:
        return words
    return _THING.sub(lambda found: found[1] + _GARMENTS.get(found[2], f"{found[2]}s"), words)


def _clauses(facts: tuple[Fact, ...], rng: Random, *, many: bool) -> list[str]:
    """What follows the noun; many: in the plural, else as after "everyone"."""
    said: dict[str, list[str]] = {"with": [], "wearing": [], "doing": [], "place": []}
    for fact in facts:
        if fact.role == "adjective" and not many:  # "everyone bearded" is not said
            said["doing"].append(f"who is {rng.choice(fact.words)}")
        elif fact.role != "adjective":
            words = rng.choice(fact.words)
            said[fact.role].append(_things(words, rng) if many else words)
    clauses = [f"with {' and '.join(said['with'])}"] if said["with"] else []
    if said["wearing"]:
        verb = rng.choice(("in", "wearing", "wearing", "dressed in", "who are wearing", "who wear"))
        clauses.insert(rng.randint(0, len(clauses)), f"{verb} {' and '.join(said['wearing'])}")
    for words in said["doing"]:
        free = words.split()[0].endswith("ing") or words.startswith(("not ", "turned", "seen", "cut", "dressed"))
        clauses.append(f"who are {words}" if free and rng.random() < 0.3 else words)
    clauses += said["place"]
    if not many:
        clauses = [re.sub(r"^who wear\b", "who wears", clause) for clause in clauses]
    return [re.sub(r"^who (?:is|are)\b", "who are" if many else "who is", clause) for clause in clauses]


def _question(fact: Fact, rng: Random) -> str | None:
    words = rng.choice(fact.words)
    if fact.role in ("wearing", "with"):
        return f"who {'is wearing' if fact.role == 'wearing' else 'has'} {words}?"
    return f"who is {words}?" if words.split()[0].endswith("ing") and fact.role == "doing" else None
