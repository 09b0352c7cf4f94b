"""What reads ahead ends with its epoch: threads, worker processes, and file handles."""

import multiprocessing
import os
import subprocess
import threading
import time
from pathlib import Path

import pytest
import torch
from scripts import training_command

pytest.importorskip("fairseq")

from fairseq.data.iterators import EpochBatchIterator

from refhcm.training.reading import reading

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*no accelerator:UserWarning"),
]


class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return 40

    def __getitem__(self, i):
        return 1 / (i - 30)  # the last rows are not reached


@pytest.mark.parametrize("buffer_size", [0, 2])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("read", [0, 1, 5, "all"])
def test_nothing_is_left(read, workers, buffer_size):
    threads = threading.active_count()
    batches = [[i] for i in range(20)]
    given = {"num_workers": workers, "buffer_size": buffer_size, "persistent_workers": False}
    epochs = EpochBatchIterator(Numbers(), sum, batches, **given)
    with reading(epochs, epochs.next_epoch_itr(shuffle=False)) as itr:
        found = [next(itr) for _ in range(20 if read == "all" else read)]
    assert found == pytest.approx([1 / (i - 30) for i in range(len(found))])
    assert multiprocessing.active_children() == []
    for _ in range(50):  # torch's queues end a moment later
        if threading.active_count() > threads:
            time.sleep(0.05)
    assert threading.active_count() <= threads
    assert epochs.iterations_in_epoch == len(found)


@pytest.mark.slow
def test_many_epochs_take_as_many_processes_as_one(world, tmp_path):
    flags = ["--num-workers=2", "--max-epoch=8", "--batch-size=20", "--batch-size-valid=2", "--max-valid-steps=1"]
    command = [part for part in training_command(world, tmp_path, *flags) if part != "--disable-validation"]
    training = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    most, handles = 0, 0
    while training.poll() is None:
        try:
            children = Path(f"/proc/{training.pid}/task").glob("*/children")
            most = max(most, sum(len(path.read_text().split()) for path in children))
            handles = max(handles, len(os.listdir(f"/proc/{training.pid}/fd")))
        except OSError:  # it has ended
            pass
    assert training.returncode == 0
    assert 0 < most <= 2
    assert handles < 100
