"""Tables as HTML, Markdown and LaTeX."""

from __future__ import annotations

import re
from pathlib import Path

from sweeps.reporting.formats import latex, to_html, to_latex
from sweeps.results import tables
from sweeps.results.tables import Cell, Column, Table
from tests.helpers.reports import Page, Write

COLUMNS = [
    Column[Cell]("name", lambda cell: tables.word("a_b"), left=True),
    Column[Cell]("- base", lambda cell: cell),
]


def test_html_has_values_to_sort_by_and_marks() -> None:
    cells = [
        tables.number(-1.5, strong=True),
        tables.number(50.0, ".0f", bar=0.5),
        tables.number(1.0, tint=-0.5),
        tables.EMPTY,
    ]
    source = to_html(Table.of("x", "a < b", COLUMNS, cells), classes="sortable")
    page = Page(source)
    assert page.tables["table-x"][0] == ["name", "\u2212 base"]
    assert [line[1] for line in page.tables["table-x"][1:]] == ["\u22121.50", "50", "1.00", "\u2013"]
    assert [value[1] for value in page.values["table-x"][1:]] == ["-1.5", "50.0", "1.0", None]
    assert "<b>\u22121.50</b>" in source and "width:50.0%" in source and "rgba(var(--below),0.30)" in source
    assert source.count('aria-labelledby="caption-x"') == 2 and 'id="caption-x">a &lt; b<' in source
    assert source.count(' class="word"') == 1 + len(cells)


def test_latex_escapes_what_means_something_to_it() -> None:
    assert latex("50 % of a_b\n{x} \u2212 y\u2013z ± ~") == r"50 \% of a\_b \{x\} $-$ y--z $\pm$ \textasciitilde{}"
    text = to_latex(Table.of("x", "A & B", COLUMNS, [tables.number(-1.5, strong=True)]))
    assert r"\begin{tabular}{lr}" in text and r"\caption{A \& B}" in text and r"a\_b & \textbf{$-$1.50} \\" in text


def test_latex_is_balanced_and_escaped(typical: Path, write: Write) -> None:
    found = write(typical).latex
    bare = re.sub(r"\\[\\{}$&#%_]", "", found)
    assert bare.count("{") == bare.count("}") and bare.count("$") % 2 == 0
    assert not re.search(r"[_#^~<>|\u2013\u2212]", re.sub(r"\\label\{[^}]*\}", "", bare))
    assert re.findall(r"^%.*", bare) == re.findall("%.*", bare)
    for name in ("table", "tabular"):
        assert found.count(rf"\begin{{{name}}}") == found.count(rf"\end{{{name}}}") == 4
    for body in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", found, flags=re.DOTALL):
        lines = re.sub(r"\\&", "", body[1]).split(r"\\")[:-1]
        assert {line.count("&") for line in lines} == {len(body[0]) - 1}


def test_markdown_tables_have_as_many_cells_in_every_line(typical: Path, write: Write) -> None:
    markdown = write(typical).markdown
    blocks = re.findall(r"(?:^\|.*\n)+", markdown, flags=re.MULTILINE)
    assert len(blocks) == 4
    for block in blocks:
        assert len({re.sub(r"\\.", "", line).count("|") for line in block.splitlines()}) == 1
    assert "<script>" not in markdown.replace(r"\<", "")
