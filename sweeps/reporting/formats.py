"""How a table is written as HTML; LaTeX is in :mod:`sweeps.reporting.latex`, text in :mod:`sweeps.results.tables`."""

from __future__ import annotations

import html

from sweeps.results.tables import Cell, Table


def to_html(table: Table, *, classes: str = "") -> str:
    """Return the table below its caption, in a box that scrolls sideways where the table is too wide.

    Args:
        table: The table.
        classes: CSS classes of the table element.
    """
    columns = zip(table.typeset_head, table.left, strict=True)
    head = "".join(f'<th scope="col"{_align(left)}>{html.escape(text)}</th>' for text, left in columns)
    body = "\n".join(
        "<tr>" + "".join(_html_cell(cell, left) for cell, left in zip(row, table.left, strict=True)) + "</tr>"
        for row in table.rows
    )
    name, caption = f"caption-{table.name}", f"{table.caption} {table.colors}".rstrip()
    return (
        f'<p class="soft" id="{name}">{html.escape(caption)}</p>'
        f'<div class="scroll" tabindex="0" role="region" aria-labelledby="{name}">'
        f'<table id="table-{table.name}" class="{classes}" aria-labelledby="{name}"><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def _align(left: bool) -> str:
    return ' class="word"' if left else ""


def _html_cell(cell: Cell, left: bool) -> str:
    text = html.escape(cell.typeset)
    text = f"<b>{text}</b>" if cell.strong else text
    if cell.bar is not None:
        text = f'{text}<span class="track"><span style="width:{100 * cell.bar:.1f}%"></span></span>'
    value = "" if cell.value is None else f' data-value="{cell.value!r}"'
    style = ""
    if cell.tint is not None and abs(cell.tint) >= 0.02:
        color = "var(--above)" if cell.tint > 0 else "var(--below)"
        style = f' style="background:rgba({color},{min(abs(cell.tint), 1) * 0.6:.2f})"'
    return f"<td{_align(left)}{value}{style}>{text}</td>"
