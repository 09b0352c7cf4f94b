"""Reading what a model wrote: each part comes from the right symbols, and unreadable parts are left out."""

import json
import pickle
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from pycocotools import mask as coco
from written import BOX, CODES, SETTINGS, Painter, written

from refhcm.inference.answers import Answer, Confidence, Keypoints
from refhcm.inference.instruction import Instruction
from refhcm.inference.joining import join, merge
from refhcm.inference.parts import split
from refhcm.inference.reading import read
from refhcm.models.generated import Generated
from refhcm.tasks import TASKS
from refhcm.utils.errors import UserError

# a bin is 1 px of x and 2 px of y
CONTEXT = {"size_wh": (999, 1998), "ratios": {"w_resize_ratios": 1.0, "h_resize_ratios": 0.5}}


@pytest.fixture(scope="module")
def task(text):
    return Instruction(text, SETTINGS, tokenizer=Painter())


def answer_of(task, answer, **options):
    generated = written(task, answer, **options)
    (prediction,) = task.parse_batch([generated], torch.device("cpu"))
    return read(task, generated, prediction, **CONTEXT)


def test_a_box(task):
    answer = answer_of(task, BOX)
    assert answer.valid
    assert answer.notes == ()
    assert answer.box_xyxy == pytest.approx([100, 400, 500, 1998], abs=1e-3)
    assert answer.symbols == (*BOX.split(), "</s>")
    assert answer.label_map is answer.caption is None
    assert not answer.keypoints
    assert answer.parts == {}


def test_keypoints_by_name(task):
    answer = answer_of(task, f"{BOX} nose <bin_120> <bin_210> left_ankle <bin_130> <bin_900>")
    assert answer.valid
    assert answer.keypoints["nose"] == pytest.approx((120, 420), abs=1e-3)
    assert answer.keypoints["left_ankle"] == pytest.approx((130, 1800), abs=1e-3)
    assert answer.keypoints["left_eye"] is None
    assert answer.keypoints.visible.sum() == 2
    assert dict(answer.keypoints)["nose"] == answer.keypoints["nose"]


def test_parts_lie_in_the_box(task):
    answer = answer_of(task, f"{BOX} {CODES}")
    assert answer.valid
    assert answer.label_map.shape == (1998, 999)
    assert answer.label_map.dtype == np.uint8
    assert set(answer.parts) == {"face", "hair"}
    x = np.flatnonzero(answer.parts["face"].any(0))
    y = np.flatnonzero(answer.parts["face"].any(1))
    assert (x.min(), x.max(), y.min(), y.max()) == (100, 299, 400, 1997)
    assert answer.parts["hair"].sum() == 200 * 1598


def test_s1_answers_repeat_the_box_before_the_codes(task):
    answer = answer_of(task, f"{BOX} nose <bin_120> <bin_210> {BOX} {CODES}")
    assert answer.valid
    assert answer.keypoints.visible.sum() == 1
    assert answer.label_map.any()
    both = split(written(task, f"{BOX} nose <bin_120> <bin_210> {BOX} {CODES}").ids.tolist(), task.text)
    assert both.box == [0, 1, 2, 3]
    assert len(both.parsing) == 48
    assert both.other == []


def test_words_are_a_caption(task):
    answer = answer_of(task, "a man in red")
    assert answer.valid
    assert answer.caption == "a man in red"
    assert answer.box_xyxy is None
    assert answer.confidence == Confidence(caption=pytest.approx([np.exp(-0.5 * n) for n in (1, 1, 1, 1)]))


def test_a_name_without_its_space_is_none(task):
    """It would be read as the end of the name before it, and the next name have its point."""
    first, bins, last = map(
        task.text.encode_words, (f"{BOX} left_eye <bin_1> <bin_2>", "<bin_3> <bin_4>", "right_eye <bin_5> <bin_6>")
    )
    ids = torch.from_numpy(np.concatenate([first, task.text.encode("nose"), bins, last]))
    generated = Generated(torch.cat([ids, torch.tensor([task.vocabulary.eos()])]))
    (prediction,) = task.parse_batch([generated], torch.device("cpu"))
    answer = read(task, generated, prediction, **CONTEXT)
    assert (answer.valid, answer.keypoints) == (False, None)
    assert "'nose' is not a keypoint's name" in answer.notes[0]


@pytest.mark.parametrize(
    ("written_answer", "note"),
    [
        ("<bin_1> <bin_2> <bin_3>", "four bins"),
        ("<code_3>", "four bins"),
        ("a man <bin_1> <bin_2> <bin_3> <bin_4>", "four bins"),
        ("<bin_500> <bin_2> <bin_3> <bin_4>", "second corner"),
        (f"{BOX} nose <bin_1>", "a name and two bins"),
        (f"{BOX} nose <bin_1> <bin_2> <bin_3>", "a name and two bins"),
        (f"{BOX} <bin_1> <bin_2>", "a name and two bins"),
        (f"{BOX} nose", "a name and two bins"),
        (f"{BOX} elbow <bin_1> <bin_2>", "'elbow' is not a keypoint's name"),
        (f"{BOX} nose <bin_1> <bin_2> nose <bin_3> <bin_4>", "nose is named twice"),
        (f"{BOX} {CODES} <code_3>", "needs 48 codes, got 49"),
        (f"{BOX} <code_3>", "needs 48 codes, got 1"),
        (f"{BOX} {CODES.replace('3', '40', 1)}", "code 40 is not one of the tokenizer's 32"),
        (f"{BOX} {CODES} nose <bin_1> <bin_2>", "3 symbols belong to no part"),
        ("<mask>", "four bins"),
        ("", "caption"),
    ],
)
def test_malformed_answers_are_not_guessed(task, written_answer, note):
    if written_answer == "<mask>":
        ids = torch.tensor([task.vocabulary.index("<mask>"), task.vocabulary.eos()])
        generated = Generated(ids)
        (prediction,) = task.parse_batch([generated], torch.device("cpu"))
        answer = read(task, generated, prediction, **CONTEXT)
    else:
        answer = answer_of(task, written_answer)
    assert not answer.valid
    assert note in " ".join(answer.notes)
    assert answer.caption is None
    if "box" in note or "four" in note or "corner" in note:
        assert answer.box_xyxy is None
    if "codes" in note or "code 40" in note:
        assert answer.label_map is None
    if "bins" in note or "name" in note:
        assert not answer.keypoints
    json.loads(answer.to_json())


def test_codes_stay_symbols_without_a_tokenizer(text):
    answer = answer_of(Instruction(text, SETTINGS), f"{BOX} {CODES}")
    assert answer.valid
    assert answer.label_map is None
    assert "no tokenizer" in answer.notes[0]


def test_a_box_within_one_bin_is_a_pixel_of_the_picture(task):
    answer = answer_of(task, "<bin_999> <bin_999> <bin_999> <bin_999>")
    assert answer.valid
    assert answer.box_xyxy.tolist() == [998, 1997, 999, 1998]


@pytest.mark.parametrize("name", ["refcoco", "rkpt", "rpar", "rhrc"])
def test_tasks_need_what_they_were_asked_for(name, text):
    task = TASKS[name](text, SETTINGS)
    task.tokenizer = Painter()
    right = {"refcoco": BOX, "rkpt": f"{BOX} nose <bin_1> <bin_2>", "rpar": f"{BOX} {CODES}", "rhrc": "a man"}
    assert answer_of(task, right[name]).valid
    wrong = {"refcoco": f"{BOX} nose", "rkpt": "a man", "rpar": BOX, "rhrc": f"a man {BOX}"}
    answer = answer_of(task, wrong[name])
    assert not answer.valid
    assert answer.notes
    assert answer.caption is None
    assert answer.label_map is None


def test_no_probabilities_no_confidence(task):
    generated = Generated(task.text.encode_words(BOX))
    answer = read(task, generated, task.parse(generated.ids), **CONTEXT)
    assert answer.confidence == Confidence()


def test_merged_answers_keep_the_first_box(task):
    keypoints = answer_of(task, f"{BOX} nose <bin_120> <bin_210>")
    keypoints = replace(keypoints, confidence=Confidence(box=0.9, keypoints={"nose": 0.8}))
    parts = answer_of(task, f"<bin_101> <bin_200> <bin_500> <bin_999> {CODES}")
    parts = replace(parts, confidence=Confidence(box=0.7, parts={"face": 0.6, "hair": 0.5}))
    both = merge(keypoints, parts)
    assert both.valid
    assert both.box_xyxy is keypoints.box_xyxy
    assert both.keypoints is keypoints.keypoints
    assert both.label_map is parts.label_map
    assert both.confidence == Confidence(box=0.9, keypoints={"nose": 0.8}, parts={"face": 0.6, "hair": 0.5})
    assert both.symbols == keypoints.symbols + parts.symbols
    assert both.notes == ()


def test_joined_answers_about_two_people_are_not_valid(task):
    other = answer_of(task, f"<bin_600> <bin_200> <bin_700> <bin_999> {CODES}")
    elsewhere = join(answer_of(task, BOX), other, part="parsing map")
    assert not elsewhere.valid
    assert elsewhere.notes[-1].startswith("parsing map: left out")
    assert elsewhere.label_map is None
    assert not merge(answer_of(task, BOX), answer_of(task, "<bin_1>")).valid


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' decoder
def test_json_holds_everything(task):
    answer = answer_of(task, f"{BOX} nose <bin_120> <bin_210> {BOX} {CODES}")
    plain = json.loads(answer.to_json())
    assert plain["size"] == [999, 1998]
    assert plain["box"] == pytest.approx([100, 400, 500, 1998], abs=1e-3)
    assert plain["keypoints"][0] == {"name": "nose", "x": pytest.approx(120), "y": pytest.approx(420), "visible": True}
    assert plain["keypoints"][1] == {"name": "left_eye", "x": 0, "y": 0, "visible": False}
    assert (coco.decode(plain["parts"]["hair"]) == answer.parts["hair"]).all()
    assert plain["confidence"] == {"box": None, "keypoints": None, "parts": None, "caption": None}
    assert plain["text"].startswith(BOX)


def test_json_refuses_nan():
    broken = Answer((4, 4), True, (), "", np.full(4, np.nan, np.float32))
    with pytest.raises(ValueError, match="JSON"):
        broken.to_json()


def test_keypoints_know_their_names():
    points = Keypoints(np.zeros((17, 2), np.float32), np.zeros(17, bool))
    with pytest.raises(KeyError, match="tail"):
        points["tail"]


def person(**changes):
    """An answer with everything; `changes` are its fields."""
    xy = np.zeros((17, 2), np.float32)
    xy[0], xy[9] = (30, 40), (5.4, 6)
    fields = {
        "box_xyxy": np.array([12.2, 30, 88.6, 170], np.float32),
        "keypoints": Keypoints(xy, xy.any(-1)),
        "label_map": np.repeat(np.array([[0, 2, 13]], np.uint8), 4, axis=0),
        "caption": "a man in red",
        "confidence": Confidence(box=0.968, keypoints={"nose": 0.5}, caption=(1.0, 0.5, 1.0, 1.0)),
    }
    return replace(Answer((3, 4), True, ("<bin_0>",), "x"), **fields | changes)


def test_one_line_says_what_an_answer_holds():
    words = "box=(12, 30, 89, 170), 2 keypoints, 2 parts, caption='a man in red', confidence .97"
    assert repr(person()) == f"Answer({words})"
    alone = Answer((9, 9), True, (), "", caption="a", confidence=Confidence(caption=(0.25,)), found=1.0)
    assert repr([alone]) == "[Answer(caption='a', confidence .25, found 1.00)]"
    assert repr(Answer((9, 9), False, (), "", notes=("box: why", "more"))) == "Answer(not valid: box: why)"
    assert "\n" not in repr(replace(alone, caption="a\nb " * 99))
    assert repr(person().keypoints) == "Keypoints(nose (30, 40), left_wrist (5, 6))"


def test_answers_are_equal_by_their_values():
    assert person() == person()
    assert len({person(), person(), replace(person(), caption="other")}) == 2
    assert person() == replace(person(), picture="street.jpg")
    other = person().label_map.copy()
    other[0, 0] = 5
    for changed in ({"label_map": other}, {"label_map": None}, {"keypoints": None}, {"box_xyxy": np.zeros(4)}):
        assert person() != replace(person(), **changed)
    assert person() != "an answer"
    assert hash(person().confidence) == hash(person().confidence)
    assert pickle.loads(pickle.dumps(person())) == deepcopy(person()) == person()


def test_what_was_not_asked_for_says_how_to_ask():
    answer = Answer((9, 9), True, (), "")
    assert answer.keypoints == None  # noqa: E711  as JSON has it
    for use in (lambda: answer.keypoints["left_wrist"], lambda: list(answer.keypoints), lambda: answer.keypoints.xy):
        with pytest.raises(UserError, match=r"the answer has none; ask with keypoints=True$"):
            use()
    with pytest.raises(UserError, match="its notes: keypoints: nose is named twice"):
        replace(answer, notes=("keypoints: nose is named twice",)).keypoints["nose"]
    with pytest.raises(KeyError, match="hair: the answer has no parts; ask with parsing=True"):
        answer.parts["hair"]
    with pytest.raises(KeyError, match="coat: the person shows none; there are hair, face"):
        person().parts["coat"]
    with pytest.raises(KeyError, match="'beard' is not a part: use one of hat, hair"):
        person().parts["beard"]
    assert person().parts.get("coat") is None
