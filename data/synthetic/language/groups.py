"""Expressions for nobody, one person or several, with everybody whom each fits.

An expression is used only if nobody in the picture leaves it in doubt: of each person it is True or False, never None.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random

from ..picture.scene import Scene
from ..picture.wardrobe import COLOURS, HAIR_COLOURS, HAIR_STYLES, KINDS, PATTERNS, Garment, sample_garment
from . import predicates as told
from .expressions import Expression, Names, draw_facts, expressions_for, fits, names_in
from .facts import (
    NOUNS,
    Fact,
    Holds,
    action_facts,
    colour_fact,
    facts_of,
    look_facts,
    negations,
    noun_facts,
    position_facts,
    wearing_facts,
)
from .plurals import word_everybody, word_for
from .predicates import Truth
from .reasoning import riddle_for

_TRIES = 16
_SEVERAL = {"alike": 60, "everybody": 13, "pair": 10, "but": 9, "beside": 8, "ends": 7}
_ONE = {"single": 46, "riddle": 8, "alike": 38, "but": 4, "beside": 4, "everybody": 3}
_NEAR = {"garment": 8, "borrowed": 7, "noun": 5, "action": 4, "hair": 2, "colour": 2, "lack": 1, "side": 2, "beside": 1}


def fitting(scene: Scene, facts: tuple[Fact, ...]) -> tuple[int, ...] | None:
    """Everybody for whom all facts hold; None if that is in doubt for anybody."""
    truths = [fits(scene, index, facts) for index in range(len(scene.views))]
    return None if None in truths else tuple(index for index, truth in enumerate(truths) if truth)


def among_first(scene: Scene, index: int, *, side: str, count: int) -> Truth:
    """Whether a person is one of the `count` people who are furthest to a side."""
    others = [k for k in range(len(scene.views)) if k != index]
    outside = sum(told.beside(scene, k, index, side=side) is True for k in others)
    inside = sum(told.beside(scene, index, k, side=side) is True for k in others)
    return False if outside >= count else True if inside >= len(scene.views) - count else None


class Speaker:
    """Finds expressions for a picture.

    pools: of each person, what is true and can be said of any number of people. names: what to call people.
    """

    def __init__(self, scene: Scene, rng: Random, *, looks: bool = False, held_out: bool = False) -> None:
        """rng: the source of all chance. looks: only those are mentioned. held_out: garments of HELD_OUT may be."""
        self.scene, self.rng, self.looks, self.held_out = scene, rng, looks, held_out
        self.pools = [self._pool(index) for index in range(len(scene.views))]
        self.names: Names = {} if looks else names_in(scene, rng)

    def several(self) -> Expression | None:
        """An expression that fits two people or more."""
        return self._first(_SEVERAL, 2, len(self.scene.views))

    def one(self) -> Expression | None:
        """An expression that fits one person."""
        return self._first(_ONE, 1, 1)

    def near_miss(self) -> Expression | None:
        """An expression that fits nobody, though all of it but one thing is true of somebody."""
        kinds = [kind for kind in _NEAR if not self.looks or kind in ("garment", "noun", "borrowed", "hair", "colour")]
        for _ in range(2 * _TRIES):
            index = self.rng.randrange(len(self.scene.views))
            wrong = self._wrong(self.rng.choices(kinds, [_NEAR[kind] for kind in kinds])[0], index)
            if not wrong or wrong.holds(self.scene, index) is not False:
                continue
            nouns = noun_facts(self.scene, index)
            noun = nouns[-1] if self.rng.random() < 0.6 else self.rng.choice(nouns)
            facts = (wrong,) if wrong.role == "noun" else (noun, wrong)
            drawn = draw_facts(self.pools[index], list(facts), len(facts) + self.rng.choice((0, 1, 1, 2)), self.rng)
            if _goes_together(drawn) and fitting(self.scene, tuple(drawn)) == ():
                return Expression(word_for(tuple(drawn), self.rng, count=0), tuple(drawn))
        return None

    def of_another(self, other: "Speaker") -> Expression | None:
        """An expression that fits somebody in another picture and nobody in this one."""
        for _ in range(_TRIES):
            index = self.rng.randrange(len(other.scene.views))
            nouns = noun_facts(other.scene, index)
            noun = nouns[-1] if self.rng.random() < 0.7 else self.rng.choice(nouns)
            facts = tuple(draw_facts(other.pools[index], [noun], self.rng.choice((2, 2, 3, 3, 4)), self.rng))
            if _goes_together(facts) and fitting(self.scene, facts) == ():
                return Expression(word_for(facts, self.rng, count=0), facts)
        return None

    def _first(self, weights: dict[str, int], fewest: int, most: int) -> Expression | None:
        """The first expression that fits so many people."""
        makers: dict[str, Callable[[], Expression | None]] = {
            "single": self._single, "riddle": self._riddle, "alike": partial(self._alike, fewest=fewest),
            "everybody": self._everybody, "pair": self._pair, "but": self._but,
            "beside": partial(self._beside, fewest=fewest), "ends": self._ends,
        }  # fmt: skip
        kinds = [kind for kind in weights if not (self.looks and kind in ("riddle", "ends"))]
        for _ in range(_TRIES):
            kind = self.rng.choices(kinds, [weights[kind] for kind in kinds])[0]
            found = makers[kind]()
            who = fitting(self.scene, found.facts) if found else None
            if who is not None and fewest <= len(who) <= most:
                return found
        return None

    def _pool(self, index: int) -> list[Fact]:
        view = self.scene.views[index]
        colours = {g.colour: None for g in view.actor.person.garments.values() if g.slot in view.slots}
        dressed = [fact for fact in map(colour_fact, colours) if fact.holds(self.scene, index)]
        pool = [fact for fact in facts_of(self.scene, index) if _of_any_picture(fact)] + 4 * dressed
        return [fact for fact in pool if fact.family == "look"] if self.looks else pool

    def _single(self) -> Expression | None:
        """As for tasks that ask for one person."""
        index = self.rng.randrange(len(self.scene.views))
        said = expressions_for(
            self.scene, index, self.rng, names=self.names, count=1, held_out=self.held_out, looks=self.looks
        )
        return said[0] if said else None

    def _riddle(self) -> Expression | None:
        index = self.rng.randrange(len(self.scene.views))
        return riddle_for(self.scene, index, self.rng, names=self.names)

    def _alike(self, *, fewest: int) -> Expression | None:
        """What these people, and nobody else, have in common."""
        people = range(len(self.scene.views))
        index = self.rng.choice(people)
        pool = self.pools[index]
        if fewest > 1:
            pool = [fact for fact in pool if sum(fact.holds(self.scene, k) is True for k in people) >= fewest]
        nouns = noun_facts(self.scene, index)
        noun = self.rng.choice((nouns[-1], nouns[0], self.rng.choice(nouns)))
        count = 1 if len(nouns) > 1 and noun is not nouns[0] and self.rng.random() < 0.2 else self.rng.choice((2, 2, 3))
        facts = tuple(draw_facts(pool, [noun], count, self.rng))
        who = fitting(self.scene, facts) if len(facts) == count and _goes_together(facts) else None
        return Expression(word_for(facts, self.rng, count=len(who)), facts) if who else None

    def _everybody(self) -> Expression:
        return _of_all(word_everybody(self.rng, len(self.scene.views)), lambda *_: True)

    def _pair(self) -> Expression | None:
        if len(self.names) < 2:
            return None
        pair = self.rng.sample(sorted(self.names), 2)
        text = " and ".join(self.names[index] for index in pair)
        return _of_all(self.rng.choice((text, f"both {text}")), lambda _, index: index in pair)

    def _but(self) -> Expression | None:
        """Everybody except somebody."""
        if not self.names or len(self.scene.views) < 2:
            return None
        left_out = self.rng.choice(sorted(self.names))
        heads = "everyone except", "everybody but", "all people except", "everybody except", "all the people except"
        return _of_all(f"{self.rng.choice(heads)} {self.names[left_out]}", lambda _, index: index != left_out)

    def _beside(self, *, fewest: int) -> Expression | None:
        """Everybody, or everybody of a kind, on one side of somebody."""
        if not self.names:
            return None
        other, side = self.rng.choice(sorted(self.names)), self.rng.choice(("left", "right"))
        place = self._fact_beside(other, side)
        noun = self.rng.choice(noun_facts(self.scene, self.rng.randrange(len(self.scene.views))))
        who = fitting(self.scene, (noun, place))
        enough = who is not None and len(who) >= fewest
        return Expression(word_for((noun, place), self.rng, count=len(who or ())), (noun, place)) if enough else None

    def _fact_beside(self, other: int, side: str) -> Fact:
        name = self.names[other]
        words = (f"to the {side} of {name}", f"on the {side} of {name}")
        return Fact("position", "place", words, partial(told.beside, other=other, side=side), family="relation")

    def _ends(self) -> Expression | None:
        """The two people on the far left, say, of three or more."""
        if len(self.scene.views) < 3:
            return None
        side = self.rng.choice(("left", "right"))
        texts = f"the two {side}most people", f"the two people furthest to the {side}"
        return _of_all(self.rng.choice(texts), partial(among_first, side=side, count=2), family="position")

    def _wrong(self, kind: str, index: int) -> Fact | None:
        """Something of a kind that could be said of this person and may be wrong."""
        facts: list[Fact] = []
        actor = self.scene.views[index].actor
        if kind == "garment":
            facts = self._wrong_garments(index)
        elif kind == "borrowed":
            others = [k for k in range(len(self.scene.views)) if k != index]
            facts = self.pools[self.rng.choice(others)] if others else []
        elif kind == "noun":
            facts = [Fact("noun", "noun", words, partial(_is_noun, noun=noun)) for noun, words in NOUNS.items()]
        elif kind == "action":
            facts = action_facts(actor)
        elif kind == "hair":
            styles = HAIR_STYLES[actor.person.sex]
            style, hue = self.rng.choice(styles), self.rng.choice(tuple(HAIR_COLOURS))
            facts = look_facts(replace(actor.person, hair=style, hair_colour=hue))
        elif kind == "colour":
            facts = [colour_fact(self.rng.choice(tuple(COLOURS)))]
        elif kind in ("lack", "side"):
            facts = negations(self.scene) if kind == "lack" else position_facts(self.scene)
        elif self.names:
            facts = [self._fact_beside(self.rng.choice(sorted(self.names)), self.rng.choice(("left", "right")))]
        facts = [fact for fact in facts if kind == "beside" or _of_any_picture(fact)]
        return self.rng.choice(facts) if facts else None

    def _wrong_garments(self, index: int) -> list[Fact]:
        """The right garment in another colour or pattern, or another garment in the right colour."""
        view, rng = self.scene.views[index], self.rng
        worn = [g for slot, g in view.actor.person.garments.items() if slot in view.slots and slot != "sunglasses"]
        if not worn:
            return []
        own = rng.choice(worn)
        free = [slot for slot in KINDS if slot not in view.actor.person.garments]
        changed: tuple[Garment, ...] = (
            replace(own, colour=rng.choice(tuple(COLOURS))),
            replace(own, colour=rng.choice(tuple(COLOURS)), pattern="plain"),
            replace(own, kind=rng.choice(KINDS[own.slot])),
            replace(sample_garment(rng.choice(free), rng), colour=own.colour, pattern="plain"),
        )
        if own.pattern != "plain":
            changed += (replace(own, pattern=rng.choice(PATTERNS)),)
        garment = rng.choice(changed)
        return wearing_facts(garment) if self.held_out or not garment.held_out else []


def _of_any_picture(fact: Fact) -> bool:
    """Whether what is said can be judged in every picture, and of several people: not places in an order."""
    return fact.topic not in ("position", "depth") or getattr(fact.holds, "func", None) is told.on_side


def _goes_together(facts: tuple[Fact, ...] | list[Fact]) -> bool:
    """Whether colours and garments are not mixed: "in red and a hat" is not said."""
    return not {"colour", "wearing"} <= {name for fact in facts for name in (fact.topic, fact.role)}


def _is_noun(scene: Scene, index: int, *, noun: str) -> Truth:
    return told.is_noun(scene.views[index], noun)


def _of_all(text: str, holds: Holds, family: str = "relation") -> Expression:
    return Expression(text, (Fact("group", "noun", (text,), holds, family=family),))
