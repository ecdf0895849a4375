"""The top of a report: its headline and its four numbers."""

from __future__ import annotations

from pathlib import Path

from sweeps.reporting.data import read
from sweeps.reporting.webpage.header import header, headline
from tests.helpers.reports import COMPLETE, MINUS, TYPICAL, Make, Page


def test_headline_compares_the_best_with_the_base(typical: Path) -> None:
    assert headline(read(typical)) == (
        "The best trial of the search is 0001, with mIoU 33.46 %: +3.46 points against the base, the same training "
        "without contrast (30.00 %)."
    )


def test_headline_of_a_sweep_that_has_not_come_so_far(make: Make) -> None:
    assert headline(read(make())) == "No trial has been started yet."
    assert headline(read(make(TYPICAL[2:3], name="pruned"))) == "No trial of the search is complete yet."
    assert "There is no single complete base" in headline(read(make(TYPICAL[:1], name="no base")))
    rows = [(COMPLETE, {0: [1, 30.0 + k]}, "") for k in range(5)]
    assert headline(read(make(rows, table=(12,), name="table"))).startswith("The best trial is 0004, with mIoU 34.00 %")
    worse = read(make([(COMPLETE, {0: [1, 29.0]}, "")], {0: [1, 30.0]}, name="worse"))
    assert f"{MINUS}1.00 points" in headline(worse)


def test_numbers_at_the_top(typical: Path) -> None:
    words = Page(header(read(typical))).words
    assert "33.46 %best mIoU, 0001" in words and "+3.46against the base, 30.00 %" in words
    assert "5 of 5trials: 2 complete, 1 pruned, 2 failed" in words
    assert "Preset streets, 100 iterations, seed 0, 2 workers per trial; search tpe, scheduler asha." in words
    assert "worker-time, " in words and " wasted" in words
