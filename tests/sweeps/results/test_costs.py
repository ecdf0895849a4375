"""What a sweep has cost, against sums made by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from sweeps.common.names import Kind, Status
from sweeps.results import costs
from sweeps.results.forks import TrunkFork
from sweeps.results.rows import Parent, Row


def run(label: str, outcome: str, iterations: int, *, pace: float = 0.1, **others: Any) -> Row:
    """A run of 100 iterations that came to `iterations`, of `pace` seconds each."""
    return Row(
        label=label,
        trial=label.partition("-")[0],
        kind=Kind.SEARCH,
        status=Status(others.pop("status", outcome)),
        outcome=Status(outcome),
        iterations=iterations,
        seconds=iterations * pace,
        **others,
    )


def of_trunk(name: str) -> dict[str, Any]:
    """It is 20 iterations long, and took 3 s."""
    return {"trunk": TrunkFork(trunk=name, iterations=20, seconds=3.0)}


def child_of(parent: str, iteration: int) -> dict[str, Any]:
    return {"parent": Parent(label=parent, iteration=iteration, seconds=iteration / 10)}


def cost(rows: list[Row], num_seeds: int = 1) -> tuple[costs.Cost, costs.Cost]:
    return costs.in_iterations(rows, lambda row: 100, num_seeds), costs.in_seconds(rows, lambda row: 100, num_seeds)


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


def test_a_trunk_counts_once_and_is_wasted_only_if_nobody_comes_to_the_end() -> None:
    rows = [
        run("base", "complete", 100, **of_trunk("a")),
        run("0000", "pruned", 30, **of_trunk("a")),
        run("0001", "failed", 50, **of_trunk("b")),
    ]
    iterations, seconds = cost(rows)
    assert iterations == (80 + 10 + 30 + 40, 20, 0, 70, 10 + 30 + 20)
    assert seconds == pytest.approx((10 + 3 + 5 - 9 + 6, 3, 0, 7, 0 + 2 + 3))


def test_seeds_of_a_trial_that_is_outpaced_are_wasted_though_complete() -> None:
    rows = [run("0000-s0", "complete", 100), run("0000-s1", "complete", 100)]
    outpaced = run("0001-s0", "pruned", 100, status="complete")
    iterations, seconds = cost([*rows, outpaced], num_seeds=2)
    assert iterations == (300, 0, 0, 100, 100)
    assert seconds == pytest.approx((30, 0, 0, 10, 10))


def test_what_a_complete_child_goes_on_from_is_not_wasted() -> None:
    rows = [
        run("0000", "pruned", 60, **of_trunk("a")),
        run("0001", "pruned", 40, **of_trunk("a")),
        run("0002", "pruned", 80, **child_of("0000", 40)),
        run("0003", "complete", 100, **child_of("0002", 60)),
    ]
    iterations, _ = cost(rows)
    # 0000 has served until 40 and 0002 until 60; of the trunk, 40 + 20 + 40 + 40 + 20 were trained.
    assert iterations == (20 + 40 + 20 + 40 + 40, 20, 100, 40 + 60 + 20, 20 + 20 + 20)
    alone = [dataclasses.replace(row, outcome=Status.PRUNED) for row in rows]
    assert cost(alone)[0].wasted == cost(alone)[0].used == 160


def test_a_complete_parent_has_served_itself_whatever_its_children_took() -> None:
    rows = [run("0000", "complete", 100), run("0001", "complete", 100, **child_of("0000", 40))]
    assert cost(rows)[0].wasted == cost(rows[::-1])[0].wasted == 0


def told(rows: list[Row], workers: int = 1) -> str:
    return costs.summary(*cost(rows), workers, [row.outcome for row in rows])


def test_costs_as_plain_data() -> None:
    found = costs.as_dict(*cost([run("0000", "complete", 100), run("0001", "pruned", 50)]), 2)
    assert found["worker_seconds"] == {
        "used": 30,
        "warm_up": 0,
        "inherited": 0,
        "pruning": 10,
        "wasted": 10,
        "total": 40,
    }
    assert list(found) == ["iterations", "worker_seconds"]


def test_summary_of_what_was_wasted_and_saved() -> None:
    assert told([run("0000", "complete", 1200), run("0001", "pruned", 50, pace=0.2)], workers=2) == (
        "The sweep trained 1,250 iterations (4:20 of worker-time, which is the training time of all processes "
        "together).\n4 % of the iterations (8 % of the time) went into trials that were stopped early or failed.\n"
        "Training every trial from its start to its end would have taken 1,300 iterations; 4 % was saved by stopping "
        "trials early."
    )
    of_all = [
        run("0000", "pruned", 60, **of_trunk("a")),
        run("0001", "complete", 100, **of_trunk("a")),
        run("0002", "complete", 100, **child_of("0000", 40)),
    ]
    assert told(of_all).endswith(
        "saved by training the trunk, the part before the contrast starts, once for all trials, by starting trials "
        "from the checkpoints of others and by stopping trials early."
    )


def test_summary_where_there_is_nothing_to_say_of_a_part() -> None:
    assert told([]) == "The sweep has trained nothing."
    whole = told([run("0000", "complete", 1)])
    assert whole.startswith("The sweep trained 1 iteration (0:00 of worker-time")
    assert "Every trial was trained to its end.\nNo iterations were shared" in whole and "0 %" not in whole
    running = told([run("0000", "interrupted", 50)])
    assert "to its end" not in running and "failed" not in running
    failed_at_once = told([run("0000", "complete", 100), run("0001", "failed", 0)])
    assert "Every trial was trained to its end" not in failed_at_once
