"""`refhcm score` on a COCO-style annotation file."""

import json

import numpy as np
import pytest
from commands import refhcm


def coco_files(folder, scores=(0.9, 0.1)):
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
            "keypoints": np.column_stack([points[i], np.full(17, 2)]).ravel().tolist(),
        }
        for i in range(2)
    ]
    images = [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "a.jpg"}]
    (folder / "truth.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    found = [points[0].ravel().tolist(), (points[1] + 500).ravel().tolist()]
    records = [{"uniq_id": str(i + 7), "keypoints": numbers} for i, numbers in enumerate(found)]
    return [record | ({"score": s} if s is not None else {}) for record, s in zip(records, scores, strict=True)]


def coco_report(folder, records, capsys):
    (folder / "found.json").write_text(json.dumps(records))
    status = refhcm("score", folder / "truth.json", folder / "found.json", "--format", "json", "--resamples", "20")
    assert status == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("scores", "expected"), [((None, None), 51 / 101), ((0.9, 0.1), 51 / 101), ((0.1, 0.9), 51 / 101 / 2)]
)
def test_coco_keypoints(tmp_path, capsys, scores, expected):
    """Precision 1 up to recall 1/2, then 0: 51 of COCO's 101 recall points; half of that with the wrong one first."""
    records = coco_files(tmp_path, scores)
    report = coco_report(tmp_path, records, capsys)
    assert report["metrics"]["oks_ap50"]["value"] == pytest.approx(expected)
    assert report["pictures"] == 1
    results = [
        {
            "image_id": int(record["uniq_id"]),
            "category_id": 1,
            "keypoints": np.insert(np.reshape(record["keypoints"], (17, 2)), 2, 1, axis=1).ravel().tolist(),
            "score": record.get("score", 1.0),
        }
        for record in records
    ]
    assert coco_report(tmp_path, results, capsys)["metrics"] == report["metrics"]


def test_results_that_pycocotools_numbered(tmp_path, capsys):
    """Their `id` counts results, here against the order of the images: `image_id` says which image they are of."""
    first, second = (
        {"image_id": int(record.pop("uniq_id")), "category_id": 1, **record} for record in coco_files(tmp_path)
    )
    report = coco_report(tmp_path, [second | {"id": 7}, first | {"id": 8}], capsys)
    assert report["metrics"] == coco_report(tmp_path, [second, first], capsys)["metrics"]
    assert report["metrics"]["oks_ap50"]["value"] == pytest.approx(51 / 101)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--coordinates", "1"], "--coordinates"),
        (["--by", "2"], "--by"),
        (["--by", "place", "--facts", "facts.jsonl"], "--by, --facts"),
        (["--selected-cols", "0,5,2,3,4"], "--selected-cols"),
    ],
)
def test_flags_of_a_table_are_refused(tmp_path, capsys, flags, named):
    (tmp_path / "found.json").write_text(json.dumps(coco_files(tmp_path)))
    assert refhcm("score", tmp_path / "truth.json", tmp_path / "found.json", *flags) == 2
    assert capsys.readouterr().err.startswith(f"error: {named}: only with a TSV table, got {tmp_path / 'truth.json'}")


def test_coco_ids_that_do_not_fit_are_counted(tmp_path, capsys):
    records = coco_files(tmp_path)
    report = coco_report(tmp_path, [records[0], records[0], records[1] | {"uniq_id": "01"}], capsys)
    assert {name: report["counts"][name] for name in ("missing", "unknown", "doubled")} == {
        "missing": 1,
        "unknown": 1,
        "doubled": 1,
    }
    assert report["metrics"]["oks_ap50"]["value"] == pytest.approx(51 / 101)


@pytest.mark.parametrize(
    "wrong", ["[1]", "{", '[{"uniq_id": "7", "keypoints": [1, 2]}]', '[{"uniq_id": "5", "keypoints": 1}]']
)
def test_wrong_coco_results(tmp_path, capsys, wrong):
    coco_files(tmp_path)
    (tmp_path / "wrong.json").write_text(wrong)
    assert refhcm("score", tmp_path / "truth.json", tmp_path / "wrong.json") == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'wrong.json'}:")
