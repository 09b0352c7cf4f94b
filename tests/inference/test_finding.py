"""Finding everyone: who, in which order, how sure; what cannot be read is said; parts stay with their person.

The network is a tiny one, whose answers are told beforehand: symbol by symbol, each certain unless a test says so.
"""

import numpy as np
import pytest
import torch
from PIL import Image
from written import CODES

from refhcm.data.annotation import LOWEST_SCORE
from refhcm.inference.calibration import Calibration, Fitted
from refhcm.inference.learned import FURTHER
from refhcm.models.generated import Generated
from refhcm.utils.calibration import Curve
from refhcm.utils.errors import UserError

# The picture is as wide and as high as the first 250 bins.
LEFT, MIDDLE, RIGHT = (f"<bin_{x}> <bin_25> <bin_{x + 50}> <bin_225>" for x in (25, 100, 175))


def certain(task, answer, share=1.0):
    """An answer whose first symbol has the probability `share`; the rest of it is that of eos."""
    ids = torch.tensor([*task.text.encode_words(answer).tolist(), task.vocabulary.eos()])
    kept = (ids[:, None] == task.kept_symbols).float()
    kept[0] *= share
    kept[0, 0] += 1 - share
    return Generated(ids, log_probs=torch.zeros(len(ids)), distributions=kept.log())


@pytest.fixture
def model(models, monkeypatch):
    """A model that has learned everything."""
    model = models("multitask")
    monkeypatch.setattr(model, "learned", FURTHER)
    return model


@pytest.fixture
def tell(model, monkeypatch):
    """`tell("grec", answer, ...)`: what a task writes, row by row. Returns the sizes of the batches that ask for it."""

    def told(name, *answers):
        task, rest, sizes = model._task(name), iter(answers), []

        def generate(network, batch, settings, *, distributions=False):
            count = len(batch["net_input"]["src_tokens"])
            sizes.append(count)
            given = [next(rest) for _ in range(count)]
            return [one if isinstance(one, Generated) else certain(task, one) for one in given]

        monkeypatch.setattr(task, "generate", generate)
        return sizes

    return told


@pytest.fixture
def other():
    return Image.new("RGB", (40, 64))


def lefts(people):
    """The left edges in hundredths of the picture's width."""
    return [round(100 * person.box_xyxy[0] / person.size_wh[0]) for person in people]


def test_people_from_left_to_right_nobody_and_lists(model, tell, image, other):
    tell("grec", f"{RIGHT} {LEFT} {MIDDLE}", "", MIDDLE, LEFT)
    three, nobody, one = model.find([image, other, other], ["all people", "a cat", "the man"])
    assert lefts(three) == [10, 40, 70]
    assert nobody == []
    assert lefts(one) == [40]
    assert [person.size_wh for person in (*three, *one)] == [(120, 90)] * 3 + [(40, 64)]
    assert all(person.valid and not person.notes for person in (*three, *one))
    assert [person.confidence.box for person in three] == [1, 1, 1]
    assert three[0].symbols == tuple(LEFT.split())
    assert three[0].found == 1
    assert three[0].box_xyxy == pytest.approx([12, 9, 36, 81], abs=0.1)
    (alone,) = model.find(image, "the man")
    assert lefts([alone]) == [10]
    assert model.find(image, []) == []


def test_parts_are_asked_by_the_boxes_of_all_pictures_together(model, tell, image, other, monkeypatch):
    monkeypatch.setattr(model, "batch_size", 2)
    asked = tell("grec", f"{RIGHT} {LEFT}", "", MIDDLE)
    points = tell("rkpt", *(f"{box} nose <bin_{x}> <bin_125>" for box, x in ((LEFT, 30), (RIGHT, 180), (MIDDLE, 105))))
    maps = tell("rpar", *(f"{box} {CODES}" for box in (LEFT, RIGHT, MIDDLE)))
    captions = tell("rhrc", "the first", "the second", "the third")
    wanted = {"keypoints": True, "parsing": True, "caption": True}
    two, nobody, one = model.find([image, other, other], ["a", "b", "c"], **wanted)
    assert (asked, points, maps, captions) == ([2, 1], [2, 1], [2, 1], [2, 1])
    assert [person.caption for person in (*two, *one)] == ["the first", "the second", "the third"]
    assert nobody == []
    assert two[1].keypoints["nose"] == pytest.approx((180 / 250 * 120, 125 / 250 * 90), abs=0.1)
    assert one[0].label_map.shape == (64, 40)
    assert all(person.valid for person in (*two, *one))


def test_a_batch_holds_people_of_several_questions(model, tell, image, other):
    tell("grec", f"{LEFT} {RIGHT}", MIDDLE)
    captions = tell("rhrc", "the first", "the second", "the third")
    model.find([image, other], ["a", "b"], caption=True)
    assert captions == [3]


def test_points_are_as_sure_as_the_box_they_are_asked_by(model, tell, image):
    tell("grec", certain(model._task("grec"), LEFT, 0.5))
    tell("rkpt", f"{LEFT} nose <bin_30> <bin_125>")
    (person,) = model.find(image, "a man", keypoints=True)
    assert person.found == pytest.approx(0.5)
    assert person.confidence.box == pytest.approx(0.5, abs=0.01)
    assert person.confidence.keypoints == {"nose": pytest.approx(0.5, abs=0.01)}


def test_unsure_people_are_left_out(model, tell, image):
    answers = [certain(model._task("grec"), f"{LEFT} {RIGHT}", 0.5)] * 3
    tell("grec", *answers, certain(model._task("grec"), LEFT, 0.01))
    assert len(model.find(image, "a", min_confidence=0.4)) == 2
    assert lefts(model.find(image, "a", min_confidence=0.6)) == [70]
    assert lefts(model.find(image, "a", min_confidence=1)) == [70]
    assert lefts(model.find(image, "a")) == [10]  # without a limit, however unsure


@pytest.mark.parametrize(
    ("answer", "kept", "note"),
    [
        (f"{RIGHT} {LEFT} <bin_4> <bin_5>", [10, 70], "2 symbols belong to no box, first <bin_4>"),
        (f"{LEFT} <code_3> {RIGHT}", [10], "5 symbols belong to no box, first <code_3>"),
        (f"<bin_9> <bin_9> <bin_3> <bin_20> {LEFT}", [10], "box 1: its second corner is left of or above its first"),
        ("<bin_4> <bin_5>", [], "2 symbols belong to no box, first <bin_4>"),
        ("<bin_9> <bin_9> <bin_3> <bin_20>", [], "box 1: its second corner"),
    ],
)
def test_what_cannot_be_read_is_said(model, tell, image, answer, kept, note):
    tell("grec", answer)
    people = model.find(image, "a", min_confidence=0.5)
    assert lefts([person for person in people if person.box_xyxy is not None]) == kept
    assert len(people) == max(len(kept), 1)
    assert all(not person.valid and person.notes[0].startswith(note) for person in people)


def test_no_answer_is_not_nobody(model, tell, image):
    tell("grec", Generated(torch.tensor([model.text.vocabulary.eos()]), LOWEST_SCORE))
    (unread,) = model.find(image, "a", caption=True)
    assert not unread.valid
    assert unread.box_xyxy is unread.found is None


def test_a_person_who_is_written_twice_counts_once(model, tell, image):
    near = "<bin_26> <bin_25> <bin_75> <bin_225>"
    tell("grec", certain(model._task("grec"), f"{LEFT} {near} {RIGHT} {LEFT}", 0.5))
    first, second = model.find(image, "a")
    assert lefts([first, second]) == [10, 70]
    assert first.confidence.box == 1  # the surest of the three
    assert first.valid
    assert len(first.notes) == 2
    assert second.notes == ()


def test_an_answer_about_somebody_else_is_left_out(model, tell, image):
    tell("grec", LEFT)
    tell("rkpt", f"{RIGHT} nose")  # and unreadable besides
    tell("rpar", f"{LEFT} {CODES}")
    (person,) = model.find(image, "a", keypoints=True, parsing=True)
    assert not person.valid
    assert not person.keypoints
    assert person.label_map is not None
    assert person.notes[-1].startswith("keypoints: left out")


def test_parts_of_another_person_are_asked_again_by_the_box(model, tell, image):
    tell("grec", certain(model._task("grec"), LEFT, 0.75))
    tell("rkpt", f"{LEFT} nose <bin_30> <bin_125>")
    maps = tell("rpar", f"{RIGHT} {CODES}", f"{LEFT} {CODES}")
    answer = model.refer(image, "the man", keypoints=True, parsing=True)
    assert maps == [1, 1]
    assert answer.valid
    assert answer.notes == ()
    assert not answer.label_map[:, 60:].any()
    assert answer.found == pytest.approx(0.75)


def test_parts_that_stay_another_person_s_make_the_answer_invalid(model, tell, image):
    tell("grec", LEFT, LEFT)
    tell("rkpt", *[f"{LEFT} nose <bin_30> <bin_125>"] * 2)
    maps = tell("rpar", f"{RIGHT} {CODES}", f"{LEFT} {CODES}", f"{RIGHT} {CODES}")
    first, second = model.refer(image, ["the man", "a man"], keypoints=True, parsing=True)
    assert maps == [2, 1]  # only the one that disagrees is asked again
    assert second.valid
    assert not first.valid
    assert first.label_map is None
    assert first.keypoints["nose"] is not None
    assert first.notes == ("parsing map: left out, because it is another person's (IoU of the boxes 0.00)",)


def test_found_is_calibrated(model, tell, image, monkeypatch):
    curve = Fitted(Curve((0.0, 1.0), (0.0, 0.5)), count=60, right=30)
    monkeypatch.setattr(model._engine, "calibration", Calibration({"grec": {"found": curve, "box": curve}}))
    grec = model._task("grec")
    tell("grec", *(certain(grec, LEFT, 0.5) for _ in range(2)), certain(grec, "", 1))
    tell("refcoco", LEFT, LEFT)
    (person,) = model.find(image, "a")
    assert person.found == pytest.approx(0.25)
    assert person.confidence.box == pytest.approx(0.25, abs=0.01)
    there, nobody = model.refer(image, ["a", "b"])
    assert there.found == pytest.approx(0.25)
    assert nobody.found == 0
    assert nobody.valid  # the question was answered


def test_a_model_that_has_not_learned_it(models, image):
    model = models("refcoco")
    with pytest.raises(UserError, match=r"has not learned to give everyone .* model\.refer"):
        model.find(image, "a man")
    assert model.refer(image, "a man").found is None


def test_keypoints_by_box_are_learned_apart(model, tell, image, monkeypatch):
    monkeypatch.setattr(model, "learned", ("grec",))
    tell("grec", LEFT)
    with pytest.raises(UserError, match="has not learned keypoints by box"):
        model.find(image, "a man", keypoints=True)
    assert lefts(model.find(image, "a man")) == [10]


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), "0.5", None, True])
def test_thresholds_are_probabilities(value, model, image):
    with pytest.raises(UserError, match=r"^min_confidence: needs a number from 0 to 1, got"):
        model.find(image, "a man", min_confidence=value)


def test_an_untrained_network_in_batches(model, image, other):
    """Nobody told it anything: there are answers, the same in a batch as alone."""
    pictures, texts = [image, other], ["a man", "the people in red"]
    batched = model.find(pictures, texts)
    alone = [model.find(picture, text) for picture, text in zip(pictures, texts, strict=True)]
    for one, two in zip(batched, alone, strict=True):
        assert [person.symbols for person in one] == [person.symbols for person in two]
    first = model.refer(image, "a man")
    assert 0 <= first.found <= 1
    assert all(person.found == pytest.approx(first.found, abs=1e-3) for person in batched[0])
    assert np.isfinite([person.confidence.box or 0 for person in batched[0]]).all()
