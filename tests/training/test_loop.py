"""The loop's decisions by hand: how many updates a run has, and after which of them it validates, saves and stops."""

import math
from types import SimpleNamespace

import pytest

pytest.importorskip("fairseq")

from fairseq.dataclass.configs import FairseqConfig
from omegaconf import OmegaConf, open_dict

from refhcm.training.loop import Run, fill_schedule, update_freq
from refhcm.utils.errors import UserError


class Task:
    """Epochs take turns at two training files, of 10 and 21 rows."""

    def __init__(self):
        self.datasets, self.opened = {}, []

    def training_file(self, epoch):
        return ("a.tsv", "b.tsv")[(epoch - 1) % 2]

    def load_dataset(self, split, *, epoch):
        path = self.training_file(epoch)
        self.opened.append(path)
        self.datasets[split] = range({"a.tsv": 10, "b.tsv": 21}[path])


def config(**parts):
    """fairseq's configuration with these values in the place of its own: `config(optimization={"max_epoch": 3})`."""
    cfg = OmegaConf.structured(FairseqConfig())
    with open_dict(cfg):
        cfg.lr_scheduler = {}
    for part, values in parts.items():
        for name, value in values.items():
            setattr(getattr(cfg, part), name, value)
    return cfg


@pytest.mark.parametrize(
    ("ranks", "freq", "total"),
    [
        (1, [1], 3 + 6 + 3),  # 10 and 21 rows are 3 and 6 batches of 4
        (2, [1], 2 + 3 + 2),
        (1, [2], 2 + 3 + 2),
        (2, [2], 1 + 2 + 1),
        (1, [1, 4], 3 + 2 + 1),  # the last one is that of all later epochs
    ],
)
def test_updates_of_a_run(ranks, freq, total):
    cfg, task = config(optimization={"max_epoch": 3, "update_freq": freq}, dataset={"batch_size": 4}), Task()
    cfg.distributed_training.distributed_world_size = ranks
    assert fill_schedule(cfg, task, 0.3) == total
    assert cfg.lr_scheduler == {"total_num_update": total, "warmup_updates": int(total * 0.3)}
    assert task.opened == ["a.tsv", "b.tsv"]  # each once
    cfg.optimization.max_update, cfg.lr_scheduler.total_num_update = 5, 99
    assert fill_schedule(cfg, task, -1) == min(total, 5)
    assert cfg.lr_scheduler.total_num_update == 99  # as the user has set it
    assert [update_freq(cfg, epoch) for epoch in (1, 2, 9)] == [freq[0], freq[-1], freq[-1]]


def test_a_run_without_a_last_epoch():
    assert fill_schedule(config(optimization={"max_update": 7}), Task(), -1) == 7
    assert fill_schedule(config(), Task(), -1) is None
    with pytest.raises(UserError, match="--warmup-ratio needs --max-epoch"):
        fill_schedule(config(optimization={"max_update": 7}), Task(), 0)


class Trainer:
    updates, seconds = 0, 0.0

    def get_num_updates(self):
        return self.updates

    def cumulative_training_time(self):
        return self.seconds


class Saver:
    """The less the better; remembers what was saved."""

    best, without_improvement = math.inf, 0

    def __init__(self):
        self.saved = []

    def note(self, value):
        improved = value < self.best
        self.best, self.without_improvement = min(value, self.best), 0 if improved else self.without_improvement + 1
        return improved

    def save(self, epochs, value, *, improved=False, owed=False):
        self.saved.append((value, owed))


def decided(values, *, hours=0.0, ends=4, updates=12, subsets=("valid",), **parts):
    """(update, value of its validation, whether it is saved) of the updates at which something happens.

    values: of the validations, one after the other. ends: updates of an epoch. hours: trained up to each update.
    """
    trainer, saver, rest, found = Trainer(), Saver(), iter(values), []
    run = Run(config(**parts), None, trainer, saver, [*subsets], None)
    run._validate = lambda subset, epoch: next(rest)
    for trainer.updates in range(1, updates + 1):
        trainer.seconds, saver.saved = 3600 * hours * trainer.updates, []
        epochs = SimpleNamespace(epoch=(trainer.updates - 1) // ends + 1)
        stop, value = run._validate_and_save(epochs, end_of_epoch=trainer.updates % ends == 0)
        assert saver.saved in ([], [(value, False)])
        if value is not None or saver.saved or stop:
            found.append((trainer.updates, value, bool(saver.saved)))
        if stop:
            return [*found, "stops"]
    return found


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        ([3, 2, 1], {}, [(4, 3, True), (8, 2, True), (12, 1, True)]),
        ([], {"subsets": ()}, [(4, None, True), (8, None, True), (12, None, True)]),
        (  # epochs of two updates; the best one is saved though no checkpoint is due
            [1, 5, 4],
            {"ends": 2, "dataset": {"validate_interval": 2}, "checkpoint": {"save_interval": 3}},
            [(4, 1, True), (6, None, True), (8, 5, False), (12, 4, True)],
        ),
        (  # no validation before update 6, and no checkpoint of an interval
            [5, 6, 7],
            {
                "ends": 99,
                "dataset": {"validate_interval_updates": 3, "validate_after_updates": 6},
                "checkpoint": {"save_interval_updates": 4},
            },
            [(6, 5, True), (8, None, True), (9, 6, False), (12, 7, True)],
        ),
        ([1], {"updates": 8, "dataset": {"validate_after_updates": 5}}, [(4, None, True), (8, 1, True)]),
        ([1, 2], {"optimization": {"max_update": 6}}, [(4, 1, True), (6, 2, True), "stops"]),
        ([1, 2], {"optimization": {"stop_time_hours": 2}, "hours": 0.5}, [(4, 1, True), (5, 2, True), "stops"]),
        (  # two validations without a better value
            [1, 3, 2],
            {"updates": 99, "checkpoint": {"patience": 2}},
            [(4, 1, True), (8, 3, True), (12, 2, True), "stops"],
        ),
    ],
)
def test_when_a_run_validates_saves_and_stops(values, options, expected):
    assert decided(values, **options) == expected


def test_what_was_trained_is_kept_where_a_validation_fails():
    trainer, saver = Trainer(), Saver()
    run = Run(config(), None, trainer, saver, ["valid"], None)

    def fail(subset, epoch):
        raise UserError("no such metric")

    run._validate, trainer.updates = fail, 4
    with pytest.raises(UserError, match="no such metric"):
        run._validate_and_save(SimpleNamespace(epoch=1), end_of_epoch=True)
    assert saver.saved == [(None, True)]


def test_no_interval_ends_before_the_first_update():
    """fp16 may find no loss scale for any batch of an epoch."""
    every = {"validate_interval_updates": 3, "validate_interval": 2}
    run = Run(config(dataset=every, checkpoint={"save_interval": 2}), None, Trainer(), Saver(), ["valid"], None)
    assert run._validate_and_save(SimpleNamespace(epoch=1), end_of_epoch=True) == (False, None)
    assert run.saver.saved == []


def epochs_of(*, stops_after=math.inf, owed=False, **parts):
    """The epochs of a run, each of 4 updates, with the learning rates 1, 1/2, 1/3, ...; and what was made up before."""
    trainer, saver, found, made_up = Trainer(), Saver(), [], []
    trainer.get_lr = lambda: 1 / (trainer.updates // 4 + 1)
    trainer.get_train_iterator = lambda epoch, **_: SimpleNamespace(next_epoch_idx=epoch + 1, epoch=epoch)
    saver.owed, saver.make_up = owed, lambda *values: made_up.append(values)
    run = Run(config(**parts), None, trainer, saver, ["one", "two"], None)
    run._validate = lambda subset, epoch: (subset, epoch)

    def one(epochs):
        trainer.updates += 4
        found.append(epochs.next_epoch_idx)
        assert len(found) < 20
        return len(found) == stops_after

    run._epoch = one
    run.epochs(SimpleNamespace(next_epoch_idx=1, epoch=1))
    return found, made_up


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"optimization": {"max_epoch": 3}}, 3),
        ({"optimization": {"max_epoch": 2, "stop_min_lr": 0.3}}, 2),
        ({"optimization": {"max_epoch": 9, "stop_min_lr": 0.3}}, 3),
        ({"optimization": {"stop_min_lr": 0.5}}, 1),
        ({"optimization": {"max_epoch": 9, "max_update": 8}}, 2),
        ({"optimization": {"max_epoch": 9}, "stops_after": 4}, 4),
    ],
)
def test_the_last_epoch(options, count):
    found, made_up = epochs_of(**options)
    assert len(found) == count
    assert made_up == []


def test_an_owed_validation_is_made_up_first():
    assert epochs_of(owed=True, optimization={"max_epoch": 1}) == ([1], [(("one", 1), ("two", 1))])
