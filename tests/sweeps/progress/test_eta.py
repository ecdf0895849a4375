"""How long a sweep will take, computed by hand."""

from __future__ import annotations

import pytest

from sweeps.progress.eta import RunProgress, time_left


def progress(
    trial: str, iteration: int, *, began: float, seen: float, ended: bool = False, given: int = 0
) -> RunProgress:
    return RunProgress(
        trial=trial, iterations=100, iteration=iteration, given=given, began=began, seen=seen, ended=ended
    )


def left(*runs: RunProgress, now: float, to_begin: int = 0, num_seeds: int = 1, slots: int = 1) -> float | None:
    finished = {run.trial for run in runs if run.ended}
    return time_left(runs, now=now, finished=finished, to_begin=to_begin, num_seeds=num_seeds, slots=slots)


def test_unknown_before_the_first_report() -> None:
    assert left(now=5.0, to_begin=3) is None
    assert left(progress("0", 0, began=0, seen=0), now=5.0) is None
    # What the trunk has given costs no time, so it says nothing about the speed.
    assert left(progress("0", 40, began=0, seen=5, given=40), now=5.0) is None


def test_what_remains_at_the_speed_so_far() -> None:
    # 20 iterations in 10 s; 80 of this run and 200 of two more are left.
    assert left(progress("0", 20, began=0, seen=10), now=10.0, to_begin=2) == pytest.approx(280 / 2)
    # Since the report another 3 s have passed, in which 6 iterations were done.
    assert left(progress("0", 20, began=0, seen=10), now=13.0) == pytest.approx(74 / 2)


def test_runs_side_by_side_share_the_work_but_the_last_is_no_faster() -> None:
    both = progress("0", 50, began=0, seen=10), progress("1", 50, began=0, seen=10)
    assert left(*both, now=10.0, to_begin=2, slots=2) == pytest.approx((50 + 50 + 200) / 2 / 5)
    assert left(*both[:1], now=10.0, slots=2) == pytest.approx(50 / 5)


def test_new_trials_are_pruned_as_often_as_those_before() -> None:
    runs = [progress("0", 100, began=0, seen=20, ended=True), progress("1", 20, began=20, seen=24, ended=True)]
    assert left(*runs, now=24.0, to_begin=3) == pytest.approx(3 * 60 / 5)
    # A run that has come farther than the pruned one goes on to the end.
    assert left(*runs, progress("2", 40, began=24, seen=32), now=32.0) == pytest.approx(60 / 5)
    assert left(*runs, progress("2", 10, began=24, seen=26), now=26.0) == pytest.approx((60 - 10) / 5)


def test_iterations_of_the_trunk_are_not_to_be_done_again() -> None:
    forked = progress("0", 100, began=0, seen=10, given=40, ended=True)  # 60 in 10 s
    assert left(forked, now=10.0, to_begin=2) == pytest.approx(2 * 60 / 6)


def test_seeds_to_come_and_those_that_trials_are_spared() -> None:
    first = progress("0", 100, began=0, seen=20, ended=True)  # 5 a second
    going = {"now": 20.0, "num_seeds": 3, "slots": 1}
    assert time_left([first], finished=(), to_begin=1, **going) == pytest.approx((2 + 3) * 100 / 5)
    assert time_left([first], finished={"0"}, to_begin=1, **going) == pytest.approx(100 / 5)


def test_nothing_is_left() -> None:
    assert left(progress("0", 100, began=0, seen=20, ended=True), now=30.0) == 0
