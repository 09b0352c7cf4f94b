"""A table read and indexed by several processes at once."""

import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
from plain_tables import boxes, open_large, table, write

from refhcm.data import tsv

# Python 3.12+ warns of a fork beside torch's threads; these tests fork on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def _send_boxes(file, connection):
    connection.send(boxes(file))


def _build(path, connection):
    connection.send(boxes(open_large(path)))


def _results(method, target, arguments, *, count):
    context = multiprocessing.get_context(method)
    pipes = [context.Pipe() for _ in range(count)]
    processes = [context.Process(target=target, args=(arguments, theirs)) for _, theirs in pipes]
    for process in processes:
        process.start()
    results = [ours.recv() for ours, _ in pipes]
    for process in processes:
        process.join()
    return results


def test_reading_in_forked_processes(tmp_path):
    file = open_large(write(tmp_path, table(300)))
    expected = boxes(file)
    assert _results("fork", _send_boxes, file, count=3) == [expected] * 3
    assert boxes(file) == expected


def test_several_processes_build_at_once(tmp_path):
    path = write(tmp_path, table(20000))
    expected = [f"box {k * k}" for k in range(20000)]
    assert _results("fork", _build, path, count=4) == [expected] * 4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rows.tsv", "rows.tsv.idx.npy"]
    assert len(np.load(tmp_path / "rows.tsv.idx.npy")) == 20003


def _save_forever(path, connection):
    offsets = np.arange(200000, dtype=np.int64)
    connection.send("started")
    while True:
        tsv.save_index(path, (200000, 7), offsets=offsets)


def test_a_killed_writer_leaves_a_whole_index_or_none(tmp_path):
    path = tmp_path / "rows.tsv.idx.npy"
    context = multiprocessing.get_context("fork")
    for delay in (0.0, 0.003, 0.011, 0.02):
        ours, theirs = context.Pipe()
        process = context.Process(target=_save_forever, args=(path, theirs))
        process.start()
        ours.recv()
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        if path.exists():
            assert len(np.load(path)) == 200002
