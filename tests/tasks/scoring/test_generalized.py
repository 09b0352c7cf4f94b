"""Answers of none to many boxes: HumanRef's and gRefCOCO's metrics by hand, and from sums over rows."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from refhcm.tasks.scoring.scoring import Options, score

generalized = pytest.importorskip("refhcm.utils.generalized")

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


def test_the_sums_are_those_of_the_task(scored):
    from refhcm.tasks.scoring.generalized import generalized_metrics

    rng = np.random.default_rng(0)
    rows = []
    for k in range(40):
        corners = rng.integers(0, 50, (rng.integers(0, 4), 2))
        labels = np.concatenate([corners, corners + 20], axis=1)
        boxes = labels[: rng.integers(0, 4)] + rng.integers(-6, 6, 4)
        matched = generalized.match(boxes, labels)
        kind = ("", "near", "blank")[k % 3]
        rows.append(generalized.Matched(matched, len(boxes), len(labels), not len(boxes) and k % 5 > 0, kind))
    expected = {name: np.nan if v is None else v for name, v in generalized.generalized_scores(rows).items()}
    assert generalized_metrics(rows).values() == pytest.approx(expected, nan_ok=True)
