"""Scores over seeds of the paper's rows, compared with their bases seed by seed, and set beside the paper's figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.common import words
from sweeps.common.names import METRIC, Status
from sweeps.definition.paper_tables import ENCODERS, TableRow
from sweeps.definition.paper_tables import Table as PaperTable
from sweeps.definition.selection import BY_MIOU, Selection
from sweeps.estimates.differences import Difference, compare_all
from sweeps.estimates.spread import Spread, Values, mean_std_text, paired
from sweeps.results import tables
from sweeps.results.rows import Row
from sweeps.results.scores import run_scores
from sweeps.results.tables import Cell, Column, Table


@dataclass(frozen=True, kw_only=True)
class Line:
    """A row of a table as it came out, and as the paper has it.

    Attributes:
        label: Label of the row.
        values: Seed -> score of the run that is complete.
        to_base: Seed -> difference or quotient to the base's score, see :func:`sweeps.estimates.spread.paired`; empty
            for a base.
        difference: The mean of these, with its interval as one of all rows of the table; None for a base, and where
            nothing can be compared.
        figure: What the paper prints; None where it prints nothing.
        figure_to_base: Difference or quotient of the paper's figures; None where it has not both.
    """

    label: str
    values: Values
    to_base: Values
    difference: Difference | None
    figure: float | None
    figure_to_base: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, with None where there is no number."""
        ours, difference = Spread.of(list(self.values.values())), Spread.of(list(self.to_base.values()))
        adjusted = self.difference.adjusted if self.difference else None
        return {
            "row": self.label,
            "mean": _plain(ours.mean),
            "std": _plain(ours.std),
            "seeds": {str(seed): value for seed, value in self.values.items()},
            "to_base": _plain(difference.mean),
            "to_base_std": _plain(difference.std),
            "to_base_n": difference.n,
            "to_base_interval": [adjusted.low, adjusted.high] if adjusted else None,
            "to_base_p": self.difference.p_adjusted if self.difference else None,
            "to_base_seeds": {str(seed): value for seed, value in self.to_base.items()},
            "paper": self.figure,
            "paper_to_base": self.figure_to_base,
        }


def compare(table: PaperTable, rows: Sequence[Row], selection: Selection = BY_MIOU) -> list[Line]:
    """Return a line for each row of a table of the paper.

    Args:
        table: The table.
        rows: Rows of the sweep, those of other tables included; only runs that are complete are counted.
        selection: What trials are chosen by. Where it takes no labels of the target, the rows are compared by it in
            place of mIoU.
    """
    chosen = run_scores(rows, selection) if _is_replaced(table, selection) else None
    scores: dict[str, dict[int, float]] = {row.label: {} for row in table.rows}
    for run in rows:
        value = run.metric(table.metric) if chosen is None else chosen.get(run.label)
        if run.status != Status.COMPLETE or value is None or run.paper is None:
            continue
        if run.paper.table == table.number and run.paper.row in scores:
            scores[run.paper.row][run.seed] = value
    to_base = {
        row.label: paired(scores[row.label], scores[row.base], ratio=table.ratio) for row in table.rows if row.base
    }
    null = 1.0 if table.ratio else 0.0
    differences = compare_all({label: found for label, found in to_base.items() if found}, null=null)
    return [
        Line(
            label=row.label,
            values=scores[row.label],
            to_base=to_base.get(row.label, {}),
            difference=differences.get(row.label),
            figure=row.figure,
            figure_to_base=_figure_to_base(table, row),
        )
        for row in table.rows
    ]


def beside_paper(
    table: PaperTable,
    lines: Sequence[Line],
    seeds: Sequence[int],
    selection: Selection = BY_MIOU,
    *,
    name: str = "",
    caption: str = "",
) -> Table:
    """Return the table of what came out, the same against the base, and both of the paper.

    Args:
        table: The table of the paper.
        lines: Lines of :func:`compare`; their intervals are those of a family, see
            :mod:`sweeps.estimates.differences`.
        seeds: Seeds of the sweep; with several each has a column of its own.
        selection: What trials are chosen by; the paper has figures of mIoU only.
        name: Name of the table that is made.
        caption: Caption of the table that is made.
    """
    num, replaced = len(seeds), _is_replaced(table, selection)
    metric, digits = (selection.name, selection.digits) if replaced else (table.metric, 2)
    change, spec = ("ratio to base", ".2f") if table.ratio else ("- base", "+.2f")

    def of_seed(seed: int) -> Column[Line]:
        return Column(f"{change}, seed {seed}", lambda line: tables.number(line.to_base.get(seed), spec))

    columns: list[Column[Line]] = [
        Column("row", lambda line: tables.word(line.label), left=True),
        Column(metric, lambda line: tables.figures(mean_std_text(line.values, num, digits=digits))),
        Column(change, lambda line: tables.figures(str(line.difference) if line.difference else words.NOTHING)),
        *(of_seed(seed) for seed in seeds if num > 1),
    ]
    if not replaced and table.number != ENCODERS:
        columns += [
            Column("paper", lambda line: tables.number(line.figure)),
            Column(f"paper {change}", lambda line: tables.number(line.figure_to_base, spec)),
            Column("ours - paper", _less_paper),
        ]
    return Table.of(name, caption, columns, lines)


def _is_replaced(table: PaperTable, selection: Selection) -> bool:
    """Return whether rows are compared by what trials are chosen by in place of the table's own metric."""
    return table.metric.startswith(METRIC) and not selection.needs_labels


def title(table: PaperTable) -> str:
    """Return what stands above a table: its number, if a paper has given it one, and its title."""
    return table.title if table.number == ENCODERS else f"Table {table.number}. {table.title}"


def _figure_to_base(table: PaperTable, row: TableRow) -> float | None:
    theirs = table.row(row.base).figure if row.base is not None else None
    if row.figure is None or theirs is None:
        return None
    return row.figure / theirs if table.ratio else row.figure - theirs


def _less_paper(line: Line) -> Cell:
    mean = Spread.of(list(line.values.values())).mean
    return tables.number(None if line.figure is None else mean - line.figure, "+.2f")


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
