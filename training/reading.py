"""Ending the reading of an epoch: its thread, worker processes, and file handles."""

import queue
from collections.abc import Iterator
from contextlib import contextmanager

from fairseq.data.iterators import BufferedIterator, CountingIterator, EpochBatchIterator


@contextmanager
def reading(epochs: EpochBatchIterator, itr: CountingIterator) -> Iterator[CountingIterator]:
    """`itr`, an epoch of `epochs`; when left, at its end or before, nothing that reads is left behind.

    fairseq would leave that to the garbage collector: processes and handles pile up until then.
    """
    try:
        yield itr
    finally:
        source = itr._itr
        if isinstance(source, BufferedIterator):
            _end_thread(source)
        elif hasattr(source, "_shutdown_workers"):  # torch's own reading, without fairseq's buffer
            source._shutdown_workers()
        epochs.epoch_batch_sampler = None  # a cycle, which would keep the table open


def _end_thread(source: BufferedIterator) -> None:
    """Ends fairseq's reader thread; leaving its loop, it ends the workers."""
    thread = source._consumer
    if thread is None:  # nothing was read
        return
    thread._max_len = 0  # it stops after the batch in hand
    while thread.is_alive():
        try:
            source._queue.get(timeout=0.05)  # it may wait for room
        except queue.Empty:
            continue
