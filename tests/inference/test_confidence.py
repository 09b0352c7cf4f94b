"""Confidence of whole answers: each number comes from the right steps, and points are those of a right box."""

import pytest
import torch
from written import BOX, CODES, SETTINGS, Painter

from refhcm.inference.confidence import words_of
from refhcm.inference.instruction import Instruction
from refhcm.inference.reading import read
from refhcm.models.generated import Generated

CONTEXT = {"size_wh": (999, 999), "ratios": {"w_resize_ratios": 1.0, "h_resize_ratios": 1.0}}  # a bin is 1 px


@pytest.fixture(scope="module")
def task(text):
    return Instruction(text, SETTINGS, tokenizer=Painter())


def answer_of(task, answer, *, beside=None):
    """Every bin is certain, but for the steps in `beside`: there bin 0 has so much."""
    ids = torch.tensor([*task.text.encode_words(answer).tolist(), task.vocabulary.eos()])
    columns = {symbol: k for k, symbol in enumerate(task.kept_symbols.tolist())}
    shares = torch.zeros(len(ids), len(columns))
    for step, symbol in enumerate(ids.tolist()):
        if symbol in columns:
            shares[step, columns[symbol]] = 1
    for step, share in (beside or {}).items():
        shares[step] *= 1 - share
        shares[step, columns[task.vocabulary.bin_ids.start]] = share
    generated = Generated(ids, log_probs=torch.full((len(ids),), 0.5).log(), distributions=shares.log())
    (prediction,) = task.parse_batch([generated], torch.device("cpu"))
    return read(task, generated, prediction, **CONTEXT)


def test_a_box_by_its_own_four_steps(task):
    assert answer_of(task, BOX).confidence.box == 1
    # bin 0 for the left edge 100 of a box of 400: IoU .8; for the right edge: none
    assert answer_of(task, BOX, beside={0: 0.25}).confidence.box == 1
    assert answer_of(task, BOX, beside={2: 0.25}).confidence.box == 0.75


def test_keypoints_by_name_are_of_the_box(task):
    answer = answer_of(task, f"{BOX} nose <bin_320> <bin_410> left_hip <bin_330> <bin_700>", beside={2: 0.25})
    assert answer.confidence.keypoints == {"nose": 0.75, "left_hip": 0.75}
    ids = task.text.encode_words(f"{BOX} nose").tolist()
    other = answer_of(task, f"{BOX} nose <bin_320> <bin_410> left_hip <bin_330> <bin_700>", beside={len(ids) + 1: 0.5})
    assert other.confidence.keypoints == {"nose": 0.5, "left_hip": 1}
    assert other.confidence.mean("keypoints") == 0.75
    assert other.confidence.parts is other.confidence.caption is None


def test_parts_by_class_are_of_the_box(task):
    answer = answer_of(task, f"{BOX} {CODES}", beside={2: 0.5})
    assert answer.confidence.parts == {"face": 0.25, "hair": 0.125}
    assert answer.confidence.parts.keys() == answer.parts.keys()


def test_words_of_a_caption(task):
    caption = answer_of(task, "a man unforgettably dressed").confidence.caption
    assert len(caption) == 4
    pieces = len(task.text.encode(" unforgettably"))
    assert caption == pytest.approx([0.5, 0.5, 0.5**pieces, 0.5])


def test_words_stay_together(task):
    pieces = task.text.encode(" a café-goer's  hat").tolist()
    words = words_of(pieces, task.text)
    assert sorted(words) == words
    assert len(set(words)) == 3
    for k in range(3):
        own = [piece for piece, word in zip(pieces, words, strict=True) if word == k]
        assert task.text.decode(own).strip() == ["a", "café-goer's", "hat"][k]


def test_without_distributions_there_is_none(task):
    ids = task.text.encode_words(BOX)
    answer = read(task, Generated(ids), task.parse(ids), **CONTEXT)
    assert answer.confidence.box is None
    assert answer.confidence.mean("box") is None
