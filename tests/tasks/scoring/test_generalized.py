"""Answers of none to many boxes: HumanRef's and gRefCOCO's metrics by hand, and from sums over rows."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from refhcm.data.columns import kind_of
from refhcm.tasks.scoring.scoring import Options, score
from refhcm.utils.generalized import Matched, generalized_metrics, generalized_scores, match

LEFT, RIGHT, FAR = [0, 0, 10, 10], [20, 0, 30, 10], [50, 50, 60, 60]
ROWS = {  # id: labels and answer
    "both": ([LEFT, RIGHT], [LEFT, RIGHT]),
    "half": ([LEFT, RIGHT], [LEFT]),
    "crowd": ([LEFT], [LEFT, RIGHT, FAR, [70, 0, 80, 10]]),
    "missed": ([LEFT], []),
    "a_near": ([], []),
    "b_near": ([], [LEFT]),
    "c_blank": ([], []),
}


@pytest.fixture
def scored(tmp_path):
    def run(answers):
        lines = []
        for k, (name, (labels, _)) in enumerate(ROWS.items()):
            file = io.BytesIO()
            Image.new("RGB", (100, 100), (k, 0, 0)).save(file, "PNG")
            cell = ";".join(",".join(map(str, box)) for box in labels)
            lines.append("\t".join([name, "x", "people", cell, base64.b64encode(file.getvalue()).decode()]))
        (tmp_path / "grec.tsv").write_text("\n".join(lines) + "\n")
        (tmp_path / "a.jsonl").write_text("".join(json.dumps(answer) + "\n" for answer in answers))
        return score(Options(tmp_path / "grec.tsv", "grec", resamples=20), tmp_path / "a.jsonl").scored

    return run


def humanref(names=ROWS):
    return [{"id": name, "extracted_predictions": ROWS[name][1]} for name in names]


def test_by_hand(scored):
    values = {name: one.value for name, one in scored(humanref()).estimates.items()}
    several = {
        "recall": (1 + 1 / 2 + 1 + 0) / 4,
        "precision": (1 + 1 + 1 / 4 + 0) / 4,
        "f1": (1 + 2 / 3 + 2 / 5 + 0) / 4,
        "density_f1": (1 + 2 / 3 + 2 / 5 / 4 + 0) / 4,  # four boxes for one person
    }
    expected = several | {f"{name}_mean": value for name, value in several.items()}  # every pair's IoU is 1 or 0
    expected |= {"pr_f1": 3 / 7, "t_acc": 3 / 4, "n_acc": 2 / 3, "rejection": 2 / 3}
    expected |= {"rejection_near": 1 / 2, "rejection_blank": 1, "rejection_by_kind": 3 / 4}
    assert values == pytest.approx(expected, abs=1e-5)


def test_a_missing_answer_is_no_answer_about_nobody(scored):
    found = scored(humanref([name for name in ROWS if name != "c_blank"]))
    assert found.estimates["rejection_blank"].value == 0
    assert found.estimates["pr_f1"].value == pytest.approx(2 / 7)
    assert found.counts["missing"] == 1


@pytest.mark.parametrize("nothing", [{"boxes": None}, {"answer": None}, {"boxes": [], "valid": False}])
def test_only_an_empty_list_says_nobody(scored, nothing):
    found = scored([*humanref([name for name in ROWS if name != "c_blank"]), {"id": "c_blank", **nothing}])
    assert found.estimates["rejection_blank"].value == 0
    assert (found.counts["answered"], found.counts["unreadable"]) == (len(ROWS), 1)
    assert any("cannot be read as boxes" in remark for remark in found.remarks)


def test_answers_rank_only_if_each_has_a_score_and_they_differ(scored):
    answers = humanref([name for name in ROWS if name != "missed"])
    ranked = [answer | {"score": k} for k, answer in enumerate(answers)]
    assert scored(ranked).scores.tolist() == [0, 1, 2, -np.inf, 3, 4, 5]
    assert scored([*ranked[:-1], answers[-1]]).scores is None
    assert scored([answer | {"score": 0.5} for answer in humanref()]).scores is None


def test_weights_are_repeated_rows():
    """A picture that is drawn k times counts as k rows; one kind of row that fits nobody is not drawn at all."""
    names = list(ROWS)
    answers = [
        Matched(match(boxes, labels), len(boxes), len(labels), not boxes, kind_of(name))
        for name, (labels, boxes) in ROWS.items()
    ]
    weights = [2, 0, 3, 1, 1, 2, 0]
    drawn = generalized_metrics(answers).by_weight(np.arange(len(names)), len(names))(np.array([weights, weights]))
    repeated = generalized_scores([one for one, times in zip(answers, weights, strict=True) for _ in range(times)])
    assert np.isnan(drawn.pop("rejection_blank")).all()
    assert {name: value.tolist() for name, value in drawn.items()} == {
        name: pytest.approx([value, value]) for name, value in repeated.items()
    }
    assert repeated["rejection"] == repeated["rejection_by_kind"] == pytest.approx(1 / 3)
