"""Tables as HTML and Markdown."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from sweeps.reporting.formats import to_html
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


def test_markdown_tables_have_as_many_cells_in_every_line(typical: Path, write: Write) -> None:
    markdown = write(typical).markdown
    blocks = re.findall(r"(?:^\|.*\n)+", markdown, flags=re.MULTILINE)
    assert len(blocks) == 4
    for block in blocks:
        assert len({re.sub(r"\\.", "", line).count("|") for line in block.splitlines()}) == 1
    assert "<script>" not in markdown.replace(r"\<", "")


def test_only_html_speaks_of_colors(typical: Path, write: Write) -> None:
    table = replace(Table.of("x", "One sentence.", COLUMNS, [], colors="Blue is above."), rows=())
    assert ">One sentence. Blue is above.<" in to_html(table)
    found = write(typical)
    assert "Blue is above the base" in found.source
    for text in (found.markdown, found.latex):
        assert not re.search(r"\b(blue|orange|colou?r)", text, re.IGNORECASE)
