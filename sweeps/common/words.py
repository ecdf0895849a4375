"""How times, numbers and parameters are written, alike on the screen, in tables and in reports."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence

from pgpc.config import Config, flatten

NOTHING = "-"
"""Stands where there is no number."""
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


def seconds(text: str) -> float:
    """Return a time such as ``"900"``, ``"900s"``, ``"30m"`` or ``"1.5h"`` in seconds.

    Raises:
        ValueError: It is no time.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip().lower())
    if not match:
        raise ValueError(f"not a time: {text!r}")
    return float(match[1]) * _SECONDS[match[2]]


def duration(time: float) -> str:
    """Return a time in seconds as ``m:ss``, or as ``h:mm:ss`` from an hour on; parts of a second are dropped."""
    minutes, rest = divmod(int(time), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def number(value: float | None, spec: str = ".2f") -> str:
    """Return a number in the given format, or ``"-"`` for None and NaN."""
    return NOTHING if value is None or math.isnan(value) else format(value, spec)


def count(num: float, noun: str) -> str:
    """Return a whole number, its thousands set apart, and its noun in the right form: ``"1,240 iterations"``."""
    return f"{num:,.0f} {noun}{'' if round(num) == 1 else 's'}"


def percent(share: float) -> str:
    """Return a share from 0 to 1 in whole percent; a share that is not nothing is never written as 0 %."""
    whole = f"{100 * share:.0f}"
    return "less than 1 %" if share > 0 and whole == "0" else f"{whole} %"


def gigabytes(size: float) -> str:
    """Return a number of bytes as it is shown: in GB, or in MB below a tenth of one."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.0f} MB"


def param_text(value: object) -> str:
    """Return a value of a config as it is shown: floats with three significant digits, all else as it is."""
    if value is None:
        return NOTHING
    return number(value, ".3g") if isinstance(value, float) else str(value)


@functools.cache
def short(key: str) -> str:
    """Return the name under which a parameter is shown, by its dotted config key.

    It is what follows the last dot, or as much more as tells the key from all others of the config: of
    ``contrast.temperature`` and ``proca.temperature`` one would hide the other otherwise.
    """
    parts, others = key.split("."), [other.split(".") for other in flatten(Config()) if other != key]
    for length in range(1, len(parts)):
        tail = parts[-length:]
        if all(other[-length:] != tail for other in others):
            return ".".join(tail)
    return key


def listed(words: Sequence[str]) -> str:
    """Return words as a sentence lists them: ``"a, b and c"``."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def as_flag_value(value: object) -> str:
    """Return a value of the config as ``--set`` takes it; it is read back as it was."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
