"""Which checkpoint files a run writes, and which of them it keeps."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("fairseq")

from fairseq.dataclass.configs import CheckpointConfig

from refhcm.training.checkpointing import Saver
from refhcm.utils.errors import UserError


class Trainer:
    """Writes the number of its updates where fairseq's would write weights: a new file, as there."""

    checkpoint_suffix = ""
    should_save_checkpoint_on_current_rank = True
    updates = 0

    def consolidate_optimizer(self):
        pass

    def get_num_updates(self):
        return self.updates

    def save_checkpoint(self, path, state):
        Path(path).unlink(missing_ok=True)
        Path(path).write_text(str(self.updates))


def saved(folder, validations, **options):
    """Content by name of what is left after epochs of four updates with these values of the metric `score`."""
    given = {"save_interval_updates": 2, "best_checkpoint_metric": "score"} | options
    saver = Saver(CheckpointConfig(save_dir=str(folder), **given), Trainer(), run={})
    for epoch, value in enumerate(validations, 1):
        for ended in (False, True):
            saver.trainer.updates += 2
            epochs = SimpleNamespace(epoch=epoch, end_of_epoch=lambda ended=ended: ended, state_dict=dict)
            saver.save(epochs, value if ended else None, improved=saver.note(value) if ended else False)
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_files_of_the_scripts(tmp_path):
    """The last three epochs, the last checkpoint within one, the last and the best."""
    found = saved(
        tmp_path,
        (0.5, 0.9, 0.7, 0.4, 0.8),
        keep_interval_updates=1,
        keep_last_epochs=3,
        maximize_best_checkpoint_metric=True,
    )
    assert found == {
        "checkpoint3.pt": "12",
        "checkpoint4.pt": "16",
        "checkpoint5.pt": "20",
        "checkpoint_5_18.pt": "18",
        "checkpoint_last.pt": "20",
        "checkpoint_best.pt": "8",
    }


@pytest.mark.parametrize(("maximize", "best", "kept"), [(True, "8", {"0.9", "0.8"}), (False, "16", {"0.4", "0.5"})])
def test_the_best_files(maximize, best, kept, tmp_path):
    flags = {"maximize_best_checkpoint_metric": maximize, "no_epoch_checkpoints": True, "save_interval_updates": 0}
    found = saved(tmp_path, (0.5, 0.9, 0.7, 0.4, 0.8), keep_best_checkpoints=2, **flags)
    assert found.pop("checkpoint_best.pt") == best
    assert found.pop("checkpoint_last.pt") == "20"
    assert {name.split("_")[2].rstrip("0") for name in found} == kept


def test_nothing_is_saved_on_request(tmp_path):
    assert saved(tmp_path, (0.5,), no_save=True) == {}
    assert saved(tmp_path, (0.5,), no_last_checkpoints=True, no_epoch_checkpoints=True, save_interval_updates=0) == {
        "checkpoint_best.pt": "4"
    }


def test_the_last_checkpoint_is_already_the_best(tmp_path):
    """A rename of one hard link to another does nothing, and would leave a part behind."""
    saver = Saver(CheckpointConfig(save_dir=str(tmp_path)), Trainer(), run={})
    (tmp_path / "checkpoint_last.pt").write_text("0")
    for value in (2.0, 1.0):
        saver.make_up(value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint_best.pt", "checkpoint_last.pt"]


def test_a_made_up_validation_replaces_the_best_only_where_it_is_better(tmp_path):
    saver = Saver(CheckpointConfig(save_dir=str(tmp_path)), Trainer(), run={})
    last, best = tmp_path / "checkpoint_last.pt", tmp_path / "checkpoint_best.pt"
    last.write_text("8")
    best.write_text("4")
    saver.restore({"best": 0.5, "owed": True})
    assert saver.owed
    saver.make_up(0.7)
    assert (saver.owed, saver.best, best.read_text()) == (False, 0.5, "4")
    saver.trainer.should_save_checkpoint_on_current_rank = False  # another rank writes it
    saver.make_up(0.3)
    assert (saver.best, best.read_text()) == (0.3, "4")
    saver.trainer.should_save_checkpoint_on_current_rank = True
    saver.make_up(0.2)
    assert (saver.best, best.read_text()) == (0.2, "8")


@pytest.mark.parametrize("limit", [0, -1])
def test_without_limits_all_files_stay(limit, tmp_path):
    """Those that an earlier run with a limit has left, too."""
    left = {"checkpoint.best_score_0.7000_3.pt", "checkpoint.best_score_0.6000_5.pt"}
    for name in left:
        (tmp_path / name).touch()
    names = ("keep_interval_updates", "keep_last_epochs", "keep_best_checkpoints")
    found = saved(tmp_path, (0.5, 0.9), **dict.fromkeys(names, limit))
    of_run = {"checkpoint_1_2.pt", "checkpoint1.pt", "checkpoint_2_6.pt", "checkpoint2.pt"}
    assert found.keys() == left | of_run | {"checkpoint_last.pt", "checkpoint_best.pt"}


@pytest.mark.parametrize(
    "options",
    [{"write_checkpoints_asynchronously": True}, {"keep_interval_updates_pattern": 2}, {"checkpoint_suffix": "-a"}],
)
def test_files_that_no_run_could_find(options, tmp_path):
    with pytest.raises(UserError, match="not supported"):
        Saver(CheckpointConfig(save_dir=str(tmp_path), **options), Trainer(), run={})


@pytest.mark.parametrize("maximize", [True, False])
def test_the_best_and_patience(maximize, tmp_path):
    """Each validation counts, whether a checkpoint is due or not."""
    options = CheckpointConfig(save_dir=str(tmp_path), maximize_best_checkpoint_metric=maximize)
    saver, sign = Saver(options, Trainer(), run={}), 1 if maximize else -1
    found = [saver.note(sign * value) for value in (0.5, 0.9, 0.4, 0.9, 0.3, 0.2)]
    assert found == [True, True, False, True, False, False]
    assert (saver.best, saver.without_improvement) == (sign * 0.9, 2)
    other = Saver(saver.options, Trainer(), run={})
    other.restore({"best": sign * 0.9, "without_improvement": 2})
    assert not other.note(sign * 0.8)
    assert other.without_improvement == 3


@pytest.mark.parametrize("maximize", [True, False])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_validation_that_is_no_number_is_never_the_best(value, maximize, tmp_path):
    options = CheckpointConfig(save_dir=str(tmp_path), maximize_best_checkpoint_metric=maximize)
    saver = Saver(options, Trainer(), run={})
    assert [saver.note(number) for number in (value, 0.5, value, 0.5)] == [False, True, False, True]
    assert saver.best == 0.5
    saver.restore({"best": value, "without_improvement": 2})  # of an earlier version
    assert (saver.note(0.1), saver.best) == (True, 0.1)
    found = saved(tmp_path, (0.5, value), keep_best_checkpoints=2, no_epoch_checkpoints=True, save_interval_updates=0)
    assert set(found) == {"checkpoint_last.pt", "checkpoint_best.pt", "checkpoint.best_score_0.5000_4.pt"}
