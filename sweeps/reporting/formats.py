"""Tables as data, and how they are written: HTML, Markdown and LaTeX."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "\u2212": "$-$",
    "\u2013": "--",
}
_MARKDOWN = str.maketrans({c: f"\\{c}" for c in "\\`*_[]<>|~"} | {"\n": " "})


class Cell(NamedTuple):
    """One cell of a table.

    Attributes:
        text: what is written.
        value: what it is sorted by, where that is a number.
        strong: set in bold.
        tint: -1..1, painted from orange (worse) over nothing to blue (better).
        bar: 0..1, length of a bar after the text.
    """

    text: str
    value: float | None = None
    strong: bool = False
    tint: float | None = None
    bar: float | None = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table, of whichever format.

    Attributes:
        name: of letters and dashes; its anchor in HTML and its label in LaTeX.
        caption: one or two sentences.
        head: of the columns.
        rows: as many cells each.
        left: columns of words, set flush left; all others are numbers.
    """

    name: str
    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    left: frozenset[int] = frozenset({0})


NOTHING = Cell("\u2013")
"""Of a cell that has nothing to say: an en dash."""


def signed(text: str) -> str:
    """A number in text with a minus in place of a hyphen, and "-" alone as nothing."""
    return NOTHING.text if text == "-" else text.replace("-", "\u2212")


def number(value: float | None, spec: str = ".2f", *, strong: bool = False, tint: float | None = None) -> Cell:
    """A number as a cell; nothing where there is none."""
    if value is None or math.isnan(value):
        return NOTHING
    return Cell(signed(format(value, spec)), float(value), strong, tint)


def word(value: object) -> Cell:
    """A value of a config as a cell: numbers with three digits, all else as it is."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return Cell(str(value))
    return number(value, ".3g" if isinstance(value, float) else "d")


def to_html(table: Table, *, classes: str = "") -> str:
    """The table below its caption, in a box that scrolls sideways where it is too wide."""
    head = "".join(f'<th scope="col"{_align(table, i)}>{html.escape(text)}</th>' for i, text in enumerate(table.head))
    body = "\n".join(
        "<tr>" + "".join(_html_cell(cell, _align(table, i)) for i, cell in enumerate(row)) + "</tr>"
        for row in table.rows
    )
    name = f"caption-{table.name}"
    return (
        f'<p class="soft" id="{name}">{html.escape(table.caption)}</p>'
        f'<div class="scroll" tabindex="0" role="region" aria-labeledby="{name}">'
        f'<table id="table-{table.name}" class="{classes}" aria-labeledby="{name}"><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def to_markdown(table: Table) -> str:
    """The table as GitHub reads it, below its caption."""
    lines = [
        [text.translate(_MARKDOWN) for text in table.head],
        [":--" if i in table.left else "--:" for i in range(len(table.head))],
        *([_markdown_cell(cell) for cell in row] for row in table.rows),
    ]
    return f"{table.caption.translate(_MARKDOWN)}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def to_latex(table: Table) -> str:
    """The table as a float with rules of the package booktabs."""
    columns = "".join("l" if i in table.left else "r" for i in range(len(table.head)))
    lines = [" & ".join(_latex_cell(cell) for cell in row) + r" \\" for row in table.rows]
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{latex(table.caption)}}}",
            rf"  \label{{tab:{table.name}}}",
            rf"  \begin{{tabular}}{{{columns}}}",
            r"    \toprule",
            f"    {' & '.join(latex(text) for text in table.head)} " + r"\\",
            r"    \midrule",
            *(f"    {line}" for line in lines),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def latex(text: str) -> str:
    """`text` with all that means something to LaTeX escaped."""
    return "".join(_LATEX.get(c, c) for c in text.replace("\n", " "))


def _align(table: Table, column: int) -> str:
    return ' class="word"' if column in table.left else ""


def _html_cell(cell: Cell, align: str) -> str:
    text = html.escape(cell.text)
    text = f"<b>{text}</b>" if cell.strong else text
    if cell.bar is not None:
        text = f'{text}<span class="track"><span style="width:{100 * cell.bar:.1f}%"></span></span>'
    value = "" if cell.value is None else f' data-value="{cell.value!r}"'
    style = ""
    if cell.tint is not None and abs(cell.tint) >= 0.02:
        color = "var(--better)" if cell.tint > 0 else "var(--worse)"
        style = f' style="background:rgba({color},{min(abs(cell.tint), 1) * 0.6:.2f})"'
    return f"<td{align}{value}{style}>{text}</td>"


def _markdown_cell(cell: Cell) -> str:
    text = cell.text.translate(_MARKDOWN)
    return f"**{text}**" if cell.strong else text


def _latex_cell(cell: Cell) -> str:
    text = latex(cell.text)
    return rf"\textbf{{{text}}}" if cell.strong else text
