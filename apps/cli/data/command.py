"""Tables of data sets: made from the files that their authors publish, and checked before they are used.

    refhcm data make rec --set refcoco --refs refer/data --images train2014 --split testA --out dataset/rec
    refhcm data check dataset/rec/refcoco_testA.tsv

`refhcm data make --help` lists the data sets (docs/datasets.md).
"""

import argparse
import importlib

# Sub-command -> its module, with `add_arguments(parser)` and `run(args)`, and what it does.
COMMANDS = {
    "make": (".make", "make a table from the files of a data set, or from your own"),
    "check": (".check", "find the faults of tables, row by row"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    commands = parser.add_subparsers(required=True, metavar="{" + ",".join(COMMANDS) + "}")
    for name, (module_name, summary) in COMMANDS.items():
        module = importlib.import_module(module_name, __package__)
        shape = argparse.RawDescriptionHelpFormatter
        command = commands.add_parser(name, help=summary, description=module.__doc__, formatter_class=shape)
        module.add_arguments(command)
        command.set_defaults(action=module.run)


def run(args: argparse.Namespace) -> int | None:
    """Runs the sub-command."""
    status: int | None = args.action(args)
    return status
