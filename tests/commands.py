"""The command `refhcm` as functions."""

from argparse import Namespace

from refhcm.apps.cli.main import main, make_parser


def refhcm(*arguments) -> int:
    """Exit status of `refhcm ARGUMENTS`."""
    return main(list(map(str, arguments)))


def parsed(*arguments) -> Namespace:
    """Its flags."""
    words = list(map(str, arguments))
    return make_parser(words).parse_args(words)
