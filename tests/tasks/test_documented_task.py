"""The task that docs/adding_a_task.md shows works as it stands there."""

import re
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refhcm.data.annotation import Annotation
from refhcm.tasks.settings import TaskSettings

PAGE = Path(__file__).resolve().parents[2] / "docs/adding_a_task.md"
BOX = np.array([4, 3, 20, 15], np.float32)
LABELS = {"id": "a", "w_resize_ratios": 32 / 40, "h_resize_ratios": 32 / 30, "region_coords": BOX}


@pytest.fixture
def task(tiny_text):
    code = re.search(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL).group(1)
    module = types.ModuleType("refhcm.tasks.pointing")
    module.__package__ = "refhcm.tasks"
    exec(compile(code, str(PAGE), "exec"), vars(module))
    settings = TaskSettings(patch_image_size=32, max_image_size=32, num_bins=65, code_dict_size=100)
    return module.Pointing(tiny_text, settings)


def test_its_target_is_read_back(task):
    picture = Image.new("RGB", (40, 30))
    sample = task.sample(Annotation("a", "here:1", picture, BOX, "the left player"), training=True)
    prediction = task.parse(sample["target"])
    assert prediction.valid
    record = task.record(prediction, LABELS)
    assert record == {"uniq_id": "a", "point": pytest.approx([12, 9], abs=0.4)}
    statistics = task.statistics(prediction, LABELS)
    assert task.summarize([statistics]) == {"score": 1.0, "invalid": 0.0}


def test_what_is_no_point_is_invalid(task):
    prediction = task.parse(np.array([task.vocabulary.eos()]))
    assert not prediction.valid
    assert task.summarize([task.statistics(prediction, LABELS)]) == {"score": 0.0, "invalid": 1.0}
