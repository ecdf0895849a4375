"""The top of a report: its headline and its four numbers."""

from __future__ import annotations

from pathlib import Path

from sweeps.reporting.data import read
from sweeps.reporting.webpage.header import header
from tests.helpers.reports import TYPICAL, Make, Page, confirm


def test_the_top_claims_no_effect_without_a_confirmation(typical: Path) -> None:
    words = Page(header(read(typical))).words
    assert "3 trials, 1 of them stopped early, 1 seed: 0001 has the highest mIoU, 33.46 %." in words
    assert "--resume 'a sweep <b>ä'" in words and "--confirm 2 --seeds 1,2,3" in words
    assert "not confirmedagainst the base, 30.00 %" in words and "3.46 " not in words.replace("33.46", "")


def test_the_top_has_the_difference_of_the_confirmation(make: Make) -> None:
    folder = make(TYPICAL, {0: [10, 20, 29, 30.0]})
    confirm(folder, {"base": {3: 30.0, 4: 31.0, 5: 32.0}, "0001": {3: 33.0, 4: 34.1, 5: 34.9}})
    words = Page(header(read(folder))).words
    assert "trial 0001 lies 3.00 points above the base" in words
    assert "+3.00points against the base in the confirmation, 0001, 95 % interval +2.75 to +3.25" in words
    assert "no effect" not in words


def test_the_top_says_that_a_confirmation_shows_none(make: Make) -> None:
    folder = make(TYPICAL, {0: [10, 20, 29, 30.0]})
    confirm(folder, {"base": {3: 30.0, 4: 31.0}, "0001": {3: 29.0, 4: 32.0}})
    words = Page(header(read(folder))).words
    assert "No effect was confirmed: the one trial trained anew" in words and ": no effect" in words


def test_numbers_at_the_top(typical: Path) -> None:
    words = Page(header(read(typical))).words
    assert "33.46 %highest mIoU, 0001" in words
    assert "5 of 5trials: 2 complete, 1 pruned, 2 failed" in words
    assert "Preset streets, 100 iterations, seed 0, 2 workers per trial; search tpe, scheduler asha." in words
    assert "worker-time, " in words and " % in trials that were stopped early or failed" in words
