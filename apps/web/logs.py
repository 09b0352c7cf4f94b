"""Log lines that visitors cannot forge: what they sent may be part of an error's text."""

import logging
import traceback

LONGEST = 300  # characters of a line


def printable(text: str) -> str:
    """One line of text, shortened, in which nothing ends a line or controls a terminal."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:LONGEST])
    return shown + "…" * (len(text) > LONGEST)


def log_refused(logger: logging.Logger, what: str, error: BaseException) -> None:
    """One line: what went wrong, and where in the code. For requests that gradio cannot take."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = "".join(f" at {frame.filename}:{frame.lineno}" for frame in last)
    logger.warning("%s: %s%s", printable(what), printable(f"{type(error).__name__}: {error}"), where)


def log_failed(logger: logging.Logger, what: str, error: BaseException) -> None:
    """With the whole traceback, indented, so that its text cannot look like lines of the log."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    logger.error("%s\n%s", printable(what), "\n".join(f"    {printable(line)}" for line in lines))
