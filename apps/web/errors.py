"""Every failure as a sentence for the visitor."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from ...utils.errors import UserError
from .logs import log_failed

logger = logging.getLogger(__name__)
UNEXPECTED = "Something went wrong on the server; its log says what. You can go on asking."


@contextmanager
def readable_errors() -> Iterator[None]:
    """Turns any failure into a `gr.Error` whose message is a sentence for the user."""
    try:
        yield
    except UserError as error:
        raise gr.Error(str(error), print_exception=False) from error
    except Exception as error:  # the edge of the program: visitors must not see it, and it must not end the server
        log_failed(logger, "a question failed", error)
        raise gr.Error(UNEXPECTED, print_exception=False) from error
