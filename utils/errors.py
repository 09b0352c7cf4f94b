"""The errors that a user's mistake raises: one clear line, which the scripts print without a traceback."""


class UserError(Exception):
    """A mistake in what the user gave: says where, what came, and what was expected."""


class DataError(UserError, ValueError):
    """A row, picture or mask that can not be used."""


class CheckpointError(UserError, ValueError):
    """A weights file that can not be used."""
