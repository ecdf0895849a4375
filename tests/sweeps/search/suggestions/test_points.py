"""The order in which points are tried, each once, and how many trials that makes."""

from __future__ import annotations

from typing import Any

import pytest

from sweeps.search.suggestions.points import Agenda, plan, without

A, B, C, D = ({"x": value} for value in "abcd")


def agenda(
    begun: list[Any], known: list[Any], enqueued: list[Any], num_trials: int, exhaustive: bool = False
) -> Agenda:
    return plan(begun, known, enqueued, num_trials, exhaustive=exhaustive)


def test_the_users_points_come_behind_the_presets_own() -> None:
    found = agenda([], [A, B], [D, C], 4)
    assert found == Agenda(points=[A, D, C, B], num_trials=4, notes=[])


def test_a_point_is_tried_once() -> None:
    assert without([A, B, A, C], [B]) == [A, C]
    assert without([{"x": 1, "y": 2}], [{"y": 2, "x": 1}]) == []
    found = agenda([A, B], [A], [B, C, C], 9)
    assert found.points == [C] and found.num_trials == 9
    assert found.notes == ["Of the points of --enqueue the search has 1 already, which it does not try twice."]


@pytest.mark.parametrize(
    ("begun", "enqueued", "num_trials", "expected"),
    [
        ([], [B, C], 3, 3),
        ([], [B, C], 2, 3),
        ([A, D], [B], 2, 3),
        # It waits since an earlier driver, whose --trials did not reach it.
        ([A, B, C], [C], 2, 3),
        ([A, B, C], [], 2, 2),
    ],
)
def test_trials_are_raised_to_the_users_points(
    begun: list[Any], enqueued: list[Any], num_trials: int, expected: int
) -> None:
    found = agenda(begun, [A], enqueued, num_trials)
    assert found.num_trials == expected
    raised = f"There are {expected} trials instead of {num_trials}, so that all points of --enqueue are tried."
    assert (raised in found.notes) == (expected > num_trials)


def test_a_grid_has_no_more_trials_than_points() -> None:
    found = agenda([], [A, B, C], [], 40, exhaustive=True)
    assert (found.points, found.num_trials) == ([A, B, C], 3)
    assert found.notes == [
        "There are 3 trials instead of 40, because the grid has no more points, and each is tried once."
    ]
    assert agenda([A, B, C], [A, B, C], [], 3, exhaustive=True) == Agenda(points=[], num_trials=3, notes=[])
    assert agenda([A], [A, B, C], [], 2, exhaustive=True) == Agenda(points=[B, C], num_trials=2, notes=[])
    beside = agenda([A, B, C], [A, B, C], [D], 3, exhaustive=True)
    assert (beside.points, beside.num_trials) == ([D], 4), "a point of the user's beside the grid is one more"
    on_it = agenda([], [A, B, C], [C], 3, exhaustive=True)
    assert on_it == Agenda(points=[A, C, B], num_trials=3, notes=[])
