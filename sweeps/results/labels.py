"""What the runs of given configs stand for: rows of the paper's tables, or trials that are confirmed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from sweeps.common.names import REFERENCE_LABEL, Kind
from sweeps.definition.sweep import TABLE_ROW, Sweep
from sweeps.results.rows import PaperRow, Row


def label_rows(sweep: Sweep, rows: Sequence[Row]) -> list[Row]:
    """Return rows of the runs as results.parquet has them: in a sweep of tables, one for each row a run belongs to.

    Such a row has what the table's row changes as its parameters, and is of the reference where the contrast is off. In
    a confirmation a row has the label and the parameters of the trial that it confirms.

    Args:
        sweep: The sweep.
        rows: One row per run.
    """
    if sweep.is_search:
        return list(rows)
    if sweep.confirms:
        return [_confirming(row, str(row.params[TABLE_ROW]), sweep) for row in rows]
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


def _confirming(row: Row, trial: str, sweep: Sweep) -> Row:
    kind = Kind.REFERENCE if trial == REFERENCE_LABEL else Kind.SEARCH
    return dataclasses.replace(row, trial=trial, kind=kind, params=sweep.confirms[trial])
