"""OKS AP of a result file on a COCO-style JSON, by hand."""

import json

import numpy as np
import pytest
from commands import refhcm


@pytest.fixture
def files(tmp_path):
    """Two people; the first is found exactly, the second is missed by far."""
    points = np.random.default_rng(0).uniform(10, 90, (2, 17, 2)).round(1)
    annotations = [
        {
            "id": i + 1,
            "image_id": i + 7,
            "category_id": 1,
            "iscrowd": 0,
            "area": 6400.0,
            "bbox": [10, 10, 80, 80],
            "num_keypoints": 17,
            "keypoints": np.column_stack([points[i], np.full(17, 2)]).ravel().tolist(),
        }
        for i in range(2)
    ]
    images = [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "a.jpg"}]
    truth = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    found = [points[0].ravel().tolist(), (points[1] + 500).ravel().tolist()]
    records = [{"uniq_id": str(i + 7), "keypoints": numbers} for i, numbers in enumerate(found)]
    (tmp_path / "found.json").write_text(json.dumps(records))
    return tmp_path


def test_half_are_found(files, capsys):
    assert refhcm("score-coco", str(files / "truth.json"), str(files / "found.json")) == 0
    scores = json.loads(capsys.readouterr().out)
    # Precision 1 up to recall 1/2, then 0: 51 of COCO's 101 recall points.
    assert scores["oks_ap50"] == pytest.approx(51 / 101)


@pytest.mark.parametrize(("scores", "expected"), [([0.9, 0.1], 51 / 101), ([0.1, 0.9], 51 / 101 / 2)])
def test_scores_rank_the_results(files, scores, expected, capsys):
    """The wrong one first: half of what is there at the recall of 1/2 is right."""
    records = json.loads((files / "found.json").read_text())
    ranked = [record | {"score": value} for record, value in zip(records, scores, strict=True)]
    (files / "ranked.json").write_text(json.dumps(ranked))
    assert refhcm("score-coco", str(files / "truth.json"), str(files / "ranked.json")) == 0
    assert json.loads(capsys.readouterr().out)["oks_ap50"] == pytest.approx(expected)


ZEROS = f'"uniq_id": "7", "keypoints": {[0] * 34}'


@pytest.mark.parametrize(
    "wrong",
    [
        *["[1]", "{", '[{"uniq_id": "7", "keypoints": [1, 2]}]'],
        *[f"[{{{ZEROS}}}, {{{ZEROS}}}]", f'[{{{ZEROS}, "score": NaN}}]', f"[{{{ZEROS.replace('0]', 'NaN]')}}}]"],
    ],
)
def test_wrong_result_files(files, wrong, capsys):
    (files / "wrong.json").write_text(wrong)
    assert refhcm("score-coco", str(files / "truth.json"), str(files / "wrong.json")) == 2
    assert capsys.readouterr().err.startswith(f"error: {files / 'wrong.json'}:")
