"""Scores over seeds, compared with a base seed by seed, and set beside the paper's figures."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.definition.paper_tables import Table, TableRow

Values = Mapping[int, float]
"""Seed -> score."""


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation (divided by n - 1) of n numbers; NaN where n is too small for one."""

    mean: float
    std: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """That of these numbers."""
        mean = statistics.fmean(values) if values else math.nan
        return cls(mean, statistics.stdev(values) if len(values) > 1 else math.nan, len(values))


def paired(values: Values, base: Values, *, ratio: bool = False) -> dict[int, float]:
    """Differences, or quotients, of the seeds that both have: what a seed does to both then falls out."""
    both = sorted(values.keys() & base.keys())
    return {seed: values[seed] / base[seed] if ratio else values[seed] - base[seed] for seed in both}


@dataclass(frozen=True, kw_only=True)
class Line:
    """A row of a table as it came out, and as the paper has it."""

    label: str
    values: Values
    to_base: Values
    """:func:`paired` with the base's; empty for a base."""
    figure: float | None
    figure_to_base: float | None
    """The same of the paper's figures."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON; None where there is no number."""
        ours, difference = Spread.of(list(self.values.values())), Spread.of(list(self.to_base.values()))
        return {
            "row": self.label,
            "mean": _plain(ours.mean),
            "std": _plain(ours.std),
            "seeds": {str(seed): value for seed, value in self.values.items()},
            "to_base": _plain(difference.mean),
            "to_base_std": _plain(difference.std),
            "to_base_seeds": {str(seed): value for seed, value in self.to_base.items()},
            "paper": self.figure,
            "paper_to_base": self.figure_to_base,
        }


def compare(table: Table, rows: Sequence[Mapping[str, Any]]) -> list[Line]:
    """A line for each row of `table`.

    Args:
        table: of :mod:`sweeps.definition.paper_tables`.
        rows: of results.parquet, those of other tables included; incomplete ones are not counted.
    """
    scores: dict[str, dict[int, float]] = {row.label: {} for row in table.rows}
    for run in rows:
        value = run.get(table.metric)
        counts = run["status"] == "complete" and value is not None
        if counts and run.get("table") == table.number and run["row"] in scores:
            scores[run["row"]][run["seed"]] = value
    return [_line(table, row, scores) for row in table.rows]


def _line(table: Table, row: TableRow, scores: Mapping[str, Values]) -> Line:
    figure_to_base, to_base = None, {}
    if row.base is not None:
        to_base = paired(scores[row.label], scores[row.base], ratio=table.ratio)
        theirs = table.row(row.base).figure
        if row.figure is not None and theirs is not None:
            figure_to_base = row.figure / theirs if table.ratio else row.figure - theirs
    return Line(
        label=row.label,
        values=scores[row.label],
        to_base=to_base,
        figure=row.figure,
        figure_to_base=figure_to_base,
    )


def cells(table: Table, lines: Sequence[Line], seeds: Sequence[int]) -> list[list[str]]:
    """The table as text, its head first: what came out, the same less the base, and both of the paper."""
    change = "ratio to base" if table.ratio else "- base"
    each = [f"{change}, seed {seed}" for seed in seeds] if len(seeds) > 1 else []
    head = ["row", table.metric, change, *each, "paper", f"paper {change}", "ours - paper"]
    body = []
    for line in lines:
        ours = Spread.of(list(line.values.values()))
        body.append(
            [
                line.label,
                spread(line.values, len(seeds)),
                spread(line.to_base, len(seeds), signed=not table.ratio),
                *(number(line.to_base.get(seed), signed=not table.ratio) for seed in seeds if each),
                number(line.figure),
                number(line.figure_to_base, signed=not table.ratio),
                number(None if line.figure is None else ours.mean - line.figure, signed=True),
            ]
        )
    return [head, *body]


def number(value: float | None, *, signed: bool = False) -> str:
    """With two decimals, or "-"."""
    return "-" if value is None or math.isnan(value) else format(value, "+.2f" if signed else ".2f")


def spread(values: Values, num_seeds: int, *, signed: bool = False) -> str:
    """Mean ± standard deviation; how many there are, where not all seeds are."""
    found = Spread.of(list(values.values()))
    text = number(found.mean, signed=signed)
    if found.n > 1:
        text += f" ± {found.std:.2f}"
    return f"{text} ({found.n} of {num_seeds})" if 0 < found.n < num_seeds else text


def title(table: Table) -> str:
    """What stands above a table."""
    return f"Table {table.number}. {table.title}"


def as_text(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """Columns of equal width below a head, flush right but for those in `left`."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True)))
        return "  ".join(padded).rstrip()

    return "\n".join(map(line, [rows[0], ["-" * width for width in widths], *rows[1:]]))


def as_markdown(rows: Sequence[Sequence[str]]) -> str:
    """The same as a table of Markdown."""
    rule = ["---", *["---:"] * (len(rows[0]) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [rows[0], rule, *rows[1:]])


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
