"""Cells, and tables as text and as Markdown."""

from __future__ import annotations

import dataclasses
import math

from sweeps.results import tables
from sweeps.results.tables import EMPTY, Column, Table, escaped, to_markdown, to_text

NOTHING, MINUS = "\u2013", "\u2212"
COLUMNS: list[Column[tuple[str, float | None]]] = [
    Column("row", lambda item: tables.word(item[0]), left=True),
    Column("- base", lambda item: tables.number(item[1], strong=item[0] == "4")),
]
TABLE = Table.of("a-1", "", COLUMNS, [("mic-hrda", -3.0), ("4", 13.0), ("a|b", None)])


def test_text() -> None:
    assert to_text(TABLE).splitlines() == [
        "row       - base",
        "--------  ------",
        "mic-hrda   -3.00",
        "4          13.00",
        "a|b            -",
    ]


def test_markdown() -> None:
    assert to_markdown(TABLE).splitlines() == [
        f"| row | {MINUS} base |",
        "| --- | ---: |",
        f"| mic-hrda | {MINUS}3.00 |",
        "| 4 | **13.00** |",
        rf"| a\|b | {NOTHING} |",
    ]
    assert to_markdown(TABLE, plain=True).splitlines()[2] == "| mic-hrda | -3.00 |"
    assert to_markdown(TABLE, plain=True).splitlines()[0] == "| row | - base |"
    pipes = to_markdown(dataclasses.replace(TABLE, rows=[[tables.word("a|b\nc"), EMPTY]]), plain=True)
    assert pipes.splitlines()[2] == r"| a\|b c | - |"
    named = dataclasses.replace(TABLE, head=["row", "images_per_second"])
    assert "images_per_second" in to_markdown(named, plain=True) and r"images\_per\_second" in to_markdown(named)


def test_text_in_markdown_is_text() -> None:
    found = escaped("# <b>&lt;</b> [a](https://example.org) www.example.org ![x] `y`\n")
    assert found == (r"\# \<b\>\&lt;\</b\> \[a\](https:\//example.org) www\.example.org !\[x\] \`y\` ")


def test_numbers_have_a_minus_and_nothing_is_a_dash() -> None:
    assert tables.number(-1.234).typeset == f"{MINUS}1.23" and tables.number(-1.234).text == "-1.23"
    assert tables.number(float("nan")) == tables.number(None) == EMPTY and EMPTY.typeset == NOTHING
    words = [tables.param(value).typeset for value in (True, 3, 0.12345, "a-b", None, math.nan)]
    assert words == ["True", "3", "0.123", "a-b", NOTHING, NOTHING]
    assert tables.figures("-1.00 ± 0.50").typeset == f"{MINUS}1.00 ± 0.50"


def test_cells_are_sorted_by_their_numbers() -> None:
    assert [tables.number(2, "d").value, tables.time(61).value, tables.param(0.5).value] == [2.0, 61.0, 0.5]
    assert tables.time(61).text == "1:01" and tables.time(None) == EMPTY
    assert tables.word("a").value is tables.param("a").value is None
