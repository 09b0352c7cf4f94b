"""COCO's keypoint evaluation of annotation files, and files that are none."""

import contextlib
import io
import json
import math

import numpy as np
import pytest

from refhcm.utils.coco_keypoints import Detection, average_precisions, read_people
from refhcm.utils.errors import DataError
from refhcm.utils.metrics import values_of

BOX = np.array([[0, 0, 100, 100]], np.float32)


def only_nose(x, y):
    keypoints = np.zeros((1, 17, 2), np.float32)
    keypoints[0, 0] = x, y
    return keypoints


def coco_content(label, box):
    annotations = [
        {
            "id": k,  # from 0, where COCOeval by itself loses a match
            "image_id": 100 + k,
            "category_id": 1,
            "keypoints": np.column_stack([points, 2 * (points.max(1) > 0)]).ravel().tolist(),
            "num_keypoints": int((points.max(1) > 0).sum()),
            "bbox": [*corners[:2].tolist(), *(corners[2:] - corners[:2]).tolist()],
            "area": float((corners[2:] - corners[:2]).prod()),
            "iscrowd": 0,
        }
        for k, (points, corners) in enumerate(zip(label, box, strict=True))
    ]
    images = [{"id": 100 + k, "file_name": "same.jpg", "caption": f"person {k}"} for k in range(len(label))]
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}


def test_several_people_in_a_picture_are_pycocotools(tmp_path):
    """COCO's own protocol: crowds, people without keypoints, pictures without people, several predictions."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(1)
    label = rng.uniform(20, 200, (40, 17, 2)) * (rng.random((40, 17, 1)) < 0.6)
    label[3] = 0
    box = np.column_stack([rng.uniform(0, 20, (40, 2)), rng.uniform(60, 250, (40, 2))])
    content = coco_content(label, box)
    for k, annotation in enumerate(content["annotations"]):
        annotation |= {"id": k + 1, "image_id": 100 + k // 3, "iscrowd": int(k == 7)}
    predictions = label + rng.normal(0, 1, label.shape) * rng.uniform(1, 20, (40, 1, 1))
    places, scores = (np.arange(40) + 2) // 3, rng.random(40)
    path = tmp_path / "people.json"
    path.write_text(json.dumps(content))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(path)
        found = [
            {"image_id": 100 + int(i), "category_id": 1, "score": s, "keypoints": np.insert(p, 2, 1, axis=1).ravel()}
            for i, p, s in zip(places, predictions, scores, strict=True)
        ]
        evaluation = COCOeval(truth, truth.loadRes(found), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    detections = [Detection(int(i), p, s) for i, p, s in zip(places, predictions, scores, strict=True)]
    values = values_of(average_precisions(read_people(path), detections))
    names = ("oks_ap", "oks_ap50", "oks_ap75", "oks_ap_medium", "oks_ap_large", "oks_ar")
    assert [values[name] for name in names] == pytest.approx(evaluation.stats[:6].tolist())
    assert 0 < values["oks_ap"] < values["oks_ap50"] < 1


def test_annotation_id_zero_is_a_match(tmp_path):
    path = tmp_path / "refhuman.json"
    path.write_text(json.dumps(coco_content(only_nose(50, 50), BOX)))
    metrics = average_precisions(read_people(path), [Detection(0, only_nose(50, 50)[0], 1.0)])
    assert values_of(metrics)["oks_ap"] == pytest.approx(1)


def test_who_is_to_be_found(tmp_path):
    """A person counts unless it is a crowd, or no keypoint has a flag: the flag decides, not the coordinates."""
    path, detections = tmp_path / "people.json", [Detection(0, only_nose(50, 50)[0], 1.0)]
    person, crowd, hidden = (coco_content(only_nose(50, 50), BOX) for _ in range(3))
    del person["annotations"][0]["iscrowd"]  # as in RefHuman's file
    crowd["annotations"][0]["iscrowd"] = 1
    hidden["annotations"][0]["keypoints"] = [50, 50, 0] * 17
    for content, expected in ((person, 1), (crowd, -1), (hidden, -1)):
        path.write_text(json.dumps(content))
        assert values_of(average_precisions(read_people(path), detections))["oks_ap"] == pytest.approx(expected)
    path.write_text(json.dumps(person))
    found = values_of(average_precisions(read_people(path), []))
    assert (found["oks_ap"], found["oks_ar"]) == (0, 0)


def broken(change):
    content = coco_content(only_nose(50, 50), BOX)
    change(content)
    return json.dumps(content)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "JSON"),
        ("[]", "expected COCO-style JSON"),
        (broken(lambda c: c.pop("annotations")), r"KeyError\('annotations'\)"),
        (broken(lambda c: c["images"][0].pop("id")), "each with an 'id'"),
        (broken(lambda c: c["images"].append(c["images"][0])), "2 image entries, 1 ids"),
        (broken(lambda c: c["images"][0].update(id=1.5)), "ids must be whole numbers"),
        (broken(lambda c: c["annotations"][0].update(image_id=[1])), r"annotations\[0\]: .*neither a whole number"),
        (broken(lambda c: c["annotations"].append({})), r"annotations\[1\]: expected 'image_id'"),
        (broken(lambda c: c["annotations"][0].update(image_id=8)), "1 unknown"),
        (broken(lambda c: c["annotations"][0].update(keypoints=[1, 2, 2])), r"annotations\[0\]: .*51 .*size 3"),
        (broken(lambda c: c["annotations"][0].update(bbox=[1, 2, "x", 4])), r"annotations\[0\]: .*'x'"),
        (broken(lambda c: c["annotations"][0].update(bbox=[1, 2, math.inf, 4])), r"annotations\[0\]: .*not finite"),
        (broken(lambda c: c["annotations"][0].pop("area")), r"annotations\[0\]: .*KeyError\('area'\)"),
    ],
)
def test_malformed_coco_json_is_named(tmp_path, text, message):
    path = tmp_path / "refhuman.json"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_people(path)
