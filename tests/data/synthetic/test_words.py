"""Drawn people: an expression fits only one person, and a caption says what is seen."""

import re
from collections import Counter
from random import Random

import pytest

from refhcm.data.synthetic.language.captions import captions_for
from refhcm.data.synthetic.language.expressions import expressions_for, fits_only, names_in, word
from refhcm.data.synthetic.language.facts import Fact, facts_of, garment_words, noun_facts, wearing_facts
from refhcm.data.synthetic.language.predicates import (
    all_of,
    face_seen,
    garment_seen,
    gestures,
    has_rank,
    holds,
    knees_bare,
    negate,
    same,
    wears,
)
from refhcm.data.synthetic.language.reasoning import RIDDLES, riddle_for
from refhcm.data.synthetic.picture.scene import sample_scene
from refhcm.data.synthetic.picture.wardrobe import Garment
from refhcm.data.synthetic.writer import scene_random


@pytest.fixture(scope="module")
def scenes():
    return [sample_scene(Random(seed)) for seed in range(60)]


@pytest.fixture(scope="module")
def said(scenes):
    """(scene, person, expression) of everything that is said about everybody."""
    rng, said = Random(1), []
    for scene in scenes:
        names = names_in(scene, rng)
        for person in range(len(scene.views)):
            riddle = riddle_for(scene, person, rng, names=names)
            spoken = expressions_for(scene, person, rng, names=names, count=3) + ([riddle] if riddle else [])
            said += [(scene, person, expression) for expression in spoken]
    return said


def test_three_valued_logic():
    assert all_of((True, None)) is None
    assert all_of((None, False)) is False
    assert all_of(()) is True
    assert negate(None) is None
    assert negate(False) is True


def test_what_is_easily_confused_is_neither_right_nor_wrong():
    assert same("coat", "coat") is True
    assert same("coat", "jacket") is None
    assert same("coat", "dress") is False
    assert same("light blue", "blue") is None


def test_expressions_fit_one_person_only(said):
    assert len(said) > 300
    for scene, person, expression in said:
        truths = [all_of(fact.holds(scene, k) for fact in expression.facts) for k in range(len(scene.views))]
        assert truths.pop(person) is True, expression.text
        assert all(truth is False for truth in truths), expression.text


def test_what_cannot_be_seen_rules_nobody_out(scenes):
    scene = next(scene for scene in scenes if len(scene.views) == 2)
    for of_the_other, fits in ((False, True), (None, False), (True, False)):
        fact = Fact("x", "adjective", ("x",), lambda _, index, other=of_the_other: True if index == 0 else other)
        assert fits_only(scene, 0, (fact,)) is fits


def test_everybody_can_be_asked_for(scenes):
    rng = Random(2)
    people = [(scene, k) for scene in scenes for k in range(len(scene.views))]
    assert sum(bool(expressions_for(scene, k, rng, names={}, count=1)) for scene, k in people) > 0.97 * len(people)


def test_nobody_is_asked_for_by_looks_that_cannot_be_seen():
    """A face half outside the picture, without hair: nothing is left to say."""
    scene = sample_scene(scene_random(53, "train", 753), max_people=3)
    assert scene.views[0].slots == {"face"}
    assert expressions_for(scene, 0, Random(1), names={}, count=5, looks=True) == []


def test_expressions_are_of_all_families_and_hardly_repeat(said):
    families = Counter(expression.family for _, _, expression in said)
    assert set(families) == {"look", "action", "position", "relation", "negation", "reasoning"}
    direct = [expression.text for *_, expression in said if expression.family != "reasoning"]
    assert len(set(direct)) > 0.8 * len(direct)
    assert {1, 2, 3} <= {text.count(" in ") + text.count(" with ") + text.count(" wearing ") + 1 for text in direct}


def test_what_is_not_worn_is_of_the_topic_of_what_is(said):
    """Nobody is "in the red dress, not wearing green trousers": one fact of a topic is said."""
    denied = [fact for *_, one in said for fact in one.facts if fact.words[0].startswith("not wearing ")]
    topics = {fact.topic for fact in denied if not fact.topic.startswith("no ")}
    assert topics
    assert topics <= {"bottom", "dress"}


def test_a_wave_behind_the_body_is_unknown():
    """Most are of the far arm, seen from the side."""
    seen = {True: [], None: []}
    for seed in range(150):
        for view in sample_scene(Random(seed)).views:
            pose = view.actor.pose
            if pose.gesture == "waving" and "arms" in view.regions:
                truth = gestures(view, "waving")
                assert gestures(view, "waving", hand=pose.hand) is truth
                seen[truth].append(pose.view)
    assert seen[None]
    assert seen[None].count("front") < 0.5 * len(seen[None])
    assert len(seen[True]) > len(seen[None])


def test_bare_knees_are_seen(scenes):
    """A dress covers them, and a skirt or shorts may."""
    bare = [view for scene in scenes for view in scene.views if knees_bare(view)]
    assert bare
    for view in bare:
        assert "dress" not in view.actor.person.garments
        for x, y in view.keypoints[13:15].astype(int):
            assert view.label_map[y, x] in (16, 17)


def test_garments_of_the_legs_are_named_where_a_knee_is_seen(scenes):
    """In expressions and captions: a close-up does not tell pants from shorts."""
    hidden = 0
    for scene in scenes:
        for person, view in enumerate(scene.views):
            worn = garment_seen(view, "bottom")
            if worn and not view.keypoints[13:15].any():
                hidden += 1
                assert wears(view, "bottom", kind=worn.kind) is None
                assert wears(view, "bottom", colour=worn.colour) is True
                said = {text for fact in facts_of(scene, person) if fact.topic == "bottom" for text in fact.words}
                names = [name for name in garment_words(worn) if name in said]
                captions = captions_for(scene, person, Random(0), count=3)
                assert not names
                assert not [c for c in captions for name in garment_words(worn) if re.search(rf" {name}\b", c)]
    assert hidden > 3


def test_socks_under_trousers_or_boots_are_unknown(scenes):
    covering, free = [], []
    for view in (view for scene in scenes for view in scene.views if "feet" in view.regions):
        worn = view.actor.person.garments
        if "socks" not in worn:
            covered = {"pants", "boots"} & {g.kind for g in worn.values()} or any(g.long for g in worn.values())
            (covering if covered else free).append(wears(view, "socks"))
    assert (set(covering), set(free)) == ({None}, {False})


def test_eyes_behind_dark_glasses_are_unknown(scenes):
    """Likewise a cap from behind may have a peak, and under an umbrella there may be shade."""
    (faceless,) = (truth for words, truth in RIDDLES if "whose eyes the photographer cannot see from here?" in words)
    (shaded,) = (truth for words, truth in RIDDLES if "who wears something with a brim or peak?" in words)
    people = [(scene, k, view) for scene in scenes for k, view in enumerate(scene.views)]
    masked = [(s, k) for s, k, view in people if face_seen(view) and garment_seen(view, "sunglasses")]
    assert {faceless(scene, k) for scene, k in masked} == {None}
    assert {faceless(s, k) for s, k, view in people if face_seen(view) and (s, k) not in masked} == {False}
    dry = [(s, k) for s, k, view in people if holds(view, "umbrella")]
    hats = [(s, k, view) for s, k, view in people if garment_seen(view, "hat") and (s, k) not in dry]
    caps = [(s, k, view) for s, k, view in hats if view.actor.person.garments["hat"].kind == "cap"]
    assert {shaded(scene, k) for scene, k in dry} == {None}
    assert {shaded(s, k) for s, k, view in caps if view.actor.pose.view == "back"} == {None}
    assert {shaded(s, k) for s, k, view in caps if view.actor.pose.view != "back"} == {True}


def test_the_name_of_another_person_comes_last(scenes):
    """Otherwise what follows would be about that person."""
    near = Fact("depth", "place", ("closest to the camera",), lambda *_: True, family="position")
    right = Fact("position", "place", ("further right than the man in red",), lambda *_: True, family="relation")
    for facts in ((near, right), (right, near)):
        for seed in range(20):
            text = word((noun_facts(scenes[0], 0)[0], *facts), Random(seed))
            assert text.endswith("further right than the man in red")
            assert "closest to the camera" in text


def test_texts_are_fit_for_a_table(said, scenes):
    texts = [expression.text for *_, expression in said]
    texts += [text for scene in scenes for text in captions_for(scene, 0, Random(0), count=3)]
    for text in texts:
        assert text == " ".join(text.split())
        assert not [odd for odd in ("&&", "{", "}", "_", "None", "told.") if odd in text], text


def test_riddles_are_posed_only_where_there_is_a_choice(scenes):
    for scene in scenes:
        if len(scene.views) == 1:
            assert riddle_for(scene, 0, Random(0), names={}) is None


def test_garments_are_worded_with_the_right_article():
    orange = Garment("outer", "coat", "orange", (250, 120, 20), pattern="striped")
    assert garment_words(orange, pattern=False) == ("an orange coat",)
    assert "a striped orange coat" in garment_words(orange)
    assert garment_words(Garment("shoes", "shoes", "red", (200, 0, 0))) == ("red shoes",)
    assert "gray pants" in garment_words(Garment("bottom", "pants", "gray", (128, 128, 128)))


def test_wording_names_all_that_is_stated(scenes):
    scene = next(scene for scene in scenes if "shoes" in scene.views[0].slots)
    shoes = wearing_facts(scene.views[0].actor.person.garments["shoes"])[0]
    place = Fact("position", "place", ("on the left",), lambda *_: True)
    for seed in range(50):
        facts = (noun_facts(scene, 0)[-1], shoes, place)
        text = word(facts, Random(seed))
        assert any(noun in text for noun in facts[0].words)
        assert any(name in text for name in shoes.words)
        assert "on the left" in text


def test_ranks_count_from_both_sides(scenes):
    for scene in scenes:
        order = scene.left_to_right()
        for place, person in enumerate(order):
            assert has_rank(scene, person, place) is not False
            assert has_rank(scene, person, place) == has_rank(scene, person, place - len(order))


def test_garments_out_of_sight_are_unknown(scenes):
    unseen = [
        (view, slot)
        for scene in scenes
        for view in scene.views
        for slot in view.actor.person.garments
        if slot not in view.slots
    ]
    assert unseen
    assert all(wears(view, slot) is None for view, slot in unseen)


def test_captions_differ_and_name_what_is_seen(scenes):
    for scene in scenes:
        for person, view in enumerate(scene.views):
            captions = captions_for(scene, person, Random(person), count=3)
            assert len(set(captions)) == 3
            garments = [g for slot, g in view.actor.person.garments.items() if slot in view.slots]
            for caption in captions:
                assert caption[0].isupper()
                assert caption.endswith(".")
                for garment in (g for g in garments if wears(view, g.slot, kind=g.kind)):
                    colour = ("gray", "grey") if garment.colour == "gray" else (garment.colour,)
                    assert garment.slot == "sunglasses" or any(name in caption for name in colour)
