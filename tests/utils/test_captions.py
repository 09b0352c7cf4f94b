import importlib
import logging
import re
import shutil

import numpy as np
import pytest
from golden_folder import numbers, table

from refhcm.utils import captions
from refhcm.utils.captions import bleu, caption_scores, clean, meteor, rouge_l, split_references, without_blanks
from refhcm.utils.errors import UserError

HYPOTHESES = ["a man in a red coat", "the dog runs"]
REFERENCES = [["a man in a red coat"], ["the dog sleeps", "one cat"]]


@pytest.fixture
def coco_captions():
    return pytest.importorskip("pycocoevalcap", reason="the train extra")


def test_clean_and_split():
    assert clean(" A man's white-red coat, (new). ") == "A mans whitered coat new"
    assert clean("“café” — naïve") == "“café” — naïve"  # only ASCII punctuation goes
    assert split_references("a man. && R&B fan&&child") == ["a man", "RB fan", "child"]


@pytest.mark.parametrize("blank", ["{}&&", "{} && ", "&&{}", " && . && {} &&\u00a0", "{}&&!?"])
def test_blank_references_are_left_out(blank):
    captions = ["a man in a red coat waves", "the woman with a blue hat", "an old man with a stick"]
    assert [split_references(blank.format(one)) for one in captions] == [[one] for one in captions]
    assert [without_blanks(blank.format(one)).strip() for one in captions] == captions
    raw = [blank.format(one).split("&&") for one in captions]  # of a caller that splits by itself
    assert caption_scores(captions, raw) == pytest.approx({"cider": 1000})


def test_captions_beside_blank_ones_are_unchanged():
    assert without_blanks("a man. && R&B fan&&child") == "a man. && R&B fan&&child"
    assert without_blanks(" && ,&& .") == ""
    assert split_references(" && ,&& .") == []
    with pytest.raises(ValueError, match="each caption needs a reference"):
        caption_scores(["a man", "a dog"], [["a man"], ["", " . "]])


def test_clean_twice_is_clean_once():
    text = " , a - b . "
    assert clean(clean(text)) == clean(text)


def test_golden_references_of_the_evaluation_run(golden):
    # The references of eval/rhrc_cider.json, which RHrc has cleaned of [12, 3].
    caption = int(table("rhrc")["selected_cols"].split(",")[-1])
    column = [line.split("\t")[caption] for line in (golden / "data" / table("rhrc")["tsv"]).read_text().splitlines()]
    texts = [re.sub(r"\s+", " ", re.sub(r"\s*\[\d+(?:, \d+)*\]\s*", " ", text)) for text in column]
    expected = numbers("eval/rhrc_cider")
    assert [split_references(text) for text in texts] == expected["refs"]
    assert [clean(record["caption"]) for record in numbers("eval/rhrc_test_predict")] == expected["hyps"]


def test_bleu_by_hand(coco_captions, capsys):
    # 8 of 9 words, 6 of 7 pairs, 4 of 5 triples, 3 of 3; as long as the references
    scores = bleu(HYPOTHESES, REFERENCES)
    precisions = [8 / 9, 6 / 7, 4 / 5, 3 / 3]
    assert list(scores) == ["bleu1", "bleu2", "bleu3", "bleu4"]
    assert list(scores.values()) == pytest.approx([np.prod(precisions[:n]) ** (1 / n) for n in (1, 2, 3, 4)], abs=1e-6)
    assert capsys.readouterr().out == ""


def test_empty_captions_are_scored(coco_captions):
    assert bleu(["", "a"], [["a man"], ["b"]])["bleu1"] < 1e-6
    assert rouge_l(["", "a"], [["a man"], ["b"]]) == 0


def test_rouge_by_hand(coco_captions):
    # precision = recall = 2/3 on the second, whatever the white space
    assert rouge_l(["a man in a  red coat ", "the  dog runs"], REFERENCES) == pytest.approx((1 + 2 / 3) / 2)


def test_scores_are_in_percent_and_cleaned(coco_captions, monkeypatch, caplog):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with caplog.at_level(logging.WARNING):
        scores = caption_scores(["A man.", "a dog!"], [["A man"], ["a dog"]], with_bleu=True, with_meteor=True)
    assert list(scores) == ["cider", "bleu1", "bleu2", "bleu3", "bleu4", "rouge_l"]
    # the orders 1 and 2 are met, but "a"/"A" differ; a caption of two words has no longer n-gram
    assert scores["cider"] == pytest.approx(500)
    assert scores["bleu2"] == pytest.approx(100)
    assert "needs Java" in caplog.text


def test_meteor_needs_java(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="needs Java"):
        meteor(HYPOTHESES, REFERENCES)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("java"), reason="no java")
def test_meteor(coco_captions):
    assert meteor(["a man in\na red coat"], [["a man in a red  coat"]]) == pytest.approx(1, abs=0.01)
    assert meteor(["a man", ""], [["one dog"], ["a cat"]]) < 0.3


@pytest.mark.skipif(not shutil.which("java"), reason="no java")
def test_meteor_program_that_stops(coco_captions, monkeypatch):
    module = importlib.import_module("pycocoevalcap.meteor.meteor")
    monkeypatch.setattr(module, "METEOR_JAR", "no-such.jar")
    with pytest.raises(UserError, match="stopped"):
        meteor(HYPOTHESES, REFERENCES)


def test_missing_pycocoevalcap_is_named(monkeypatch):
    def refuse(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name="pycocoevalcap")

    monkeypatch.setattr(captions.importlib, "import_module", refuse)
    with pytest.raises(UserError, match=r"BLEU needs pycocoevalcap .*pip install"):
        bleu(HYPOTHESES, REFERENCES)
