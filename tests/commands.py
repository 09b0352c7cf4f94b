"""The command `refhcm` as functions for tests."""

import logging
from argparse import Namespace

from refhcm.apps.cli.main import main, make_parser


def refhcm(*arguments) -> int:
    """Exit status of `refhcm ARGUMENTS`."""
    root = logging.getLogger()  # an earlier test's handler writes to a stream that is closed by now
    root.handlers = [handler for handler in root.handlers if type(handler) is not logging.StreamHandler]
    return main(list(map(str, arguments)))


def parsed(*arguments) -> Namespace:
    """Its parsed flags."""
    words = list(map(str, arguments))
    return make_parser(words).parse_args(words)
