"""Which terminal a sweep gets: lines, or a table that is drawn again and again at its place."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TextIO

from sweeps.definition.sweep import Sweep
from sweeps.progress.plain import Terminal
from sweeps.results.rows import Row
from sweeps.results.summaries import ranked


def open_terminal(out: TextIO | None, sweep: Sweep, rows: Sequence[Row]) -> Terminal:
    """Return what a sweep writes with.

    It writes lines, unless `out` is a terminal that can move its cursor, and nobody keeps what appears on it for later.

    Args:
        out: Where to write; None keeps quiet.
        sweep: The sweep.
        rows: What earlier drivers of the sweep have left.
    """
    leading = next((trial for trial in ranked(rows, sweep.selection) if trial.is_ranked), None)
    best = (leading.label, leading.score) if leading and leading.score is not None and sweep.is_search else None
    best = None if sweep.selection.is_rank else best
    if out is None or not _is_terminal(out) or os.environ.get("TERM") == "dumb" or "CI" in os.environ:
        return Terminal(out, sweep.seeds, best, sweep.selection)
    from rich.console import Console

    from sweeps.progress.live import LiveTerminal
    from sweeps.progress.live_table import Plan

    return LiveTerminal(Console(file=out, highlight=False), sweep.seeds, best, Plan.of(sweep, rows), sweep.selection)


def _is_terminal(out: TextIO) -> bool:
    """Return whether a stream is a terminal; those that the kernels of notebooks make need not know the question."""
    asked = getattr(out, "isatty", None)
    return asked is not None and bool(asked())
