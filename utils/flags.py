"""Command-line flags from dataclass fields, and the types of flags."""

import argparse
import types
import typing
from dataclasses import MISSING, field, fields, replace
from typing import Any

from .errors import UserError


def option(default: Any, text: str) -> Any:
    """A dataclass field with the help text of its flag."""
    return field(default=default, metadata={"help": text})


def add_flags(parser: argparse._ActionsContainer, config: type, *, suppress: bool = False) -> None:
    """Adds `--field-name` for each field of a dataclass, and for a switch `--no-field-name`.

    suppress: leave flags that the user did not give out of the result.
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
    """The dataclass with the fields that `args` has; the others are taken from `default`."""
    given = {f.name: getattr(args, f.name) for f in fields(config) if hasattr(args, f.name)}
    return config(**given) if default is None else replace(default, **given)


def _plain_type(hint: Any) -> Any:
    """`str | None` -> str."""
    if isinstance(hint, types.UnionType):
        (hint,) = (part for part in typing.get_args(hint) if part is not type(None))
    return hint


def whole(text: str, *, least: int = 0) -> int:
    """A flag's whole number, 0 or more."""
    if not (text.isascii() and text.isdecimal()) or int(text) < least:
        raise argparse.ArgumentTypeError(f"needs a whole number of at least {least}, got {text!r}")
    return int(text)


def positive(text: str) -> int:
    """A flag's whole number, 1 or more."""
    return whole(text, least=1)


def rate(text: str) -> float:
    """A flag's learning rate, above 0 and below 1."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"needs a number between 0 and 1, got {text!r}")
    return number


def id_pair(text: str, flag: str) -> tuple[int, int]:
    """The two ids of "a,b". Raises UserError naming the flag."""
    try:
        first, last = map(int, text.split(","))
    except ValueError:
        raise UserError(f"{flag} must be two ids a,b, got {text!r}") from None
    return first, last
