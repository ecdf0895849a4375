"""Tables as data: columns that make a cell of each item, and how a table is written as plain text and as Markdown.

Cells hold plain text: a hyphen as the minus of a number, and a hyphen alone where there is nothing to say. Text for a
terminal has it so; what is typeset has a minus and a dash in their places. HTML and LaTeX are in
:mod:`sweeps.reporting`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sweeps.common import words

Item = TypeVar("Item")
_MARKDOWN = str.maketrans({c: f"\\{c}" for c in "\\`*_[]<>|~&#"} | {"\n": " "})
_LINK = re.compile(r"(?<=:)//|(?<=www)\.", re.IGNORECASE)  # of which GitHub makes links by itself


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: What is written, as plain text.
        value: Number that the cell is sorted by; None where it is sorted by its text, or is empty.
        numeric: Whether the text is made of numbers, so that its hyphens are minus signs.
        strong: Whether the text is set in bold.
        tint: Color from -1 (below, orange) over 0 (none) to 1 (above, blue); None for no color.
        bar: Length of a bar after the text, from 0 to 1; None for no bar.
    """

    text: str
    value: float | None = None
    numeric: bool = False
    strong: bool = False
    tint: float | None = None
    bar: float | None = None

    @property
    def typeset(self) -> str:
        """The text as it is printed: with a minus in place of a hyphen, and a dash where there is nothing."""
        return typeset(self.text) if self.numeric else self.text


EMPTY = Cell(text=words.NOTHING, numeric=True)
"""A cell that has nothing to say."""


@dataclass(frozen=True)
class Column(Generic[Item]):
    """One column of a table.

    Attributes:
        name: What stands at its head.
        cell: Function that makes the column's cell of an item.
        left: Whether the column holds words, which are flush left; numbers are flush right.
    """

    name: str
    cell: Callable[[Item], Cell]
    left: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of whichever format.

    Attributes:
        name: Letters, digits and dashes; anchor in HTML and label in LaTeX.
        caption: One or more sentences.
        head: Names of the columns.
        left: Whether each column is flush left.
        rows: Cells, as many in each row as there are columns.
        colors: A sentence on what the colors of cells mean, where there are any; "" where there are none.
    """

    name: str
    caption: str
    head: Sequence[str]
    left: Sequence[bool]
    rows: Sequence[Sequence[Cell]]
    colors: str = ""

    @property
    def typeset_head(self) -> list[str]:
        """Names of the columns as they are printed: a hyphen before a space is a minus."""
        return [text.replace("- ", "\u2212 ") for text in self.head]

    @classmethod
    def of(
        cls, name: str, caption: str, columns: Sequence[Column[Item]], items: Iterable[Item], *, colors: str = ""
    ) -> Table:
        """Return the table with these columns, and a row for each item."""
        return cls(
            name=name,
            caption=caption,
            head=[column.name for column in columns],
            left=[column.left for column in columns],
            rows=[[column.cell(item) for column in columns] for item in items],
            colors=colors,
        )


def word(text: str, *, strong: bool = False) -> Cell:
    """Return a cell that holds words."""
    return Cell(text=text, strong=strong)


def figures(text: str) -> Cell:
    """Return a cell that holds several numbers as text, such as a mean and its deviation."""
    return Cell(text=text, numeric=True)


def number(
    value: float | None,
    spec: str = ".2f",
    *,
    strong: bool = False,
    tint: float | None = None,
    bar: float | None = None,
) -> Cell:
    """Return a cell that holds a number in this format; an empty one for None and NaN."""
    if value is None or math.isnan(value):
        return EMPTY
    text = words.number(value, spec)
    return Cell(text=text, value=float(value), numeric=True, strong=strong, tint=tint, bar=bar)


def param(value: object) -> Cell:
    """Return a cell that holds a value of a config, see :func:`sweeps.common.words.param_text`."""
    if value is None:
        return EMPTY
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return word(words.param_text(value))
    return number(value, ".3g" if isinstance(value, float) else "d")


def time(seconds: float | None) -> Cell:
    """Return a cell that holds a time as hours, minutes and seconds; an empty one for None."""
    return EMPTY if seconds is None else Cell(text=words.duration(seconds), value=float(seconds), numeric=True)


def typeset(text: str) -> str:
    """Return numbers as they are printed: with a minus in place of a hyphen, or a dash in place of a hyphen alone."""
    return "\u2013" if text == words.NOTHING else text.replace("-", "\u2212")


def to_text(table: Table) -> str:
    """Return the table as lines of plain text: columns of equal width below their names and a rule."""
    body = [[cell.text for cell in row] for row in table.rows]
    widths = [max(map(len, column)) for column in zip(table.head, *body, strict=True)]

    def line(texts: Sequence[str]) -> str:
        aligned = zip(texts, widths, table.left, strict=True)
        return "  ".join(text.ljust(w) if left else text.rjust(w) for text, w, left in aligned).rstrip()

    return "\n".join(map(line, [table.head, ["-" * width for width in widths], *body]))


def to_markdown(table: Table, *, plain: bool = False) -> str:
    """Return the table as GitHub reads it, without its caption.

    Args:
        table: The table.
        plain: Whether cells are as in text, numbers with a hyphen for a minus, so that programs can read them.
    """
    lines = [
        list(table.head) if plain else [escaped(text) for text in table.typeset_head],
        ["---" if left else "---:" for left in table.left],
        *([_markdown_cell(cell, plain) for cell in row] for row in table.rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escaped(text: str) -> str:
    """Return text on one line with all that means something to Markdown escaped."""
    return _LINK.sub(lambda match: f"\\{match[0]}", text.translate(_MARKDOWN))


def _markdown_cell(cell: Cell, plain: bool) -> str:
    text = " ".join(cell.text.replace("|", r"\|").splitlines()) if plain else escaped(cell.typeset)
    return f"**{text}**" if cell.strong else text
