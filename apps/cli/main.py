"""The command `refhcm` (also `python -m refhcm`): each of its commands is a module, imported when it is asked for."""

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence

from ...utils.errors import UserError

# Command -> what it is for; its module is `refhcm.tasks.COMMAND`, with `add_parser(commands, summary)` and `run(args)`.
COMMANDS = {
    "ask": "answer questions about the people in pictures",
    "download": "get vocabulary, weights and data",
    "info": "say what a weights file is, and whether it can be used here",
}


def make_parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The command line of `arguments`: whole for the command that they name, a line for each of the others."""
    parser = argparse.ArgumentParser(
        prog="refhcm", description="RefHCM: ask about the person you describe.", epilog="refhcm COMMAND --help: more"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        if name in arguments[:1]:
            _module(name).add_parser(commands, summary)
        else:
            commands.add_parser(name, help=summary)
    return parser


def _module(command: str):
    return importlib.import_module(f".{command}", __package__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: the command's, 2 for a mistake of the user's, which is one line, or 130 when interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    args = make_parser(arguments).parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        status = _module(args.command).run(args)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever reads the output has enough, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
