"""Answers made by hand."""

import numpy as np
import pytest

from refhcm.inference.answers import Answer, Confidence, Keypoints
from refhcm.utils.keypoints import KEYPOINT_NAMES
from refhcm.utils.parsing import CLASS_NAMES

HAIR, FACE = CLASS_NAMES.index("hair"), CLASS_NAMES.index("face")


@pytest.fixture
def points():
    """`points(nose=(30, 40))`: keypoints of which these are there."""

    def of(**named):
        xy = np.zeros((17, 2), np.float32)
        for name, point in named.items():
            xy[KEYPOINT_NAMES.index(name)] = point
        return Keypoints(xy, xy.max(-1) > 0)

    return of


@pytest.fixture
def answer(points):
    """A person of 80 x 70 px with three keypoints, hair above a face."""
    label_map = np.zeros((70, 80), np.uint8)
    label_map[20:30, 10:50], label_map[30:60, 12:40] = HAIR, FACE
    keypoints = points(nose=(30, 40), left_shoulder=(40, 50), right_shoulder=(20, 56))
    named = {"nose": 0.9, "left_shoulder": 0.8, "right_shoulder": 0.4}
    sure = Confidence(box=0.9, keypoints=named, parts={"hair": 0.7, "face": 0.6})
    return Answer(
        (80, 70), True, (), "", np.array([10.0, 20.0, 50.5, 60.0], np.float32), keypoints, label_map, confidence=sure
    )


@pytest.fixture
def nothing():
    """An answer that could not be read."""
    return Answer((80, 70), False, (), "")
