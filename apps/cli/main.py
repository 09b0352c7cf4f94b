"""The command `refhcm` (also `python -m refhcm`). The module of a sub-command is imported only when it is used."""

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from types import ModuleType

from ...utils.errors import UserError, exit_status
from ...utils.interrupt import end_with_script

# Command -> its module, and what it does. A module has `add_arguments(parser)` and `run(args)`; training's parser is
# fairseq's, so its module has `main_and_exit(arguments)`, too.
GROUPS = {
    "ask about people in pictures": {
        "ask": (".ask.command", "answer questions about many pictures, into one file"),
        "chain": (".chain", "ask for box, keypoints and body parts in one instruction"),
        "web": ("..web.command", "serve the web page"),
        "demo": (".demo", "draw everything that the small model can answer"),
    },
    "look at files and results": {
        "info": (".info", "say what a weights file is and whether it can be used"),
        "view": (".view", "draw the rows of a table, with a model's answers beside them"),
        "evaluate": (".evaluate", "answer every row of a table and score the answers"),
        "score": (".score", "score any model's answers to a table, with intervals"),
        "calibrate": (".calibrate", "turn a model's confidences into probabilities, using a labelled table"),
        "bench": ("...benchmarks.command", "time every path and compare it with this machine's limits"),
    },
    "get data": {
        "download": (".download", "download the model for photographs, its parts, and the data"),
        "vocabulary": (".vocabulary", "make a small vocabulary from any text"),
        "data": (".data.command", "make tables from data sets or your own data, and check them"),
        "world": (".world", "draw people, with exact labels for every task"),
    },
    "train": {
        "train": ("...training.command", "train a task"),
        "pretrain": (".pretrain", "teach the backbone and the encoder to see drawn people"),
        "tokenizer": (".tokenizer", "train, score and use the parsing-map tokenizer"),
        "export": (".export", "write a model as a folder, one small file, or ONNX"),
    },
}
COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}
LAST_OF_FAIRSEQ = (3, 13)  # its dataclasses make no argparse flags from 3.14 on


def make_parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of `refhcm`. Only the command that `arguments` start with knows its flags."""
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="refhcm",
        usage="refhcm COMMAND ...",
        description="RefHCM: find and describe the person you mean in a picture.",
        epilog=f"{_listing()}\n\nrefhcm COMMAND --help explains a command.",
        formatter_class=shape,
    )
    # They are listed in groups, which argparse cannot do.
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", prog="refhcm", required=True, help=argparse.SUPPRESS
    )
    for name in COMMANDS:
        if name not in arguments[:1]:
            commands.add_parser(name)
            continue
        module = _module(name)
        module.add_arguments(commands.add_parser(name, description=module.__doc__, formatter_class=shape))
    return parser


def _listing() -> str:
    groups = [
        "\n".join([f"{title}:", *(f"  {name:12}{summary}" for name, (_, summary) in group.items())])
        for title, group in GROUPS.items()
    ]
    return "\n\n".join(groups)


def _module(command: str) -> ModuleType:
    if command == "train" and sys.version_info[:2] > LAST_OF_FAIRSEQ:
        here, last = (".".join(map(str, version[:2])) for version in (sys.version_info, LAST_OF_FAIRSEQ))
        raise UserError(f"training needs fairseq, which does not run on Python {here}. Use Python 3.11 to {last}")
    try:
        return importlib.import_module(COMMANDS[command][0], __package__)
    except ModuleNotFoundError as error:
        if command != "train" or str(error.name).startswith("refhcm"):
            raise
        missing = f"training needs fairseq (no module {error.name})"
        raise UserError(f"{missing}. Run: pip install -r requirements.txt") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: the command's; 2 after a mistake of the user, which is one line; 130 when interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)

    def run() -> int | None:  # with the imports of the command, which take seconds
        if arguments[:1] == ["train"]:
            sys.argv[0] = "refhcm train"  # what fairseq's help calls the program
            _module("train").main_and_exit(arguments[1:])
        if not arguments:
            make_parser(arguments).print_help(sys.stderr)
            return 2
        args = make_parser(arguments).parse_args(arguments)
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
        logging.getLogger("refhcm").setLevel(logging.INFO)
        status: int | None = _module(args.command).run(args)
        return status

    end_with_script()
    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
