"""Values of a configuration from text, as typed on a command line, and from plain data, as read from JSON."""

from __future__ import annotations

import math
import types
import typing
from typing import Any, Literal


def coerce(value: Any, kind: Any, key: str) -> Any:
    """Return a value as a type; text is parsed.

    Args:
        value: The value, or its text.
        kind: ``bool``, ``int``, ``float``, ``str``, a ``Literal``, a tuple of these, or one of these or None.
        key: Name of the value in messages.

    Raises:
        ValueError: The value is not of that type.
    """
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        for choice in args:  # as text too, since choices may be numbers or truth values
            if isinstance(choice, bool) or isinstance(value, bool):
                if value is choice or (isinstance(value, str) and value.lower() == str(choice).lower()):
                    return choice
            elif value == choice or (isinstance(value, str) and value == str(choice)):
                return choice
        raise ValueError(f"{key} must be one of {', '.join(map(repr, args))}, but got {value!r}.")
    if origin in (typing.Union, types.UnionType):  # only "X | None" is used
        if value is None or (isinstance(value, str) and value.lower() == "none"):
            return None
        return coerce(value, next(a for a in args if a is not type(None)), key)
    if origin is tuple:
        return _items(value, args, key)
    if kind is bool:
        return _truth(value, key)
    if kind is str:
        if isinstance(value, str):
            return value
        raise ValueError(f"{key} must be text, but got {value!r}.")
    return _number(value, kind, key)


def as_setting(value: Any) -> str:
    """Return a value as text that :func:`coerce` makes the same value of."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _items(value: Any, kinds: tuple[Any, ...], key: str) -> tuple[Any, ...]:
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)):
        raise ValueError(f"{key} must be a list (on the command line: a,b), but got {value!r}.")
    items = [i.strip() if isinstance(i, str) else i for i in items]
    item_kinds = [kinds[0]] * len(items) if len(kinds) == 2 and kinds[1] is Ellipsis else list(kinds)
    if len(items) != len(item_kinds):
        raise ValueError(f"{key} must have {len(item_kinds)} items, but got {value!r}.")
    return tuple(coerce(i, k, key) for i, k in zip(items, item_kinds))


def _truth(value: Any, key: str) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ValueError(f"{key} must be true or false, but got {value!r}.")


def _number(value: Any, kind: Any, key: str) -> int | float:
    assert kind in (int, float), f"config field {key} has a type that cannot be converted: {kind}"
    number = converted = math.nan
    if not isinstance(value, bool):
        try:
            number = float(value)
            converted = int(value) if isinstance(value, (int, str)) and kind is int else kind(number)
        except (TypeError, ValueError, OverflowError):
            number = converted = math.nan
    if math.isnan(number) or converted != number:
        noun = "a whole number" if kind is int else "a number"
        raise ValueError(f"{key} must be {noun}, but got {value!r}.")
    return converted
