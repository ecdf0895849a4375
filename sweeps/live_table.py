"""The table of a sweep's runs on a terminal, as it is drawn once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweeps.replicates import METRIC

STYLES = {"complete": "green", "pruned": "yellow", "failed": "red"}
_BAR, _MIN_BAR = 30, 8
_GAP = 2


@dataclass(kw_only=True)
class Row:
    """A run in the table, or what became of all runs of a trial."""

    label: str
    state: str
    """ "running", "complete", "pruned" or "failed"; or words that say more."""
    score: str
    iteration: int = 0
    iterations: int = 0
    values: dict[str, str] = field(default_factory=dict)


def table(rows: Sequence[Row], columns: Sequence[str], width: int) -> Table:
    """One line for each row, below a line of names.

    Args:
        rows: to be shown.
        columns: names of the parameters; those that find no room are left out, the last first.
        width: of the terminal, in characters.
    """
    counts = [f"{row.iteration}/{row.iterations}" if row.iterations else "" for row in rows]
    states = {row.state for row in rows} - {"running"}

    left = width - sum(
        _widest([head, *cells]) + _GAP
        for head, cells in (("trial", [r.label for r in rows]), ("", counts), (METRIC, [r.score for r in rows]))
    )
    least = max(_MIN_BAR, _widest(states))
    shown: list[str] = []
    widths = [_widest([name, *(row.values.get(name, "-") for row in rows)]) + _GAP for name in columns]
    for i, name in enumerate(columns):
        later = len(columns) > i + 1
        if sum(widths[: i + 1]) + later * (1 + _GAP) > left - least - _GAP:
            break
        shown.append(name)
    left_out = len(shown) < len(columns)
    bar = min(_BAR, max(left - _GAP - sum(widths[: len(shown)]) - left_out * (1 + _GAP), least))

    drawn = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="dim")
    drawn.add_column("trial", no_wrap=True)
    drawn.add_column("", no_wrap=True, width=bar)
    drawn.add_column("", no_wrap=True, justify="right")
    drawn.add_column(METRIC, no_wrap=True, justify="right", style="bold")
    for name in [*shown, *["…"] * left_out]:
        drawn.add_column(name, no_wrap=True, justify="right")
    for row, count in zip(rows, counts, strict=True):
        if row.state == "running":
            state = ProgressBar(total=max(row.iterations, 1), completed=row.iteration, width=bar)
        else:
            state = Text(row.state, style=STYLES.get(row.state, ""))
        cells = (row.values.get(name, "-" if row.iterations else "") for name in shown)
        drawn.add_row(row.label, state, count, row.score, *cells)
    return drawn


def _widest(texts: Iterable[str]) -> int:
    return max(map(len, texts), default=0)
