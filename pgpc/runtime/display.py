"""Names, errors and values as they are shown: nothing in them steers a terminal, a page or a program of tables.

What is shown may come from files of somebody else: names of classes, pictures and sweeps, settings, errors.
"""

from __future__ import annotations

import re
from typing import Any, TextIO, cast

# Control characters but for tabs and ends of lines, marks that change the direction of writing, separators of lines,
# and what stands for bytes that are no text.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def printable(text: str) -> str:
    r"""Return text with what would steer a terminal written out, as JSON does it: ``\u001b`` for an escape."""
    return _STEERING.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def one_line(text: str) -> str:
    """Return text as :func:`printable` does, on one line."""
    return " ".join(printable(text).splitlines())


def csv_cell(value: object) -> object:
    """Return what a cell of a CSV file holds: text that programs of tables would take for a formula follows a quote."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


class PrintableStream:
    """Stands in for a stream, and writes what can be shown.

    Args:
        stream: The stream.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text as :func:`printable` returns it."""
        self._stream.write(printable(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @classmethod
    def of(cls, stream: TextIO) -> TextIO:
        """Return such a stream, as what it stands in for."""
        return cast("TextIO", cls(stream))
