"""COCO's average precision by hand, beside pycocotools, and of resamples."""

import contextlib
import io
import math

import numpy as np
import pytest

from refhcm.utils.average_precision import THRESHOLDS, Ranked, coco_oks, keypoint_precision
from refhcm.utils.keypoints import oks

BOX = np.array([[0, 0, 100, 100]], np.float32)


def average_precision(prediction, label, **more):
    return keypoint_precision(prediction, label, **more).values()


def only_nose(x, y):
    keypoints = np.zeros((1, 17, 2), np.float32)
    keypoints[0, 0] = x, y
    return keypoints


def nose_off_by(similarity):
    """A nose in the box of 100 x 100 px, moved so far in x that its OKS is this."""
    return only_nose(50 + math.sqrt(-math.log(similarity) * 2 * 1e4) * 0.052, 50)


def test_average_precision_by_hand():
    label = only_nose(50, 50)
    # 0.72 passes .50 .55 .60 .65 .70, and not .75 .80 .85 .90 .95
    result = average_precision(nose_off_by(0.72), label, box_xyxy=BOX)
    assert result == pytest.approx({"oks_ap": 0.5, "oks_ap50": 1, "oks_ap75": 0})


def test_thresholds_are_included():
    # of two visible keypoints one is right, the other far away: OKS is 1/2 exactly; of four, three: 3/4
    for visible, expected in ((2, {"oks_ap": 0.1, "oks_ap50": 1, "oks_ap75": 0}), (4, {"oks_ap": 0.6, "oks_ap75": 1})):
        label, prediction = np.zeros((2, 1, 17, 2))
        label[0, :visible] = prediction[0, :visible] = 50
        prediction[0, 0] = 1e6
        found = average_precision(prediction, label, box_xyxy=BOX)
        assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_similarity_is_the_paper_s():
    """Also without visible keypoints, inside the doubled box and on every side of it."""
    prediction, label, box, _ = crowd()
    label[:10] = 0
    prediction[2:10] += np.repeat([[[500, 0]], [[-500, 0]], [[0, 500]], [[0, -500]]], 2, 0)
    prediction[:2] = 100
    found = coco_oks(prediction, label, box)
    assert found == pytest.approx(oks(prediction, label, box), abs=1e-5)
    assert (found[:2] == 1).all()
    assert (found[2:10] < 0.99).all()


def test_scores_rank_the_predictions():
    # one miss and one hit: recall reaches 0.5, which covers 51 of COCO's 101 points
    prediction, label = np.concatenate([nose_off_by(0.1), nose_off_by(0.99)]), np.concatenate([only_nose(50, 50)] * 2)
    boxes = np.repeat(BOX, 2, 0)
    miss_first = average_precision(prediction, label, box_xyxy=boxes, scores=[0.9, 0.1])
    hit_first = average_precision(prediction, label, box_xyxy=boxes, scores=[0.1, 0.9])
    assert miss_first["oks_ap"] == pytest.approx(0.5 * 51 / 101)
    assert hit_first["oks_ap"] == pytest.approx(51 / 101)


def test_nan_is_not_a_hit():
    with pytest.raises(ValueError, match="finite"):
        average_precision(only_nose(math.nan, 1), only_nose(50, 50), box_xyxy=BOX)
    with pytest.raises(ValueError, match="finite"):
        average_precision(only_nose(50, 50), only_nose(50, 50), box_xyxy=BOX, scores=[math.inf])


def test_each_row_has_one_score():
    with pytest.raises(ValueError, match="17, 2"):
        average_precision(only_nose(50, 50), only_nose(50, 50), box_xyxy=BOX, scores=[0.1, 0.2])


def crowd(seed=3, count=30):
    """Random people: labels with hidden keypoints, predictions near them."""
    rng = np.random.default_rng(seed)
    label = rng.uniform(20, 400, (count, 17, 2)) * (rng.random((count, 17, 1)) < 0.6)
    box = np.column_stack([rng.uniform(0, 20, (count, 2)), rng.uniform(300, 400, (count, 2))])
    return label + rng.normal(0, 1, label.shape) * rng.uniform(5, 60, (count, 1, 1)), label, box, rng.random(count)


def by_pycocotools(prediction, label, box, scores):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotations = [
        {
            "id": k + 1,
            "image_id": k,
            "category_id": 1,
            "keypoints": np.column_stack([points, 2 * (points.max(1) > 0)]).ravel().tolist(),
            "num_keypoints": int((points.max(1) > 0).sum()),
            "bbox": [*corners[:2].tolist(), *(corners[2:] - corners[:2]).tolist()],
            "area": float((corners[2:] - corners[:2]).prod()),
            "iscrowd": 0,
        }
        for k, (points, corners) in enumerate(zip(label, box, strict=True))
    ]
    truth = COCO()
    truth.dataset = {"images": [{"id": k} for k in range(len(label))], "annotations": annotations}
    truth.dataset["categories"] = [{"id": 1, "name": "person"}]
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        found = [
            {"image_id": k, "category_id": 1, "score": scores[k], "keypoints": np.insert(p, 2, 1, axis=1).ravel()}
            for k, p in enumerate(prediction)
        ]
        evaluation = COCOeval(truth, truth.loadRes(found), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[:3]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("tied", [False, True])
def test_it_is_pycocotools(seed, tied):
    prediction, label, box, scores = crowd(seed)
    label[seed] = 0  # nobody to be found there: a prediction far from the box is an error
    prediction[seed] += 1000 * (seed % 2)
    scores = np.round(scores, 1) if tied else scores
    expected = by_pycocotools(prediction, label, box, scores)
    found = average_precision(prediction, label, box_xyxy=box, scores=scores)
    assert list(found.values()) == pytest.approx(expected, abs=1e-12)
    assert 0 < expected[0] < 1


def test_nobody_to_be_found():
    nobody = np.zeros((1, 17, 2))
    assert set(average_precision(nobody, nobody, box_xyxy=BOX).values()) == {-1}


def test_a_row_without_an_answer_lowers_recall_alone():
    prediction, label = np.concatenate([nose_off_by(0.99)] * 2), np.concatenate([only_nose(50, 50)] * 2)
    found = average_precision(prediction, label, box_xyxy=np.repeat(BOX, 2, 0), answered=[True, False])
    assert found["oks_ap"] == pytest.approx(51 / 101)


def test_weights_are_repeated_rows():
    """What resampling does: a picture drawn twice counts twice, one that was not drawn does not count."""
    prediction, label, box, scores = crowd(4, 40)
    groups = np.arange(40) // 2
    weights = np.random.default_rng(0).integers(0, 3, (3, 20)).astype(float)
    found = keypoint_precision(prediction, label, box_xyxy=box, scores=scores).by_weight(groups, 20)(weights)
    for k, row in enumerate(weights):
        rows = np.repeat(np.arange(40), row.astype(int)[groups])
        expected = average_precision(prediction[rows], label[rows], box_xyxy=box[rows], scores=scores[rows])
        assert {name: values[k] for name, values in found.items()} == pytest.approx(expected)


def test_neighbours_in_rank_are_counted_together_with_little_error():
    rng = np.random.default_rng(0)
    scores = rng.random(20_000)
    hits = np.tile(rng.random(20_000) < scores, (len(THRESHOLDS), 1))
    ranked = Ranked(hits, ~hits, scores, np.arange(20_000), np.ones(20_000))
    assert ranked.by_weight(np.arange(20_000), 20_000)(np.ones((1, 20_000)))["oks_ap"][0] == pytest.approx(
        ranked.values()["oks_ap"], abs=2e-4
    )


def test_subset():
    prediction, label, box, scores = crowd(5)
    rows = np.arange(30) % 3 > 0
    there = np.arange(30) % 5 > 0
    part = keypoint_precision(prediction, label, box_xyxy=box, scores=scores, answered=there).subset(rows).values()
    alone = (array[rows] for array in (prediction, label))
    assert part == average_precision(*alone, box_xyxy=box[rows], scores=scores[rows], answered=there[rows])
