"""The score of each run, by which trials are chosen."""

from __future__ import annotations

from collections.abc import Iterable

from sweeps.common.names import Status
from sweeps.definition.selection import Selection
from sweeps.results.rows import Row


def run_scores(rows: Iterable[Row], selection: Selection) -> dict[str, float]:
    """Return the score of each run that has one, higher being better, by the run's label.

    Args:
        rows: Rows of a sweep; those that repeat a run count once.
        selection: What trials are chosen by. Of a single metric a run that has not come to its end has the score of its
            last report. A mean rank is taken among the complete runs of the same seed, the base's among them.
    """
    runs = {row.label: row for row in rows}.values()
    if not selection.is_rank:
        return selection.scores({row.label: _report(row, selection) for row in runs})
    scores: dict[str, float] = {}
    complete = [row for row in runs if row.status == Status.COMPLETE]
    for seed in {row.seed for row in complete}:
        scores |= selection.scores({row.label: _report(row, selection) for row in complete if row.seed == seed})
    return scores


def _report(row: Row, selection: Selection) -> dict[str, float]:
    found = {name: row.metric(name) for name in selection.metrics}
    return {name: value for name, value in found.items() if value is not None}
