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


@pytest.mark.parametrize(
    ("ids", "answered"),
    [
        ([791, 5], ["791", "5"]),
        ([791, 5], [791, 5]),
        (["7_91", "79_1"], ["7_91", "79_1"]),
        (["b2", "a1"], ["b2", "a1"]),
        (["1", "2"], ["1", "2"]),
        (["1", "2"], [1, 2]),
        (["07", "7"], ["07", "7"]),
        (["größer", ""], ["größer", ""]),
        ([10**30, 5], [str(10**30), "5"]),
    ],
)
def test_ids_are_the_annotation_files_own(files, capsys, ids, answered):
    assert refhcm("score-coco", *renamed(files, ids, answered)) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["oks_ap50"] == pytest.approx(51 / 101)


@pytest.mark.parametrize(
    ("ids", "answered", "message"),
    [
        ([791, 5], ["79_1", "5"], r"1 missing (such as [791]), 1 unknown (such as ['79_1'])"),
        ([1, 2], ["01", "2"], "unknown (such as ['01'])"),
        ([1, 2], [" 1", "2"], "unknown (such as [' 1'])"),
        ([1, 2], [1.7, 2], "`uniq_id` 1.7"),
        ([1, 2], [True, 2], "`uniq_id` True"),
        ([1, 2], [None, 2], "`uniq_id` None"),
        ([1, 2], [1, "1"], "occurs twice"),
        ([1, "1"], [1, 2], "expected COCO-style JSON"),
        ([1.5, 2], [1, 2], "ids must be whole numbers, or all of them texts"),
        ([True, 2], [1, 2], "ids must be whole numbers"),
    ],
)
def test_other_ids_are_errors(files, capsys, ids, answered, message):
    assert refhcm("score-coco", *renamed(files, ids, answered)) == 2
    assert message in capsys.readouterr().err


def test_an_area_beyond_all_numbers(files, capsys):
    (files / "truth.json").write_text((files / "truth.json").read_text().replace("6400.0", "1" + "0" * 400))
    assert refhcm("score-coco", str(files / "truth.json"), str(files / "found.json")) == 2
    assert "annotations[0]: expected" in capsys.readouterr().err


def renamed(files, ids, answered):
    """Both files with other ids; results are in another order, and the right one has the higher score."""
    truth, found = (json.loads((files / name).read_text()) for name in ("truth.json", "found.json"))
    for image, annotation, i in zip(truth["images"], truth["annotations"], ids, strict=True):
        image["id"] = annotation["image_id"] = i
    for record, i, score in zip(found, answered, (0.9, 0.1), strict=True):
        record |= {"uniq_id": i, "score": score}
    (files / "truth2.json").write_text(json.dumps(truth))
    (files / "found2.json").write_text(json.dumps(found[::-1]))
    return str(files / "truth2.json"), str(files / "found2.json")


ZEROS = f'"uniq_id": "7", "keypoints": {[0] * 34}'


@pytest.mark.parametrize(
    "wrong",
    [
        *["[1]", "{", '[{"uniq_id": "7", "keypoints": [1, 2]}]'],
        f"[{{{ZEROS.replace('0]', '1' + '0' * 400 + ']')}}}]",
        f'[{{{ZEROS}, "score": 1{"0" * 400}}}]',
        *[f"[{{{ZEROS}}}, {{{ZEROS}}}]", f'[{{{ZEROS}, "score": NaN}}]', f"[{{{ZEROS.replace('0]', 'NaN]')}}}]"],
    ],
)
def test_wrong_result_files(files, wrong, capsys):
    (files / "wrong.json").write_text(wrong)
    assert refhcm("score-coco", str(files / "truth.json"), str(files / "wrong.json")) == 2
    assert capsys.readouterr().err.startswith(f"error: {files / 'wrong.json'}:")
