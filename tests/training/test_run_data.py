"""What a checkpoint remembers of its data, and which data are other data."""

import copy
from types import SimpleNamespace

import pytest

pytest.importorskip("fairseq")

from refhcm.tasks.multitask import Multitask
from refhcm.tasks.settings import MultitaskSettings
from refhcm.training.run_data import check_training_data, check_validation_data, run_data
from refhcm.utils.errors import CheckpointError


@pytest.fixture
def task(tmp_path):
    """Multitask training: two files for the length of epochs, and two parts."""
    names = ("a.tsv", "b.tsv", "poses.tsv", "captions.tsv")
    for name in names:
        (tmp_path / name).write_text(f"rows of {name}\n" * 9)
    files = [str(tmp_path / name) for name in names]
    settings = MultitaskSettings(refpose_dataset=files[2], regcaption_dataset=files[3], part_rows="refpose=2")
    args = SimpleNamespace(seed=3, curriculum=0)
    return SimpleNamespace(plain=Multitask, settings=settings, files=files[:2], args=args)


def test_the_same_data(task, tmp_path):
    found = run_data(task, validated=False)
    assert list(found["files"]) == ["training file 1", "training file 2", "--refpose-dataset", "--regcaption-dataset"]
    assert found["order"] == {"--seed": 3, "--curriculum": 0, "--rows-together": 1, "--part-rows": "refpose=2"}
    (tmp_path / "moved.tsv").write_bytes((tmp_path / "poses.tsv").read_bytes())
    moved = copy.deepcopy(found)
    moved["files"]["--refpose-dataset"]["path"] = "elsewhere"
    check_training_data(moved, found, where="c.pt")
    check_training_data(found, {}, where="c.pt")  # a checkpoint of an earlier version
    check_validation_data(found, {}, where="c.pt")


@pytest.mark.parametrize("name", ["a.tsv", "b.tsv", "poses.tsv", "captions.tsv"])
@pytest.mark.parametrize("kind", ["shorter", "other rows", "one letter"])
def test_other_content(name, kind, task, tmp_path):
    before, text = run_data(task, validated=False), (tmp_path / name).read_text()
    changed = {"shorter": text[:-5], "other rows": text[5:] + text[:5], "one letter": text.replace("r", "R", 1)}[kind]
    (tmp_path / name).write_text(changed)
    message = f"c.pt: was trained on another .*{name} had .*--reset-dataloader"
    with pytest.raises(CheckpointError, match=message):
        check_training_data(run_data(task, validated=False), before, where="c.pt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 4}, "--seed=3, not 4"),
        ({"curriculum": 2}, "--curriculum=0, not 2"),
        ({"part_rows": ""}, "--part-rows=refpose=2, not"),
        ({"rows_together": 5}, "--rows-together=1, not 5"),
        ({"regcaption_dataset": None}, "another --regcaption-dataset: .*captions.tsv, not none"),
    ],
)
def test_other_settings(change, message, task):
    before = run_data(task, validated=False)
    for name, value in change.items():
        object.__setattr__(task.settings if hasattr(task.settings, name) else task.args, name, value)
    with pytest.raises(CheckpointError, match=f"c.pt: was trained .*{message}"):
        check_training_data(run_data(task, validated=False), before, where="c.pt")


def test_another_validation_file(task, tmp_path):
    before = run_data(task, validated=True)
    (tmp_path / "b.tsv").write_text("x")
    with pytest.raises(CheckpointError, match=r"another validation file: .*--reset-meters"):
        check_validation_data(run_data(task, validated=True), before, where="c.pt")
    check_validation_data(run_data(task, validated=False), before, where="c.pt")  # no value to compare
