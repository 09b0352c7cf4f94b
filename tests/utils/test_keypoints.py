import json
import math

import numpy as np
import pytest
import torch
from golden_folder import tensors
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from refhcm.utils.errors import DataError
from refhcm.utils.keypoints import (
    KEYPOINT_NAMES,
    SIGMAS,
    SKELETON,
    evaluate_coco_json,
    oks,
    oks_average_precision,
)

poses = arrays(np.float32, (3, 17, 2), elements=st.floats(1, 500, width=32))
BOX = np.array([[0, 0, 100, 100]], np.float32)


def only_nose(x, y):
    keypoints = np.zeros((1, 17, 2), np.float32)
    keypoints[0, 0] = x, y
    return keypoints


def test_sigmas_are_cocos():
    from pycocotools.cocoeval import Params

    assert pytest.approx(Params("keypoints").kpt_oks_sigmas, rel=1e-6) == SIGMAS


def test_skeleton_is_cocos():
    # COCO's own list, which counts from 1
    coco = "16-14 14-12 17-15 15-13 12-13 6-12 7-13 6-7 6-8 7-9 8-10 9-11 2-3 1-2 1-3 2-4 3-5 4-6 5-7"
    assert " ".join(f"{a + 1}-{b + 1}" for a, b in SKELETON) == coco
    assert len(KEYPOINT_NAMES) == len(set(KEYPOINT_NAMES)) == 17


def test_oks_by_hand():
    # the nose 3, 4 px off: exp(-25 / (2 * 0.026)^2 / 100^2 / 2)
    value = oks(only_nose(53, 54), only_nose(50, 50), BOX)
    assert value == pytest.approx(math.exp(-25 / 0.052**2 / 1e4 / 2), rel=1e-5)


def test_only_visible_keypoints_of_the_label_count():
    prediction = np.full((1, 17, 2), 77, np.float32)
    prediction[0, 0] = 50, 50
    assert oks(prediction, only_nose(50, 50), BOX) == 1
    # on an axis is visible, (0, 0) is not
    assert oks(only_nose(0, 30), only_nose(0, 30), BOX) == 1
    label = only_nose(0, 30)
    label[0, 1] = 30, 0
    assert oks(only_nose(0, 30), label, BOX) == pytest.approx(0.5)


def test_without_visible_keypoints_the_doubled_box_counts():
    nowhere = np.zeros((1, 17, 2), np.float32)
    box = np.array([[100, 100, 150, 200]], np.float32)  # doubled: 50, 0 .. 200, 300
    inside, outside = np.full((1, 17, 2), 199, np.float32), np.full((1, 17, 2), 203, np.float32)
    assert oks(inside, nowhere, box) == 1
    expected = np.exp(-9 / (2 * SIGMAS) ** 2 / (50 * 100) / 2).mean()  # 3 px off in x alone
    assert oks(outside, nowhere, box) == pytest.approx(expected, rel=1e-5)


def test_arguments_stay_and_tensors_are_taken():
    label, prediction, box = np.zeros((1, 17, 2), np.float32), only_nose(50, 50), BOX.copy()
    oks(prediction, label, box)
    assert (label == 0).all()
    assert (box == BOX).all()
    assert oks(torch.from_numpy(prediction), torch.from_numpy(label), torch.from_numpy(box)).dtype == np.float32


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="17, 2"):
        oks(np.zeros((17, 2)), np.zeros((1, 17, 2)), BOX)
    with pytest.raises(ValueError, match="17, 2"):
        oks(np.zeros((1, 17, 2)), np.zeros((1, 17, 2)), BOX[0])


@given(poses, poses)
def test_oks_is_one_for_the_same_pose_and_a_share_for_others(a, b):
    box = np.array([[0, 0, 300, 200]] * 3, np.float32)
    assert (oks(a, a, box) == 1).all()
    value = oks(a, b, box)
    assert ((value >= 0) & (value <= 1)).all()


@given(poses, poses, st.sampled_from([0.5, 2, 8]))
def test_oks_does_not_depend_on_the_scale_of_the_picture(a, b, scale):
    box = np.array([[0, 0, 300, 200]] * 3, np.float32)
    assert oks(a * scale, b * scale, box * scale) == pytest.approx(oks(a, b, box), abs=1e-5)


@given(poses, poses)
def test_a_larger_person_forgives_more(a, b):
    box = np.array([[0, 0, 300, 200]] * 3, np.float32)
    assert (oks(a, b, 2 * box) >= oks(a, b, box)).all()


def test_golden_oks():
    # metrics/metrics_golden.safetensors; the raw numbers were found by bisection, +-1e-6
    g = {name: value.numpy() for name, value in tensors("metrics/metrics_golden").items()}
    prediction, label = g["oks_hyp"].reshape(-1, 17, 2), g["oks_ref"].reshape(-1, 17, 2)
    box = g["oks_bbox_before"]
    value = oks(prediction, label, box)
    assert value == pytest.approx(g["oks_raw_bisected"], abs=1e-6)
    thresholds = [name.removeprefix("oks_score_thresh") for name in g if name.startswith("oks_score_thresh")]
    assert thresholds
    for threshold in thresholds:
        assert (value >= float(threshold)).tolist() == (g[f"oks_score_thresh{threshold}"] == 1).tolist()
    count, given = g["oks_short_hyp"].shape
    short = np.pad(g["oks_short_hyp"], ((0, 0), (0, 34 - given))).reshape(-1, 17, 2)
    assert (oks(short, label[:count], box[:count]) >= 0.5).tolist() == (g["oks_short_score"] == 1).tolist()


def nose_off_by(similarity):
    """A nose in the box of 100 x 100 px, moved so far in x that its OKS is this."""
    return only_nose(50 + math.sqrt(-math.log(similarity) * 2 * 1e4) * 0.052, 50)


def test_average_precision_by_hand():
    label = only_nose(50, 50)
    # 0.72 passes .50 .55 .60 .65 .70, and not .75 .80 .85 .90 .95
    result = oks_average_precision(nose_off_by(0.72), label, box_xyxy=BOX)
    assert result == pytest.approx({"oks_ap": 0.5, "oks_ap50": 1, "oks_ap75": 0})


def test_scores_rank_the_predictions():
    # one miss and one hit: recall reaches 0.5, which covers 51 of COCO's 101 points
    prediction, label = np.concatenate([nose_off_by(0.1), nose_off_by(0.99)]), np.concatenate([only_nose(50, 50)] * 2)
    boxes = np.repeat(BOX, 2, 0)
    miss_first = oks_average_precision(prediction, label, box_xyxy=boxes, scores=[0.9, 0.1])
    hit_first = oks_average_precision(prediction, label, box_xyxy=boxes, scores=[0.1, 0.9])
    assert miss_first["oks_ap"] == pytest.approx(0.5 * 51 / 101)
    assert hit_first["oks_ap"] == pytest.approx(51 / 101)


def test_nan_is_not_a_hit():
    with pytest.raises(ValueError, match="finite"):
        oks_average_precision(only_nose(math.nan, 1), only_nose(50, 50), box_xyxy=BOX)


def crowd(seed=3, count=30):
    """Random people: labels with hidden keypoints, predictions near them."""
    rng = np.random.default_rng(seed)
    label = rng.uniform(20, 400, (count, 17, 2)) * (rng.random((count, 17, 1)) < 0.6)
    box = np.column_stack([rng.uniform(0, 20, (count, 2)), rng.uniform(300, 400, (count, 2))])
    return label + rng.normal(0, 1, label.shape) * rng.uniform(5, 60, (count, 1, 1)), label, box, rng.random(count)


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


def test_average_precision_is_pycocotools(tmp_path, capsys):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    prediction, label, box, scores = crowd()
    content = coco_content(label, box)
    for annotation in content["annotations"]:
        annotation["id"] += 1
    path = tmp_path / "refhuman.json"
    path.write_text(json.dumps(content))
    truth = COCO(path)
    found = [
        {"image_id": 100 + k, "category_id": 1, "score": scores[k], "keypoints": np.insert(p, 2, 1, axis=1).ravel()}
        for k, p in enumerate(prediction)
    ]
    evaluation = COCOeval(truth, truth.loadRes(found), "keypoints")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    capsys.readouterr()

    from_arrays = oks_average_precision(prediction, label, box_xyxy=box, scores=scores)
    by_id = {100 + k: p for k, p in enumerate(prediction)}
    from_file = evaluate_coco_json(path, by_id, scores={100 + k: s for k, s in enumerate(scores)})
    assert capsys.readouterr().out == ""
    assert 0 < evaluation.stats[2] < evaluation.stats[0] < evaluation.stats[1] < 1
    assert list(from_arrays.values()) == pytest.approx(evaluation.stats[:3])
    assert list(from_file.values()) == pytest.approx(evaluation.stats[:3])


def test_annotation_id_zero_is_a_match(tmp_path):
    path = tmp_path / "refhuman.json"
    path.write_text(json.dumps(coco_content(only_nose(50, 50), BOX)))
    assert evaluate_coco_json(path, {100: only_nose(50, 50)[0]})["oks_ap"] == pytest.approx(1)


@pytest.mark.parametrize(("own", "given"), [("a", "a"), ("7", "7"), ("7", 7), (7, "7")])
def test_ids_are_compared_as_text(tmp_path, own, given):
    content = coco_content(only_nose(50, 50), BOX)
    content["images"][0]["id"] = content["annotations"][0]["image_id"] = own
    path = tmp_path / "refhuman.json"
    path.write_text(json.dumps(content))
    point = only_nose(50, 50)[0]
    assert evaluate_coco_json(path, {given: point}, scores={given: 0.5})["oks_ap"] == pytest.approx(1)
    with pytest.raises(DataError, match="got 2 for 1"):
        evaluate_coco_json(path, {str(own): point, 7: point} if own != "a" else {"a": point, 7: point})


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
        (broken(lambda c: c["images"].append({"id": 7})), "1 without an annotation"),
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
        evaluate_coco_json(path, {100: only_nose(50, 50)[0]})


def test_predictions_must_match_the_file(tmp_path):
    path = tmp_path / "refhuman.json"
    path.write_text(json.dumps(coco_content(only_nose(50, 50), BOX)))
    with pytest.raises(DataError, match=r"predictions .* 1 missing \(such as \[100\]\), 1 unknown \(such as \[5\]\)"):
        evaluate_coco_json(path, {5: only_nose(50, 50)[0]})
    with pytest.raises(DataError, match="COCO-style JSON"):
        evaluate_coco_json(tmp_path / "none.json", {})
