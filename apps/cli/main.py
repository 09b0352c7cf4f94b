"""The command `refhcm` (also `python -m refhcm`); a sub-command's module is imported when it is asked for."""

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from types import ModuleType

from ...utils.errors import exit_status

# Command -> its module, and what it is for. A module has `add_arguments(parser)` and `run(args)`; training's
# parser is fairseq's, and its module has `main_and_exit(arguments)`.
COMMANDS = {
    "ask": (".ask.command", "answer questions about the people in pictures"),
    "chain": (".chain", "several tasks in one instruction: box, keypoints and parts"),
    "demo": (".demo", "see what the shipped model answers"),
    "web": ("..web.command", "serve the web page"),
    "download": (".download.command", "get vocabulary, weights and data"),
    "info": (".info", "say what a weights file is, and whether it can be used here"),
    "evaluate": (".evaluate", "answer every row of a table and score the answers"),
    "score-coco": (".score_coco", "OKS AP of answered keypoints, from a COCO-style annotation file"),
    "view": (".view", "draw a table's rows, and what a model answered"),
    "train": ("...training.command", "train a task"),
    "export": (".export", "write the weights that asking needs from what training wrote"),
    "tokenizer": (".tokenizer", "train, score and use the tokenizer of parsing maps"),
    "vocabulary": (".vocabulary", "make a vocabulary from any text"),
    "world": (".world", "draw people with exact truth for every task"),
    "pretrain": (".pretrain", "teach backbone and encoder to see drawn people"),
    "bench": ("...benchmarks.command", "time every path beside what this machine could do"),
}


def make_parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The command line of `arguments`: whole for the command that they name, a line for each of the others."""
    parser = argparse.ArgumentParser(
        prog="refhcm", description="RefHCM: ask about the person you describe.", epilog="refhcm COMMAND --help: more"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (_, summary) in COMMANDS.items():
        if name not in arguments[:1]:
            commands.add_parser(name, help=summary)
            continue
        module = _module(name)
        shape = argparse.RawDescriptionHelpFormatter
        command = commands.add_parser(name, help=summary, description=module.__doc__, formatter_class=shape)
        module.add_arguments(command)
    return parser


def _module(command: str) -> ModuleType:
    return importlib.import_module(COMMANDS[command][0], __package__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: the command's, 2 for a mistake of the user's, which is one line, or 130 when interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments[:1] == ["train"]:
        _module("train").main_and_exit(arguments[1:])
    args = make_parser(arguments).parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("refhcm").setLevel(logging.INFO)
    return exit_status(lambda: _module(args.command).run(args))


if __name__ == "__main__":
    sys.exit(main())
