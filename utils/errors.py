"""The errors that a user's mistake raises: one clear line, which the commands print without a traceback."""

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
    """Runs a command: its status or 0; 2 after one line on stderr for a mistake of the user's; 130 after Ctrl-C.

    A KeyboardInterrupt's own text, if it has one, is the line that is printed.
    """
    try:
        status = run() or 0
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever reads the output has enough, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(str(stop) or "interrupted", file=sys.stderr)
        return 130
