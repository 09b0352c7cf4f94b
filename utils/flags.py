"""Command-line flags from dataclass fields: name, type, default and help are said once, in the dataclass."""

import argparse
import types
import typing
from dataclasses import MISSING, field, fields, replace
from typing import Any


def option(default: Any, text: str) -> Any:
    """A dataclass field with the help text of its flag."""
    return field(default=default, metadata={"help": text})


def add_flags(parser: argparse._ActionsContainer, config: type, *, suppress: bool = False) -> None:
    """Adds `--field-name` for each field of a dataclass.

    A switch gets `--no-field-name`, too. suppress: leave out of the result what the user did not give.
    """
    hints = typing.get_type_hints(config)
    for f in fields(config):
        flag, kind = "--" + f.name.replace("_", "-"), _plain_type(hints[f.name])
        default = argparse.SUPPRESS if suppress or f.default is MISSING else f.default
        text = f"{f.metadata.get('help', '')} (default: {f.default})".replace("%", "%%")
        if kind is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=default, help=text)
        else:
            parser.add_argument(flag, type=kind, default=default, help=text)


def from_namespace(config: type, args: argparse.Namespace, *, default: Any = None) -> Any:
    """The dataclass with those of its fields that `args` has; the others as in `default`."""
    given = {f.name: getattr(args, f.name) for f in fields(config) if hasattr(args, f.name)}
    return config(**given) if default is None else replace(default, **given)


def _plain_type(hint: Any) -> type:
    """`str | None` -> str."""
    if isinstance(hint, types.UnionType):
        (hint,) = (part for part in typing.get_args(hint) if part is not type(None))
    return hint


def whole(text: str) -> int:
    """A flag's number from 0 on."""
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"needs a whole number from 0 on, got {text!r}")
    return int(text)


def positive(text: str) -> int:
    """A flag's number from 1 on."""
    if not (text.isascii() and text.isdecimal()) or int(text) == 0:
        raise argparse.ArgumentTypeError(f"needs a whole number from 1 on, got {text!r}")
    return int(text)


def rate(text: str) -> float:
    """A flag's learning rate, between 0 and 1."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"needs a number between 0 and 1, got {text!r}")
    return number
