"""Errors for a user's mistakes: one clear line, which the commands print without a traceback."""

import os
import sys
from collections.abc import Callable


class UserError(Exception):
    """A mistake in what the user gave: says where, what came, and what was expected."""


class DataError(UserError, ValueError):
    """A row, picture or mask that cannot be used."""


class CheckpointError(UserError, ValueError):
    """A weights file that cannot be used."""


def exit_status(run: Callable[[], int | None]) -> int:
    """Runs a command: its status, or 0; 2 after a user's mistake, 130 after Ctrl-C, each with one line on stderr.

    After Ctrl-C, the line is the KeyboardInterrupt's own text, if it has one.
    """
    try:
        status = run() or 0
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader of the output, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(str(stop) or "interrupted", file=sys.stderr)
        return 130
