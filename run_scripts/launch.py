"""torchrun that says which rank a signal ended, and why it might have: launch.py TORCHRUN'S ARGUMENTS."""

import logging
import signal
import sys

from refhcm.utils.errors import exit_status
from refhcm.utils.interrupt import end_with_script

CAUSES = {
    signal.SIGKILL: "the machine probably ran out of memory: try a smaller --batch-size or fewer NUM_WORKERS; ",
    signal.SIGBUS: "/dev/shm may be full (try fewer NUM_WORKERS), or a file that was being read has changed; ",
    signal.SIGSEGV: "a library crashed; ",
}
RESUME = "run the same command again to resume"


def launch() -> int:
    """Exit status: the first failed rank's, or 128 + the number of the signal that ended it."""
    from torch.distributed.elastic.multiprocessing.api import SignalException  # takes seconds: Ctrl-C may come
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    try:
        torchrun()
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode >= 0:
            return failure.exitcode or 1
        ended = signal.Signals(-failure.exitcode)
        print(f"error: rank {rank} was ended by {ended.name}: {CAUSES.get(ended, '')}{RESUME}", file=sys.stderr)
        return 128 + ended
    except SignalException as error:
        print(f"interrupted; {RESUME}", file=sys.stderr)
        return 128 + error.sigval
    return 0


if __name__ == "__main__":
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # by nohup; torchrun would end at it all the same
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    end_with_script()
    sys.exit(exit_status(launch))
