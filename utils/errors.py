"""The errors that a user's mistake raises: one clear line, which the commands print without a traceback."""

import sys
from collections.abc import Callable


class UserError(Exception):
    """A mistake in what the user gave: says where, what came, and what was expected."""


class DataError(UserError, ValueError):
    """A row, picture or mask that can not be used."""


class CheckpointError(UserError, ValueError):
    """A weights file that can not be used."""


def exit_status(run: Callable[[], object], *, interrupted: str = "interrupted") -> int:
    """Runs a command: 0; 2 after one line on stderr for a mistake of the user's; 130 after Ctrl-C and a line.

    interrupted: that line, where the KeyboardInterrupt has no text of its own.
    """
    try:
        run()
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(str(stop) or interrupted, file=sys.stderr)
        return 130
    return 0
