"""Calibration: curves by field and name, the file beside the weights, and files that are none."""

import json

import numpy as np
import pytest

from refhcm.inference import calibration as module
from refhcm.inference.answers import Answer, Confidence
from refhcm.inference.calibration import Calibration, Fitted, Judged, calibration_of, calibration_path, fit_fields
from refhcm.utils.calibration import Curve
from refhcm.utils.errors import DataError, UserError

HALF = Fitted(Curve((0.0, 1.0), (0.0, 0.5)), count=60, right=30)
TENTH = Fitted(Curve((0.0, 1.0), (0.0, 0.1)), count=60, right=30)


def judged(count, field="box", name="", seed=0):
    """Raw confidences; right with their squares as probability. Pictures hold two each."""
    random = np.random.default_rng(seed)
    raw = random.random(count)
    right = random.random(count) < raw**2
    return [Judged(field, name, float(r), bool(y), k // 2) for k, (r, y) in enumerate(zip(raw, right, strict=True))]


def test_a_point_takes_its_own_curve_or_its_field_s():
    answer = Answer((1, 1), True, (), "", confidence=Confidence(0.5, {"nose": 0.5, "left_eye": 0.5}, None, (0.5, 1.0)))
    known = Calibration({"rkpt": {"box": HALF, "keypoints": HALF, "keypoints/nose": TENTH}})
    found = known.apply("rkpt", answer).confidence
    assert found == Confidence(0.25, {"nose": 0.05, "left_eye": 0.25}, None, (0.5, 1.0))
    assert known.apply("rhrc", answer) == answer


def test_curves_by_field_and_by_name_where_there_is_enough():
    points = judged(400) + judged(300, "keypoints", "nose") + judged(60, "keypoints", "left_eye", seed=1)
    fitted = fit_fields(points, where="t.tsv")
    assert fitted.keys() == {"box", "keypoints", "keypoints/nose"}
    assert (fitted["box"].count, fitted["keypoints"].count) == (400, 360)
    before, after = fitted["box"].ece
    assert before > 0.1
    assert after < 0.1
    assert fitted["box"].curve(0.5) == pytest.approx(0.25, abs=0.1)
    assert fitted["box"].auroc[1] == pytest.approx(fitted["box"].auroc[0], abs=0.02)


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        (judged(30), "right and .* wrong"),
        ([Judged("box", "", 0.5, True)] * 80, "80 right and 0 wrong"),
        ([Judged("box", "", 0.5, False)] * 80, "0 right and 80 wrong"),
        ([Judged("found", "", 0.5, True)] * 80, "found: .*80 that fit somebody and 0 that fit nobody"),
        ([], "no answer could be read"),
    ],
)
def test_too_little_to_learn_from_is_said(points, reason):
    with pytest.raises(UserError, match=rf"^t\.tsv: .*{reason}"):
        fit_fields(points, where="t.tsv")


def counted(right, wrong, name=""):
    return [Judged("keypoints" if name else "box", name, 0.5, k < right, k) for k in range(right + wrong)]


@pytest.mark.parametrize(("right", "wrong"), [(5, 45), (45, 5)])
def test_how_little_is_enough(right, wrong):
    """50 points, 5 of them right and 5 wrong; 100 of them for a keypoint's own curve."""
    (fitted,) = fit_fields(counted(right, wrong), where="t.tsv").values()
    assert (fitted.count, fitted.right) == (50, right)
    assert fitted.curve(0.5) == pytest.approx(right / 50)
    for less in ((right, wrong - 1), (right - 1, wrong), (4, 80), (80, 4)):
        with pytest.raises(UserError, match=f"got {less[0]} right and {less[1]} wrong"):
            fit_fields(counted(*less), where="t.tsv")
    named = [(right, 100 - right, "nose"), (right, 99 - right, "left_eye"), (4, 120, "right_eye"), (120, 4, "left_ear")]
    found = fit_fields([one for given in named for one in counted(*given)], where="t.tsv")
    assert found.keys() == {"keypoints", "keypoints/nose"}


@pytest.mark.parametrize(("right", "ece", "auroc"), [(30, (0.05, 0.25), (0.5, 0.5)), (40, (None, None), (None, None))])
def test_figures_are_of_the_pictures_that_the_curve_has_not_seen(right, ece, auroc):
    """All are .8 sure. Of pictures with even numbers 20 of 40 are right, of the others `right` of 40."""
    seen = [Judged("box", "", 0.8, k < 20, 2 * k) for k in range(40)]
    unseen = [Judged("box", "", 0.8, k < right, 2 * k + 1) for k in range(40)]
    fitted = fit_fields([*unseen, *seen], where="t.tsv")["box"]
    assert fitted.curve(0.8) == pytest.approx((20 + right) / 80)
    assert (fitted.count, fitted.right) == (80, 20 + right)
    assert fitted.ece == (ece if None in ece else pytest.approx(ece))
    assert fitted.auroc == auroc


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(b"weights")
    return path


def test_the_file_belongs_to_its_weights(weights, caplog):
    assert calibration_of(weights) is None
    known = Calibration({"rkpt": {"box": HALF, "keypoints/nose": TENTH}})
    module.write_calibration(known, weights)
    assert calibration_path(weights).name == "model.calibration.json"
    assert calibration_of(weights) == known
    weights.write_bytes(b"others")
    assert calibration_of(weights) is None
    assert "belongs to other weights" in caplog.text


def test_a_damaged_file_is_named(weights):
    module.write_calibration(Calibration({"rkpt": {"box": HALF}}), weights)
    path = calibration_path(weights)
    good = json.loads(path.read_text())
    row = good["tasks"]["rkpt"]["box"]
    damaged = [
        "",
        "[]",
        json.dumps(good | {"version": 7}),
        json.dumps(good | {"weights": None}),
        json.dumps(good | {"tasks": {"rkpt": {"luck": row}}}),
        json.dumps(good | {"tasks": {"rkpt": {"box": row | {"curve": {"raw": [0.5, 0.1], "probability": [0, 1]}}}}}),
        json.dumps(good | {"tasks": {"rkpt": {"box": {"count": 1}}}}),
        json.dumps(good | {"tasks": {"rkpt": {"box": row | {"right": "many"}}}}),
        json.dumps(good | {"tasks": [1]}),
    ]
    for content in damaged:
        path.write_text(content)
        with pytest.raises(DataError, match=r"model\.calibration\.json: is no calibration .* delete it"):
            calibration_of(weights)
