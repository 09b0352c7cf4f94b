"""Command-line flags from dataclass fields, and the types of flags."""

import argparse
import types
import typing
from collections.abc import Container, Mapping
from dataclasses import MISSING, Field, field, fields, replace
from typing import Any

from .errors import UserError, shown
from .symbols import SPECIAL_SYMBOLS

Bounds = Mapping[str, tuple[float, float]]


def option(default: Any, text: str, *, shown: str | None = None) -> Any:
    """A dataclass field with the help text of its flag. shown: what help says of its default; None: the default."""
    return field(default=default, metadata={"help": text, "shown": _in_words(default) if shown is None else shown})


def _in_words(default: Any) -> str:
    if default in (None, ""):
        return "none"
    return ("no", "yes")[default] if isinstance(default, bool) else str(default)


def sentence(f: Field[Any], *, default: str = "{}") -> str:
    """The help of a field's flag. default: what it says of the default, with {} for that of the field."""
    text, shown = f.metadata.get("help", f.name), f.metadata.get("shown", _in_words(f.default))
    return f"{text[0].upper()}{text[1:]} (default: {default.format(shown)}).".replace("%", "%%")


def add_flags(
    parser: argparse._ActionsContainer,
    config: type,
    *,
    suppress: bool = False,
    otherwise: str | None = None,
    but: Container[str] = (),
) -> None:
    """Adds `--field-name` for each field of a dataclass, and for a switch `--no-field-name`.

    suppress: leave flags that the user did not give out of the result. otherwise: the same, and what help says of their
    defaults, such as "the checkpoint's, else {}"; None: {}. but: fields of which it says {} all the same.
    """
    hints = typing.get_type_hints(config)
    for f in fields(config):
        flag, kind = "--" + f.name.replace("_", "-"), _plain_type(hints[f.name])
        left_out = suppress or otherwise is not None or f.default is MISSING
        default = argparse.SUPPRESS if left_out else f.default
        text = sentence(f, default="{}" if otherwise is None or f.name in but else otherwise)
        if kind is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=default, help=text)
        else:
            parser.add_argument(flag, type=kind, default=default, help=text)


def from_namespace(config: type, args: argparse.Namespace, *, default: Any = None) -> Any:
    """The dataclass with the fields that `args` has; the others are taken from `default`."""
    given = {f.name: getattr(args, f.name) for f in fields(config) if hasattr(args, f.name)}
    return config(**given) if default is None else replace(default, **given)


def check_fields(config: Any, *, bounds: Bounds) -> None:
    """Checks the fields of a dataclass, whose values may come from a file. UserError names the first that is wrong.

    bounds: least and largest number by field; under "int", those of other whole numbers, and under "float" alike.
    """
    for name, hint in typing.get_type_hints(type(config)).items():
        value, kind = getattr(config, name), _plain_type(hint)
        if value is None and kind is not hint:
            continue
        valid, expected = isinstance(value, kind), {str: "a text", bool: "yes or no"}.get(kind, "")
        if kind in (int, float):
            least, largest = bounds.get(name, bounds[kind.__name__])
            numbers = int if kind is int else (int, float)
            valid = isinstance(value, numbers) and not isinstance(value, bool) and least <= value <= largest
            expected = f"a {'whole ' if kind is int else ''}number from {least} to {largest}"
        if not valid:
            raise UserError(f"{name} is {shown(value)}, expected {expected}")


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


def share(text: str) -> float:
    """A flag's number from 0 to 1."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"needs a number from 0 to 1, got {text!r}")
    return number


def id_pair(text: str, flag: str) -> tuple[int, int]:
    """The two ids of "a,b", for ids from a to b-1, some of them beyond the special symbols.

    Raises UserError naming the flag.
    """
    try:
        first, last = map(int, text.split(","))
    except ValueError:
        raise UserError(f"{flag} must be two ids a,b, got {shown(text)}") from None
    if not 0 <= first < last or last <= SPECIAL_SYMBOLS:
        wanted = f"0 <= a < b, and b above {SPECIAL_SYMBOLS}, the number of special symbols"
        raise UserError(f"{flag} must be two ids a,b with {wanted}, got {shown(text)}")
    return first, last
