"""The charts of a report."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sweeps.reporting.data import read
from sweeps.reporting.drawing import charts
from sweeps.results.rows import Row, write_parquet
from tests.helpers.reports import TYPICAL, Make, Write


def test_charts_show_every_curve_and_rung(typical: Path) -> None:
    report = read(typical)
    chart = charts.curves(report, 900)
    assert "rung at iteration 50" in chart and "rung at iteration 75" in chart
    assert chart.count('class="trial"') == 5  # one has died before its first report
    assert re.findall(r'class="name (?:best|base)"[^>]*>([^<]+)', chart) == ["0001 33.46", "base 30.00"]
    assert chart.count('class="cross stopped"') == 2 and chart.count('class="dot ') == 3
    assert len(charts.slices(report)) == 5
    assert charts.parallel(report, 900).count('class="trial"') == 2


def test_charts_of_several_objectives(with_front: Path) -> None:
    report = read(with_front)
    chart = charts.pareto(report, 900)
    assert re.findall("<title>(.+?): mIoU ([0-9.]+) %, seconds ([0-9.]+)", chart) == [
        ("base", "18.00", "4.00"),
        ("0000", "20.00", "10.00"),
        ("0002", "30.00", "90.00"),
        ("0001", "40.00", "30.00"),
    ]
    _, (x, y), _, (best_x, best_y) = re.findall(r'cx="([0-9.]+)" cy="([0-9.]+)"', chart)
    steps = re.search(r'class="line front" d="M([0-9.]+) [0-9.]+V([0-9.]+)H([0-9.]+)V([0-9.]+)H[0-9.]+"', chart)
    assert steps is not None
    assert steps.groups() == (x, y, best_x, best_y), "up at the cheaper trial, over to the dearer one, and up"
    assert float(best_x) > float(x) and float(best_y) < float(y)
    assert 'class="dot front"' in chart and chart.count('class="dot other"') == 1
    assert charts.parallel(report, 900).count('class="trial"') == 3


@pytest.mark.slow
def test_brackets_and_children_are_shown(make: Make, write: Write) -> None:
    page = write(make(TYPICAL, {0: [10, 20, 29, 30]}, brackets=2)).page
    for title in ("rung at iteration 50 of bracket 1", "rung at iteration 75 of brackets 1 to 2", "asha in 2 brackets"):
        assert title in page.words
    folder = make(TYPICAL, {0: [10, 20, 29, 30]}, scheduler="pbt", population=3, name="pbt")
    rows = pq.read_table(folder / "results.parquet").to_pylist()
    child = next(row for row in rows if row["trial"] == "0001")
    child.update(parent="0000", parent_iteration=50, parent_seconds=5.0)
    write_parquet([Row.from_columns(row) for row in rows], folder / "results.parquet")
    page = write(folder).page
    assert "pbt with a population of 3" in page.words and "rung at iteration 75" in page.words
    head, *body = page.tables["table-ranking"]
    assert {line[1]: line[head.index("child of")] for line in body}["0001"] == "0000 from 50"
    assert "# This run was forked from iteration 50 of trial 0000" in page.words
    saved = next(line for line in page.tables["table-cost"] if line[0] == "saved by children")
    assert saved[1:3] == ["0:10", "10"] and saved[-1] == "50"


def test_nothing_is_drawn_of_nothing(make: Make) -> None:
    report = read(make())
    assert charts.curves(report, 900) == charts.pareto(report, 900) == charts.parallel(report, 900) == ""
    assert charts.slices(report) == []
