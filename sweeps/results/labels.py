"""Which rows of the paper's tables the runs of a sweep belong to, and whether a sweep has something left to train."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from sweeps.common.names import Kind, Status
from sweeps.definition.sweep import TABLE_ROW, Sweep
from sweeps.results.rows import PaperRow, Row
from sweeps.results.summaries import Summary


def label_rows(sweep: Sweep, rows: Sequence[Row]) -> list[Row]:
    """Return rows of the runs as results.parquet has them: in a sweep of tables, one for each row a run belongs to.

    Such a row has what the table's row changes as its parameters, and is of the reference where the contrast is off.

    Args:
        sweep: The sweep.
        rows: One row per run.
    """
    if sweep.is_search:
        return list(rows)
    names = {config: name for name, config in sweep.table_configs.items()}
    labeled: list[Row] = []
    for table in sweep.tables:
        for table_row in table.rows:
            config = sweep.row_config(table_row)
            found = [
                dataclasses.replace(
                    row,
                    kind=Kind.SEARCH if config.contrast.enabled else Kind.REFERENCE,
                    params=table_row.columns,
                    paper=PaperRow(table=table.number, row=table_row.label),
                )
                for row in rows
                if row.params[TABLE_ROW] == names[config]
            ]
            labeled += [row for row in found if row not in labeled]  # Table 5 has its rows twice
    return labeled


def is_unfinished(sweep: Sweep, trials: Sequence[Summary]) -> bool:
    """Return whether a sweep has something left to train.

    Args:
        sweep: The sweep.
        trials: What has become of its trials so far.
    """
    searched = [trial.status for trial in trials if trial.kind == Kind.SEARCH or not sweep.is_search]
    size = sweep.options.population
    enough = size is not None and searched.count(Status.COMPLETE) >= size
    interrupted = any(trial.status == Status.INTERRUPTED for trial in trials)
    return interrupted or (len(searched) < sweep.num_trials and not enough)
