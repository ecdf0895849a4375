"""Which points a search tries that it need not suggest: the known ones, and those that the user wants tried."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.common.words import count

Point = Mapping[str, Any]
"""Values of a trial's parameters by dotted key."""


@dataclass(frozen=True, kw_only=True)
class Agenda:
    """What a search is going to try.

    Attributes:
        points: Points to be begun next, in order, none of which the study has.
        num_trials: Number of trials of the whole search, those of before included.
        notes: Sentences on where that is not what was asked for.
    """

    points: list[dict[str, Any]]
    num_trials: int
    notes: list[str]


def plan(
    begun: Sequence[Point],
    known: Sequence[Point],
    enqueued: Sequence[Point],
    num_trials: int,
    *,
    exhaustive: bool,
) -> Agenda:
    """Return what a search is going to try.

    Each point is tried once, however often it is asked for. The points of the user come behind the first known one, the
    preset's own, and before the others; those that a study has already stay where they are. Where there are fewer
    trials than it takes to come to the last of the user's points, there will be more.

    Args:
        begun: The points that the study has, begun or enqueued, by the trial's number.
        known: Points that need no search, in order.
        enqueued: The points of the user.
        num_trials: The number of trials that is asked for.
        exhaustive: Whether the points are all that there is, as in a grid, so that there are no more trials.
    """
    points = without([*known[:1], *enqueued, *known[1:]], begun)
    order = [_key(point) for point in (*begun, *points)]
    notes = []
    again = [place for point in enqueued if (place := order.index(_key(point))) < len(begun)]
    if again:
        notes.append(f"Of the points of --enqueue the search has {len(again)} already, which it does not try twice.")
    needed = max((order.index(_key(point)) + 1 for point in enqueued), default=0)
    if needed > num_trials:
        notes.append(
            f"There are {count(needed, 'trial')} instead of {num_trials}, so that all points of --enqueue are tried."
        )
    num_trials = max(num_trials, needed)
    if exhaustive and num_trials > len(order):
        notes.append(
            f"There are {count(len(order), 'trial')} instead of {num_trials}, because the grid has no more points, and "
            "each is tried once."
        )
        num_trials = len(order)
    return Agenda(points=points, num_trials=num_trials, notes=notes)


def without(points: Iterable[Point], others: Iterable[Point]) -> list[dict[str, Any]]:
    """Return the points that are not among others, in order and each once."""
    seen = {_key(point) for point in others}
    found = []
    for point in points:
        if _key(point) not in seen:
            seen.add(_key(point))
            found.append(dict(point))
    return found


def _key(point: Point) -> Hashable:
    return frozenset(point.items())
