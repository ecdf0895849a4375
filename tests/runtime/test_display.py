"""What is shown steers nothing: terminals, Markdown, programs of tables."""

from __future__ import annotations

import io

import pytest

from pgpc.runtime.display import PrintableStream, csv_cell, one_line, printable

STEERING = ["\x1b[2J", "\x9b31m", "\r", "\x08", "\x7f", "\u202e", "\u2066", "\u2028", "\ud800", "\x00"]


@pytest.mark.parametrize("text", STEERING, ids=ascii)
def test_what_steers_a_terminal_is_written_out(text: str) -> None:
    assert printable(f"a{text}b") == f"a\\u{ord(text[0]):04x}{text[1:]}b"


def test_ordinary_text_stays_as_it_is() -> None:
    text = "größe 5 \u2013 3 \u2212 1 ± 2, 道路, \t| \n`x`"
    assert printable(text) == text
    assert one_line("a\nb\x1bc\r\nd") == "a b\\u001bc\\u000d d"


def test_cells_are_no_formulas() -> None:
    found = [csv_cell(value) for value in ("=HYPERLINK(1)", "+1", "-1", "@x", "\t=1", "road", -1.5, None)]
    assert found == ["'=HYPERLINK(1)", "'+1", "'-1", "'@x", "'\t=1", "road", -1.5, None]


def test_a_stream_takes_anything() -> None:
    inner = io.StringIO()
    stream = PrintableStream.of(inner)
    print("a\x1b[31m", "\ud800", file=stream)
    assert inner.getvalue() == "a\\u001b[31m \\ud800\n" and not stream.isatty()
