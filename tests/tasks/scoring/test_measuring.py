"""Metrics, and how good each row is, of answers made by hand."""

import numpy as np
import pytest
from PIL import Image

from refhcm.tasks.scoring.answers import Answer
from refhcm.tasks.scoring.label_maps import Pair, confusion, on_canvas
from refhcm.tasks.scoring.labels import Labels
from refhcm.tasks.scoring.measuring import (
    Measured,
    measure_boxes,
    measure_captions,
    measure_keypoints,
    measure_label_maps,
)
from refhcm.tasks.scoring.scoring import risk_of, swapped
from refhcm.utils.metrics import values_of

BOX = np.array([10, 10, 60, 110], np.float32)


def only_nose(x, y):
    points = np.zeros((17, 2))
    points[0] = x, y
    return points


def test_the_first_of_several_boxes_counts():
    far = BOX + 90
    answers = [Answer("", np.array([BOX, far])), Answer("", np.array([far, BOX])), Answer("", BOX[None]), None]
    found = measure_boxes(answers, Labels(boxes=[BOX] * 4))
    assert values_of(found.metrics) == {"score": 0.5}
    assert found.quality.tolist() == [1, 0, 1, 0]
    assert found.remarks == ("2 answers have several boxes; the first one counts",)
    assert measure_boxes(answers[2:], Labels(boxes=[BOX] * 2)).remarks == ()


def test_a_missing_person_is_not_found():
    """Even where the label's keypoints lie at its corner; precision is 1 up to a recall of 2/3."""
    labels = Labels(boxes=[BOX] * 3, keypoints=[only_nose(30, 20).ravel()] * 2 + [only_nose(0.1, 0).ravel()])
    right = [Answer("", keypoints=only_nose(30, 20), score=score) for score in (0.9, 0.2)]
    found = measure_keypoints([*right, None], labels)
    expected = dict.fromkeys(("oks_score", "oks"), 2 / 3) | dict.fromkeys(("oks_ap", "oks_ap50", "oks_ap75"), 67 / 101)
    assert values_of(found.metrics) == pytest.approx(expected)
    assert found.quality.tolist() == [1, 1, 0]
    assert len(found.remarks) == 1  # no boxes


def test_without_a_score_for_each_answer_all_rank_alike():
    """By scores the wrong one would come last; by the table's order it comes first: precision is 1/2 at best."""
    labels = Labels(boxes=[BOX] * 2, keypoints=[only_nose(30, 20).ravel()] * 2)
    for scores, expected in (((0.1, 0.9), 51 / 101), ((None, 0.9), 51 / 101 / 2)):
        answers = [Answer("", keypoints=only_nose(x, 20), score=s) for x, s in zip((900, 30), scores, strict=True)]
        found = measure_keypoints(answers, labels)
        assert values_of(found.metrics)["oks_ap"] == pytest.approx(expected)
        assert len(found.remarks) == 1 + (None in scores)


def test_a_caption_s_quality_is_a_share():
    answers = [Answer("", caption="Red coat!"), None]
    found = measure_captions(answers, Labels(references=[["red coat"], ["blue hat"]]))
    # "Red" is another word: cosine 1/2 of the words, none of the pairs, of 4 orders
    assert found.quality == pytest.approx([0.5 / 4, 0])
    assert values_of(found.metrics) == pytest.approx({"cider": 1000 * 0.5 / 4 / 2})


def test_a_row_s_quality_is_the_share_of_the_person_that_is_right():
    confusions = np.zeros((3, 20, 20), np.int32)
    confusions[0, 0, 0] = confusions[1, 0, 0] = 90
    confusions[0, 5, 5], confusions[0, 19, 19], confusions[0, 5, 19], confusions[0, 0, 5], confusions[0, 7, 0] = (
        3,
        1,
        2,
        1,
        1,
    )
    confusions[2, 1, 1] = 7
    found = measure_label_maps([Answer("", BOX[None]), None, None], Labels(boxes=[BOX] * 3), lambda *_: confusions)
    assert found.quality == pytest.approx([4 / 8, 0, 1])  # the second shows nobody, and nobody was answered
    assert found.metrics[0].values() == pytest.approx({"box_score": 1 / 3})
    assert found.metrics[1].values()["pixel_acc"] == pytest.approx((90 + 4 + 90 + 7) / (98 + 90 + 7))


def test_codes_without_boxes_and_without_a_decoder_have_no_scores():
    found = measure_label_maps([Answer("", codes=np.zeros(48))] * 2, Labels(boxes=[BOX] * 2), lambda *_: None)
    assert (found.metrics, found.quality.tolist(), len(found.remarks)) == ([], [0, 0], 2)


def test_ignored_pixels_of_an_answered_mask_are_background(tmp_path):
    (tmp_path / "gts").mkdir()
    for name, row in (("gts/label.png", [1, 2, 3, 255]), ("answer.png", [1, 255, 4, 1])):
        Image.fromarray(np.array([row], np.uint8)).save(tmp_path / name)
    pair = Pair("label.png", "a.tsv:1", (4, 1), Answer("a.jsonl:1", mask="answer.png"), None)
    found = confusion(pair, root=tmp_path, folder=tmp_path, canvas=4)
    cells = {(int(label), int(predicted)): int(found[label, predicted]) for label, predicted in np.argwhere(found)}
    assert cells == {(1, 1): 4, (2, 0): 4, (3, 4): 4}


def test_only_rounding_is_made_good_on_the_canvas():
    # 200 x 100 px on 50: the ratios are 1/4 and 1/2
    box = on_canvas(np.array([4 - 6e-4, 10, 44 + 2e-3, 50 + 3e-4]), (200, 100), 50)
    assert box.tolist() == pytest.approx([1, 5, 11.0005, 25], abs=1e-9)


def test_risk_by_hand():
    """From the most confident on: 1, then two equal scores that share 1/2, then a row without an answer."""
    measured = Measured([], np.array([0.0, 1, 0, 1]), "quality")
    risk = risk_of(measured, np.array([0.5, 0.9, -np.inf, 0.5]))
    means = [1, 1.5 / 2, 2 / 3, 2 / 4]
    assert risk["aurc"] == pytest.approx(1 - sum(means) / 4)
    assert [row["rows"] for row in risk["table"]] == [4, 4, 3, 3, 2, 2, 2, 1, 1, 1]  # 90 % of 4 is 3.6; at least one
    assert [row["coverage"] for row in risk["table"]] == [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    assert [row["quality"] for row in risk["table"]] == pytest.approx([means[row["rows"] - 1] for row in risk["table"]])
    assert risk_of(measured, None) is None


@pytest.mark.parametrize(("right", "remarks"), [(4, 1), (5, 0)])
def test_swapped_corners_are_noticed_from_a_fifth_on(right, remarks):
    for wrong in ([10, 10, 5, 90], [0, 10, 50, 10]):
        answers = [Answer("", np.array([box])) for box in ([wrong] + [BOX] * (right - 1) + [[0, 0, 0, 0]])]
        assert len(swapped([*answers, None, Answer("")])) == remarks
