"""Means, paired differences and what stands beside them, by hand."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import pytest

from sweeps.common.names import Kind, Status
from sweeps.definition.paper_tables import Table, TableRow
from sweeps.definition.selection import Selection
from sweeps.findings import comparison
from sweeps.results.rows import PaperRow, Row

TABLE = Table(
    number=12,
    title="Rank",
    rows=(
        TableRow(label="base", figure=68.3, base=None),
        TableRow(label="4", figure=71.8, base="base"),
        TableRow(label="5", figure=None, base="base"),
    ),
)


def run(row: str, seed: int, value: float, *, table: int = 12, status: str = "complete", **others: Any) -> Row:
    return Row(
        label=f"0000-s{seed}",
        trial="0000",
        kind=Kind.SEARCH,
        status=Status(status),
        outcome=Status(status),
        seed=seed,
        score=value,
        paper=PaperRow(table=table, row=row),
        **others,
    )


def cells(table: Table, runs: Sequence[Row], seeds: Sequence[int]) -> list[list[str]]:
    """Its head and its cells as plain text."""
    found = comparison.beside_paper(table, comparison.compare(table, runs), seeds)
    return [list(found.head), *([cell.text for cell in row] for row in found.rows)]


RUNS = [
    run("base", 0, 30.0),
    run("base", 1, 34.0),
    run("base", 2, 32.0),
    run("4", 0, 31.0),
    run("4", 1, 37.0),
    run("4", 2, 99.0, status="failed"),
    run("5", 1, 33.0),
    run("5", 1, 0.0, table=11),
    run("other", 0, 1.0),
]


def test_differences_are_taken_seed_by_seed() -> None:
    base, four, five = comparison.compare(TABLE, RUNS)
    assert base.values == {0: 30.0, 1: 34.0, 2: 32.0} and base.to_base == {}
    assert four.to_base == {0: 1.0, 1: 3.0}
    assert five.to_base == {1: -1.0}
    assert four.figure_to_base == pytest.approx(3.5) and five.figure_to_base is None


def test_cells() -> None:
    head, base, four, five = cells(TABLE, RUNS, [0, 1, 2])
    assert head == [
        "row",
        "mIoU",
        "- base",
        "- base, seed 0",
        "- base, seed 1",
        "- base, seed 2",
        "paper",
        "paper - base",
        "ours - paper",
    ]
    assert base == ["base", "32.00 ± 2.00", "-", "-", "-", "-", "68.30", "-", "-36.30"]
    assert four == [
        "4",
        "34.00 ± 4.24 (2 of 3)",
        "+2.00 ± 1.41 [-23.45, +27.45] (n=2)",
        "+1.00",
        "+3.00",
        "-",
        "71.80",
        "+3.50",
        "-37.80",
    ]
    assert five == ["5", "33.00 (1 of 3)", "-1.00 (n=1)", "-", "-1.00", "-", "-", "-", "-"]


def test_one_seed_has_no_columns_of_its_own() -> None:
    head, _, four, _ = cells(TABLE, [run("base", 0, 30.0), run("4", 0, 31.0)], [0])
    assert head == ["row", "mIoU", "- base", "paper", "paper - base", "ours - paper"]
    assert four == ["4", "31.00", "+1.00 (n=1)", "71.80", "+3.50", "-40.80"]


def test_speeds_are_compared_by_ratio() -> None:
    table = Table(number=12, title="", rows=TABLE.rows, ratio=True)
    four = comparison.compare(table, [run("base", 0, 8.0), run("4", 0, 6.0)])[1]
    assert four.to_base == {0: 0.75} and four.figure_to_base == pytest.approx(71.8 / 68.3)
    head, _, line, _ = cells(table, [run("base", 0, 8.0), run("4", 0, 6.0)], [0])
    assert head[2:5] == ["ratio to base", "paper", "paper ratio to base"] and line[2:5] == [
        "0.75 (n=1)",
        "71.80",
        "1.05",
    ]


def test_metrics_other_than_the_score_are_compared() -> None:
    table = Table(number=12, title="", rows=TABLE.rows, metric="mIoU16")
    four = comparison.compare(table, [run("4", 0, 8.0, metrics={"mIoU16": 6.0}), run("4", 1, 8.0)])[1]
    assert four.values == {0: 6.0}


def test_without_labels_rows_are_compared_by_what_trials_are_chosen_by() -> None:
    def measured(row: str, seed: int, snd: float) -> Row:
        return dataclasses.replace(
            run(row, seed, 0.0, metrics={"criteria/snd": snd}), label=f"{row}-{seed}", score=None
        )

    runs = [measured("base", 0, 3.25), measured("4", 0, 3.5)]
    snd = Selection.parse("snd")
    four = comparison.compare(TABLE, runs, snd)[1]
    assert four.values == {0: 3.5} and four.to_base == {0: 0.25}
    found = comparison.beside_paper(TABLE, comparison.compare(TABLE, runs, snd), [0], snd)
    assert list(found.head) == ["row", "snd", "- base"], "the paper has no figures of it"
    assert [cell.text for cell in found.rows[1]][:2] == ["4", "3.5000"]
    speed = Table(number=5, title="", rows=TABLE.rows, metric="images_per_second")
    assert "images_per_second" in comparison.beside_paper(speed, comparison.compare(speed, runs, snd), [0], snd).head


def test_table_is_typeset_under_its_title() -> None:
    lines = comparison.compare(TABLE, RUNS)
    found = comparison.beside_paper(TABLE, lines, [0], name="paper-0-12", caption=comparison.title(TABLE))
    assert (found.name, found.caption) == ("paper-0-12", "Table 12. Rank")
    assert list(found.left) == [True, *[False] * 5] and found.typeset_head[2] == "\u2212 base"


def test_json_has_no_nan() -> None:
    line = comparison.compare(TABLE, [run("4", 0, 31.0)])[1].as_dict()
    assert line["mean"] == 31.0 and line["std"] is None and line["to_base"] is None
    assert line["paper_to_base"] == pytest.approx(3.5) and line["to_base_n"] == 0
    assert line["to_base_interval"] is None and line["to_base_p"] is None
    line = comparison.compare(TABLE, RUNS)[1].as_dict()
    assert line["to_base_n"] == 2 and line["to_base_interval"] == pytest.approx([-23.45, 27.45], abs=0.01)
    assert line["to_base_p"] == pytest.approx(2 * (1 - 2 / math.pi * math.atan(2)))  # Holm of two


def test_rows_of_a_table_are_one_family() -> None:
    _, four, five = comparison.compare(TABLE, RUNS)
    assert four.difference is not None and five.difference is not None
    assert (four.difference.family, four.difference.spread.n, five.difference.spread.n) == (2, 2, 1)
    assert four.difference.adjusted != four.difference.interval and five.difference.adjusted is None
