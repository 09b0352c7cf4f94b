"""The loop of the tokenizer's training and of pretraining, on losses that are numbers: logs, files, Ctrl-C."""

import logging
import os
import signal
from dataclasses import dataclass

import pytest
import torch

from refhcm.training.stepper import Stepper
from refhcm.utils.checkpoints import load_file


@dataclass(frozen=True)
class Settings:
    seed: int = 0


class Counting(Stepper):
    """The loss of an update is the number of those before it; from 60 on there is another one, half as large."""

    name, settings = "counting", Settings()

    def __init__(self, updates, *, asked=None):
        """asked: the update in which Ctrl-C is pressed."""
        self.updates, self.asked, self.saved = updates, asked, []
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.optimizer = torch.optim.SGD([self.weight])

    def batches(self):
        return iter(range(self.step, self.updates))

    def losses(self, batch):
        if batch + 1 == self.asked:
            os.kill(os.getpid(), signal.SIGINT)
        losses = {"all": self.weight * 0 + batch}
        return losses | {"late": losses["all"] / 2} if batch >= 60 else losses

    def rate(self):
        return 0.1

    def content(self):
        self.saved.append(self.step)
        return self.progress()

    def read(self, path):
        return load_file(path)

    def load(self, state, path):
        pass


def test_logs_are_means_since_the_last_one_and_files_come_as_asked(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    first = Counting(120)
    first.run(tmp_path / "a.pt", save_every=70)
    assert first.saved == [70, 120]
    assert [record.message for record in caplog.records if record.message.startswith("update")] == [
        "update 50 of 120: all 24.500",
        "update 100 of 120: all 74.500, late 39.750",  # of updates 61 to 100
        "update 120 of 120: all 109.500, late 54.750",
    ]
    caplog.clear()
    Counting(1).run(tmp_path / "b.pt", save_every=9)
    assert "update 1 of 1: all 0.000" in caplog.text


def test_ctrl_c_saves_after_the_update_and_the_run_goes_on(tmp_path):
    first, second = Counting(8, asked=3), Counting(8, asked=8)
    with pytest.raises(KeyboardInterrupt, match=r"a\.pt: stopped at update 3 of 8"):
        first.run(tmp_path / "a.pt", save_every=99)
    assert first.saved == [3]
    second.run(tmp_path / "a.pt", save_every=6)  # in the last update it changes nothing
    assert second.saved == [6, 8]
    assert second.step == 8
