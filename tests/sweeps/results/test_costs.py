"""What a sweep has cost, against sums made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from sweeps.results import costs

Row = dict[str, Any]


def run(trial: str, outcome: str, iterations: int, *, pace: float = 0.1, **columns: Any) -> Row:
    """A run of 100 iterations that came to `iterations`, of `pace` seconds each."""
    point = trial.partition("-")[0]
    return {
        "trial": trial, "point": point, "outcome": outcome, "status": outcome, "iterations": iterations,
        "seconds": iterations * pace, **columns,
    }


def of_warm_up(name: str) -> dict[str, Any]:
    """It is 20 iterations long, and took 3 s."""
    return {"warm_up": name, "warm_up_iterations": 20, "warm_up_seconds": 3.0}


def child_of(parent: str, iteration: int) -> dict[str, Any]:
    return {"parent": parent, "parent_iteration": iteration, "parent_seconds": iteration / 10}


def cost(rows: list[Row], num_seeds: int = 1) -> tuple[costs.Cost, costs.Cost]:
    return tuple(f(rows, lambda row: 100, num_seeds) for f in (costs.in_iterations, costs.in_seconds))


def test_nothing_costs_nothing() -> None:
    for found in cost([]):
        assert found == (0, 0, 0, 0, 0) and (found.saved, found.wasted_share, found.total) == (0, 0, 0)


def test_what_is_pruned_or_fails_is_wasted_and_what_runs_is_not() -> None:
    rows = [run("base", "complete", 100), run("0000", "pruned", 25, pace=0.2), run("0001", "failed", 15)]
    rows += [run("0002", "interrupted", 60), rows[0]]  # a run of several tables has several rows
    iterations, seconds = cost(rows)
    assert iterations == (200, 0, 0, 75, 40) and iterations.wasted_share == 0.2
    assert iterations.total == 275 and iterations.saved == pytest.approx(75 / 275)
    assert seconds == pytest.approx((10 + 5 + 1.5 + 6, 0, 0, 75 * 0.2, 5 + 1.5))


def test_a_warm_up_counts_once_and_is_wasted_only_if_nobody_comes_to_the_end() -> None:
    rows = [
        run("base", "complete", 100, **of_warm_up("a")), run("0000", "pruned", 30, **of_warm_up("a")),
        run("0001", "failed", 50, **of_warm_up("b")),
    ]
    iterations, seconds = cost(rows)
    assert iterations == (80 + 10 + 30 + 40, 20, 0, 70, 10 + 30 + 20)
    assert seconds == pytest.approx((10 + 3 + 5 - 9 + 6, 3, 0, 7, 0 + 2 + 3))


def test_seeds_of_a_trial_that_is_outpaced_are_wasted_though_complete() -> None:
    rows = [run("0000-s0", "complete", 100), run("0000-s1", "complete", 100)]
    outpaced = {**run("0001-s0", "pruned", 100), "status": "complete"}
    iterations, seconds = cost([*rows, outpaced], num_seeds=2)
    assert iterations == (300, 0, 0, 100, 100)
    assert seconds == pytest.approx((30, 0, 0, 10, 10))


def test_what_a_complete_child_goes_on_from_is_not_wasted() -> None:
    rows = [
        run("0000", "pruned", 60, **of_warm_up("a")), run("0001", "pruned", 40, **of_warm_up("a")),
        run("0002", "pruned", 80, **child_of("0000", 40)), run("0003", "complete", 100, **child_of("0002", 60)),
    ]
    iterations, _ = cost(rows)
    # 0000 has served until 40 and 0002 until 60; of the warm-up, 40 + 20 + 40 + 40 + 20 were trained.
    assert iterations == (20 + 40 + 20 + 40 + 40, 20, 100, 40 + 60 + 20, 20 + 20 + 20)
    alone = [{**row, "outcome": "pruned"} for row in rows]
    assert cost(alone)[0].wasted == cost(alone)[0].used == 160


def test_summary_is_one_line() -> None:
    iterations, seconds = cost([run("0000", "complete", 100), run("0001", "pruned", 50)])
    assert costs.summary(iterations, seconds, 2) == (
        "computed 150 iterations in 0:30 of worker-time; wasted on trials that did not end complete 33 % of the "
        "iterations, 33 % of the time; training all to the end takes 200 iterations, 25 % saved"
    )
    assert costs.as_dict(iterations, seconds, 2)["worker_seconds"] == {
        "used": 30, "warm_up": 0, "inherited": 0, "pruning": 10, "wasted": 10, "total": 40
    }
