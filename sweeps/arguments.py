"""The arguments of :func:`sweeps.run`, which become the options of :mod:`sweeps.definition.options`.

A program may give an option as the command line does, as text, or as what it has at hand: a path, a mapping, a list.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from typing import Any

from pgpc.runtime.checks import check
from sweeps.common.words import as_flag_value, seconds
from sweeps.definition.options import SweepOptions, flag
from sweeps.definition.paper_tables import ABLATIONS

_FIELDS = {field.name: str(field.type).removesuffix(" | None") for field in dataclasses.fields(SweepOptions)}
"""Name of an option -> its type, as its class says it."""


def read(options: SweepOptions | None, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a program gives, by the names of the fields of `SweepOptions`.

    Args:
        options: All of them as one object; None for `arguments`.
        arguments: Those that are given by name; None for one that is not.

    Raises:
        ValueError: Both are given, there is no such option, or a value is of a kind that no option has.
    """
    if options is not None and arguments:
        raise ValueError(f"Options are given either as one object or by name, but got both: {', '.join(arguments)}.")
    if options is not None:
        return options.given()
    for name in arguments:
        check(
            name in _FIELDS,
            "The options of a sweep are the fields of SweepOptions",
            name,
            f"They are: {', '.join(_FIELDS)}.",
        )
    return {name: _value(name, value) for name, value in arguments.items() if value is not None}


def _value(name: str, value: Any) -> Any:
    """Return the value of an option, in the type that it has; its rule is checked later."""
    kind = _FIELDS[name]
    if name == "time_budget" and isinstance(value, str):
        return _seconds(value)
    if name == "table" and value == "all":
        return ABLATIONS
    if kind == "str":
        return _text(name, value)
    if kind == "bool":
        check(isinstance(value, bool), f"{flag(name)} must be True or False", value)
        return value
    if not kind.startswith("tuple"):
        return value
    if isinstance(value, Mapping):
        check(name in ("set", "range"), f"{flag(name)} must not be a mapping", value)
        return tuple(f"{key}={as_flag_value(part)}" for key, part in value.items())
    check(isinstance(value, str | int | os.PathLike | Iterable), f"{flag(name)} must be a list", value)
    parts = (value,) if isinstance(value, str | int | os.PathLike) else tuple(value)
    return tuple(_text(name, part) for part in parts) if "str" in kind else parts


def _text(name: str, value: Any) -> str:
    check(isinstance(value, str | os.PathLike), f"{flag(name)} must be a text", value)
    return str(os.fspath(value))


def _seconds(text: str) -> float | str:
    try:
        return seconds(text)
    except ValueError:
        return text  # which the option's own rule refuses
