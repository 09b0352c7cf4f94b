"""Drawn people: expressions for nobody, one or several fit exactly the people whose boxes are given."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from PIL import Image

from refhcm.data.synthetic.grec import ask_about, grec_rows
from refhcm.data.synthetic.language.expressions import fits
from refhcm.data.synthetic.language.facts import (
    NOUNS,
    Fact,
    colour_fact,
    garment_words,
    position_facts,
    relation_facts,
    wearing_facts,
)
from refhcm.data.synthetic.language.groups import Speaker, among_first, fitting
from refhcm.data.synthetic.language.plurals import word_everybody, word_for
from refhcm.data.synthetic.language.predicates import dressed_in
from refhcm.data.synthetic.picture.blank import draw_blank
from refhcm.data.synthetic.picture.scene import Scene, sample_scene
from refhcm.data.synthetic.picture.wardrobe import HELD_OUT, KINDS, Garment

PEOPLE = Fact("noun", "noun", NOUNS["person"], lambda *_: True)
MEN = Fact("noun", "noun", NOUNS["man"], lambda *_: True)
RED_COAT = wearing_facts(Garment("outer", "coat", "red", (200, 0, 0)))[0]
NUMBERS = {"two": 2, "three": 3, "four": 4}


@pytest.fixture(scope="module")
def scenes():
    return [sample_scene(Random(seed)) for seed in range(100)]


@pytest.fixture(scope="module")
def asked(scenes):
    """(scene, expression, kind) of everything that is asked about each scene."""
    rng, asked = Random(0), []
    for number, scene in enumerate(scenes):
        asked += [(scene, *found) for found in ask_about(scene, scenes[number - 1], rng)]
    return asked


def dressed(scene, *clothes):
    """The scene, with people in one visible garment each: (colour, kind) of the upper body."""
    views = []
    for k, (colour, kind) in enumerate(clothes):
        slot = next(slot for slot, kinds in KINDS.items() if kind in kinds)
        actor = scene.views[k].actor
        person = replace(actor.person, garments={slot: Garment(slot, kind, colour, (0, 0, 0))})
        regions = frozenset({"head", "neck", "trunk", "arms", "hands", "legs", "feet"})
        box = (100 - 40 * k, 10, 130 - 40 * k, 90)  # the first is on the right
        views.append(
            replace(
                scene.views[k],
                actor=replace(actor, person=person),
                slots=frozenset({slot}),
                regions=regions,
                box_xyxy=box,
            )
        )
    return Scene(Image.new("RGB", (200, 100)), "studio", tuple(views))


@pytest.fixture
def three(scenes):
    full = next(scene for scene in scenes if len(scene.views) >= 3)
    return dressed(full, ("red", "coat"), ("green", "coat"), ("red", "dress"))


def test_who_fits_by_hand(three):
    red, green = colour_fact("red"), colour_fact("green")
    green_coat = wearing_facts(Garment("outer", "coat", "green", (0, 200, 0)))[0]
    green_dress = wearing_facts(Garment("dress", "dress", "green", (0, 200, 0)))[0]
    assert fitting(three, (PEOPLE, red)) == (0, 2)
    assert fitting(three, (PEOPLE, green)) == fitting(three, (PEOPLE, green_coat)) == (1,)
    assert fitting(three, (PEOPLE, RED_COAT)) == (0,)
    assert fitting(three, (PEOPLE, green_dress)) == ()
    assert fitting(three, (PEOPLE,)) == (0, 1, 2)


def test_somebody_in_doubt_leaves_the_expression_out(three):
    views = three.views[0], replace(three.views[1], slots=frozenset()), three.views[2]
    assert fitting(replace(three, views=views), (PEOPLE, RED_COAT)) is None
    jacket = wearing_facts(Garment("outer", "jacket", "red", (200, 0, 0)))[0]
    assert fitting(three, (PEOPLE, jacket)) is None  # coats are easily taken for jackets


def test_the_two_leftmost_by_hand(three):
    # middles at 115, 75, 35 of 200 px: the last person is on the left
    assert [among_first(three, k, side="left", count=2) for k in range(3)] == [False, True, True]
    assert [among_first(three, k, side="right", count=2) for k in range(3)] == [True, True, False]
    near = replace(three.views[0], box_xyxy=(64, 10, 94, 90))  # 79: not clearly right of 75
    unclear = replace(three, views=(near, *three.views[1:]))
    assert [among_first(unclear, k, side="left", count=2) for k in range(3)] == [None, None, True]


def test_dressed_in_a_colour_by_hand(three):
    coat, red = three.views[0], Garment("shoes", "shoes", "red", (0, 0, 0))

    def also(view, slot, garment):
        person = replace(view.actor.person, garments={**view.actor.person.garments, slot: garment})
        return replace(view, actor=replace(view.actor, person=person), slots=view.slots | {slot})

    assert [dressed_in(coat, c) for c in ("red", "blue")] == [True, False]
    assert dressed_in(also(three.views[1], "shoes", red), "red") is None  # only the shoes are
    for changed in ({"pattern": "striped"}, {"open": True}):
        coat_like = replace(coat.actor.person.garments["outer"], **changed)
        assert dressed_in(also(coat, "outer", coat_like), "red") is None
    assert dressed_in(replace(coat, slots=frozenset()), "red") is None


def test_each_expression_fits_exactly_the_people_it_is_for(asked):
    """Nobody is in doubt; the kind says whether anybody fits."""
    for scene, expression, kind in asked:
        truths = [fits(scene, k, expression.facts) for k in range(len(scene.views))]
        assert None not in truths, expression.text
        assert any(truths) == (kind == ""), expression.text


def test_counts_are_right(asked):
    """ "The two ..." and "both ..." are said of two people only; of nobody at all, any number."""
    checked = 0
    for scene, expression, kind in asked:
        words = expression.text.split()
        if kind or expression.facts[0].family == "reasoning":
            continue
        said = [NUMBERS[word] for word in words[:2] if word in NUMBERS] + [2] * (words[0] == "both")
        for number in said:
            checked += 1
            assert len(fitting(scene, expression.facts)) == number, expression.text
    assert checked > 30


def test_a_near_miss_is_wrong_in_one_thing_only(asked):
    """All but one of its facts are true of some one person."""
    missed = [(scene, one) for scene, one, kind in asked if kind == "_near"]
    assert len(missed) > 50
    for scene, expression in missed:
        wrong = [sum(fact.holds(scene, k) is not True for fact in expression.facts) for k in range(len(scene.views))]
        assert min(wrong) == 1, expression.text


def test_who_is_asked_for_from_another_picture_is_there(scenes):
    rng, checked = Random(3), 0
    for here, there in pairwise(scenes[:40]):
        expression = Speaker(here, rng).of_another(Speaker(there, rng))
        if expression:
            checked += 1
            assert any(fits(there, k, expression.facts) is True for k in range(len(there.views)))
            assert fitting(here, expression.facts) == ()
    assert checked > 30


def test_what_is_judged_in_several_pictures_is_no_place_in_an_order(scenes):
    """Somebody is leftmost in every picture: that cannot make an expression fit nobody."""
    ordered = {w for scene in scenes for f in position_facts(scene) if "most" in f.words[0] for w in f.words}
    for scene in scenes[:30]:
        for pool in Speaker(scene, Random(0)).pools:
            assert not {words for fact in pool for words in fact.words} & ordered


def test_pairs_that_only_unseen_shows_are_not_named_elsewhere(asked):
    """Otherwise they would be learned as what nobody wears."""
    kept = [
        name.removeprefix("a ").removeprefix("an ")
        for kind, colours in HELD_OUT.items()
        for colour in colours
        for name in garment_words(Garment(next(s for s in KINDS if kind in KINDS[s]), kind, colour, (0, 0, 0)))
    ]
    kept = [f" {name}".replace("light ", "light-") for name in kept]  # "light blue" is not "blue"
    texts = [one.text.replace("light ", "light-") for _, one, _ in asked]
    assert not [(text, name) for text in texts for name in kept if name in text]


@pytest.mark.slow
def test_shares_over_200_pictures():
    kinds = Counter()
    before = sample_scene(Random(999))
    for index in range(200):
        scene = sample_scene(Random(1000 + index))
        for row in grec_rows(scene, before, Random(index), split="train", index=index, picture=""):
            anno_id, _, _, boxes, _ = row.split("\t")
            kinds[min(boxes.count(";") + 1, 2) if boxes else anno_id.rsplit("_", 1)[1]] += 1
        before = scene
    total, nobody = sum(kinds.values()), kinds["near"] + kinds["other"] + kinds["blank"]
    assert 4.0 < total / 200 < 6.0
    for share in (nobody / total, kinds[1] / total, kinds[2] / total):
        assert 0.27 < share < 0.4
    assert 0.05 < kinds["blank"] / nobody < 0.15
    assert min(kinds["near"], kinds["other"]) > 0.3 * nobody


def test_the_same_chance_gives_the_same_rows(scenes):
    again = [grec_rows(scenes[0], scenes[1], Random(4), split="val", index=7, picture="x") for _ in range(2)]
    assert again[0] == again[1] != []
    assert again[0][0].startswith("val_0000007_g0\tval_0000007\t")


def test_a_picture_in_which_somebody_can_hardly_be_seen_has_no_rows(scenes):
    scene = scenes[0]
    hidden = replace(scene, views=(replace(scene.views[0], area=349), *scene.views[1:]))
    assert grec_rows(hidden, scenes[1], Random(4), split="val", index=7, picture="x") == []


def test_one_person_alone_is_never_several(scenes):
    alone = [scene for scene in scenes if len(scene.views) == 1]
    rng = Random(1)
    found = [one for scene in alone for one in ask_about(scene, scenes[0], rng)]
    assert {kind for _, kind in found} == {"", "_near", "_other"}
    assert len(found) <= 2 * len(alone)


def test_wording_of_several():
    said = {word_for((MEN, RED_COAT), Random(seed), count=2) for seed in range(300)}
    assert {"the two men in red coats", "both men wearing red coats", "the man in a red coat"} <= said
    assert [text for text in said if text.startswith("the men who are wearing ")]
    assert [text for text in said if text.startswith("all men ")]
    assert not [text for text in said if "mans" in text or "three" in text or "everyone" in text]
    one = {word_for((PEOPLE, RED_COAT), Random(seed), count=1) for seed in range(300)}
    assert {"everyone in a red coat", "the people in red coats", "who is wearing a red coat?"} <= one
    assert not [text for text in one if {"two", "both", "three"} & set(text.split())]


def test_verbs_agree_with_the_noun(asked):
    for _, expression, _ in asked:
        many = expression.text.split(" who ")[0].endswith(
            ("men", "people", "children", "kids", "guys", "ladies", "boys")
        )
        if " who " in expression.text:
            assert not (many and expression.text.split(" who ")[1].startswith(("is ", "wears "))), expression.text


def test_everybody_is_counted():
    said = {count: {word_everybody(Random(seed), count) for seed in range(100)} for count in (1, 2, 3, 4)}
    assert "both people" in said[2]
    assert {"all three people", "the three people in the picture", "everyone"} <= said[3]
    assert not [text for text in said[1] if {"both", "two", "all one"} & set(text.split())]


def test_blank_pictures_are_of_many_kinds():
    pictures = [np.asarray(draw_blank(Random(seed))) for seed in range(60)]
    assert all(p.dtype == np.uint8 and p.shape[2] == 3 and 192 <= min(p.shape[:2]) <= 320 for p in pictures)
    plain = [p for p in pictures if (p == p[0, 0]).all()]
    assert {0, 255} <= {int(p[0, 0, 0]) for p in plain}
    assert 3 < len(plain) < 30
    assert np.array_equal(pictures[5], np.asarray(draw_blank(Random(5))))


def test_the_name_of_somebody_else_comes_last(asked):
    """Otherwise what follows would be about that person."""
    beside = [one for _, one, _ in asked if any(fact.words[0].startswith("to the ") for fact in one.facts)]
    beside = [(one, place) for one in beside for place in one.facts if place.words[0].startswith("to the ")]
    assert len(beside) > 10
    for expression, place in beside:
        assert expression.text.removesuffix("?").endswith(place.words), expression.text


def test_who_is_beside_and_between_whom(three):
    """Ann stands on the right, Bea in the middle, Cleo on the left of the picture."""
    names = {0: "Ann", 1: "Bea", 2: "Cleo"}
    said = [{words[0] for words in (fact.words for fact in relation_facts(three, k, names))} for k in names]
    places = [{text for text in found if text.startswith(("to the", "between"))} for found in said]
    assert places == [
        {"to the right of Bea", "to the right of Cleo"},
        {"to the left of Ann", "to the right of Cleo", "between Cleo and Ann"},
        {"to the left of Ann", "to the left of Bea"},
    ]
