r"""How tables are written as LaTeX, which compiles by itself and can be ``\input`` into a paper.

Whatever a table holds, it fits its page: what is too wide or too high is set smaller, long columns of numbers have
their names turned, prose is broken into lines, and a table of many rows goes on in further floats.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from pgpc.runtime.display import printable
from sweeps.results.tables import Cell, Table

_ROWS = 25  # of one float
_PROSE = 40  # characters from which on words are broken into lines
_WIDE = 120  # characters of a table, two between columns, that is still legible when it is made to fit
_UNBROKEN = 24  # characters of a word that is not broken
_BREAK, _APART = "\u200b", "\u2060"
_SPECIAL = {
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
    _BREAK: r"\allowbreak{}",
    _APART: "{}",
}
_KNOWN = frozenset("\u2014\u2018\u2019\u201c\u201d\u2022\u2026\u2190\u2192€™") | {
    chr(c) for c in range(0xA0, 0x180)
} - set("ĦħĸĿŀŉŦŧſÐĐŊÞðđŋþ«»ĄąĘęĮįŲų")
"""Characters beside those of ASCII that LaTeX sets in any of its usual fonts."""
_BEGIN = r"""% Compiles as it is, and can be \input into a paper that loads the packages booktabs and adjustbox.
\makeatletter
\ifx\@nodocument\relax % the body of a paper has begun
  \def\endofreport{}
\else
  \documentclass{article}
  \usepackage[margin=25mm]{geometry}
  \usepackage{booktabs,adjustbox}
  \setlength{\belowcaptionskip}{6pt}
  \def\endofreport{\end{document}}
  \begin{document}
\fi
\makeatother
"""


def document(found: Sequence[Table]) -> str:
    r"""Return tables as a file that LaTeX compiles, and that a paper can ``\input``."""
    return "\n".join([_BEGIN, *map(to_latex, found), r"\endofreport", ""])


def to_latex(table: Table) -> str:
    """Return the table as floats with rules of the package booktabs, no larger than a page."""
    parts = [table.rows[i : i + _ROWS] for i in range(0, len(table.rows), _ROWS)] or [table.rows]
    captions = [rf"\caption{{{latex(table.caption)}}}\label{{tab:{table.name}}}"]
    captions += [r"\addtocounter{table}{-1}\caption{(continued)}"] * (len(parts) - 1)
    return "\n".join(_float(table, rows, caption) for rows, caption in zip(parts, captions, strict=True))


def latex(text: str) -> str:
    """Return text on one line with all that means something to LaTeX escaped; long words can be broken."""
    words = (_breakable(word) if len(word) > _UNBROKEN else word for word in printable(text).split())
    # Two hyphens would become a dash.
    return "".join(map(_character, " ".join(words).replace("--", f"-{_APART}-")))


def _float(table: Table, rows: Sequence[Sequence[Cell]], caption: str) -> str:
    """Return some rows of a table as a float; what they all need is the same in each."""
    lengths = [max((len(row[i].typeset) for row in table.rows), default=0) for i in range(len(table.head))]
    turned = _turned(table, lengths)
    heads = [
        rf"\rotatebox{{90}}{{{latex(text)}}}" if turn else latex(text)
        for text, turn in zip(table.typeset_head, turned, strict=True)
    ]
    columns = "".join(map(_column, table.left, lengths))
    lines = [" & ".join(map(_cell, row)) + r" \\" for row in rows]
    return "\n".join(
        [
            r"\begin{table}[htbp]",
            r"  \centering",
            f"  {caption}",
            r"  \begin{adjustbox}{max width=\linewidth, max totalheight=0.65\textheight}",
            *([r"    \setlength{\tabcolsep}{3pt}"] if any(turned) else []),
            rf"    \begin{{tabular}}{{{columns}}}",
            r"      \toprule",
            f"      {' & '.join(heads)} " + r"\\",
            r"      \midrule",
            *(f"      {line}" for line in lines),
            r"      \bottomrule",
            r"    \end{tabular}",
            r"  \end{adjustbox}",
            r"\end{table}",
            "",
        ]
    )


def _turned(table: Table, lengths: Sequence[int]) -> list[bool]:
    """Return which columns have their name upright: in a wide table those of numbers with a longer name."""
    widths = [max(len(name), min(length, _PROSE)) + 2 for name, length in zip(table.head, lengths, strict=True)]
    is_wide = sum(widths) > _WIDE
    of_numbers = (not left and len(name) > length + 1 for name, left, length in zip(table.head, table.left, lengths))
    return [is_wide and long for long in of_numbers]


def _column(left: bool, length: int) -> str:
    """Return the type of a column whose longest cell has so many characters."""
    if left and length > _PROSE:
        return r"p{0.6\linewidth}"
    return "l" if left else "r"


def _cell(cell: Cell) -> str:
    text = latex(cell.typeset)
    return rf"\textbf{{{text}}}" if cell.strong else text


def _breakable(word: str) -> str:
    """Return a long word with marks where it may be broken: behind signs, else anywhere in what is still too long."""
    parts = re.split(r"(?<=[/\\_.,:;=+@-])", word)
    pieces = [part[i : i + _UNBROKEN] for part in parts for i in range(0, len(part), _UNBROKEN)]
    return _BREAK.join(pieces)


def _character(c: str) -> str:
    """Return a character as LaTeX takes it; one that it does not know by letters that are like it, or by its number."""
    if c in _SPECIAL:
        return _SPECIAL[c]
    if c.isascii() or c in _KNOWN:
        return c
    alike = unicodedata.normalize("NFKD", c).encode("ascii", "ignore").decode()
    return "".join(_SPECIAL.get(letter, letter) for letter in alike) or f"[U+{ord(c):04X}]"
