"""Means, paired differences and what stands beside them, by hand."""

from __future__ import annotations

import math

import pytest

from sweeps.results import comparison
from sweeps.definition.paper_tables import Table, TableRow

TABLE = Table(
    number=12,
    title="Rank",
    rows=(
        TableRow(label="base", figure=68.3, base=None),
        TableRow(label="4", figure=71.8, base="base"),
        TableRow(label="5", figure=None, base="base"),
    ),
)


def run(row: str, seed: int, value: float, **others: object) -> dict[str, object]:
    return {"table": 12, "row": row, "seed": seed, "mIoU": value, "status": "complete", **others}


RUNS = [
    run("base", 0, 30.0), run("base", 1, 34.0), run("base", 2, 32.0),
    run("4", 0, 31.0), run("4", 1, 37.0), run("4", 2, 99.0, status="failed"),
    run("5", 1, 33.0), run("5", 1, 0.0, table=11), run("other", 0, 1.0),
]


def test_differences_are_taken_seed_by_seed() -> None:
    base, four, five = comparison.compare(TABLE, RUNS)
    assert base.values == {0: 30.0, 1: 34.0, 2: 32.0} and base.to_base == {}
    assert four.to_base == {0: 1.0, 1: 3.0}
    assert five.to_base == {1: -1.0}
    assert four.figure_to_base == pytest.approx(3.5) and five.figure_to_base is None


def test_mean_and_sample_deviation() -> None:
    found = comparison.Spread.of([30.0, 34.0, 32.0])
    assert (found.mean, found.std, found.n) == (32.0, 2.0, 3)
    assert math.isnan(comparison.Spread.of([3.0]).std) and math.isnan(comparison.Spread.of([]).mean)


def test_cells() -> None:
    head, base, four, five = comparison.cells(TABLE, comparison.compare(TABLE, RUNS), [0, 1, 2])
    assert head == [
        "row", "mIoU", "- base", "- base, seed 0", "- base, seed 1", "- base, seed 2", "paper", "paper - base",
        "ours - paper",
    ]
    assert base == ["base", "32.00 ± 2.00", "-", "-", "-", "-", "68.30", "-", "-36.30"]
    assert four == [
        "4", "34.00 ± 4.24 (2 of 3)", "+2.00 ± 1.41 (2 of 3)", "+1.00", "+3.00", "-", "71.80", "+3.50", "-37.80",
    ]
    assert five == ["5", "33.00 (1 of 3)", "-1.00 (1 of 3)", "-", "-1.00", "-", "-", "-", "-"]


def test_one_seed_has_no_columns_of_its_own() -> None:
    lines = comparison.compare(TABLE, [run("base", 0, 30.0), run("4", 0, 31.0)])
    head, _, four, _ = comparison.cells(TABLE, lines, [0])
    assert head == ["row", "mIoU", "- base", "paper", "paper - base", "ours - paper"]
    assert four == ["4", "31.00", "+1.00", "71.80", "+3.50", "-40.80"]


def test_speeds_are_compared_by_ratio() -> None:
    table = Table(number=12, title="", rows=TABLE.rows, ratio=True)
    four = comparison.compare(table, [run("base", 0, 8.0), run("4", 0, 6.0)])[1]
    assert four.to_base == {0: 0.75} and four.figure_to_base == pytest.approx(71.8 / 68.3)


def test_text_and_markdown() -> None:
    rows = [["row", "mIoU"], ["base", "3.00"], ["4", "13.00"]]
    assert comparison.as_text(rows) == "row    mIoU\n----  -----\nbase   3.00\n4     13.00"
    assert comparison.as_markdown(rows) == "| row | mIoU |\n| --- | ---: |\n| base | 3.00 |\n| 4 | 13.00 |"


def test_json_has_no_nan() -> None:
    line = comparison.compare(TABLE, [run("4", 0, 31.0)])[1].as_dict()
    assert line["mean"] == 31.0 and line["std"] is None and line["to_base"] is None
    assert line["paper_to_base"] == pytest.approx(3.5)
