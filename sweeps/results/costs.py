"""What a sweep has computed, how much of that was in vain, and what it was spared; from rows of results.parquet.

A run's own iterations are those that no other run has trained: neither its warm-up nor, with population based training,
its parent until the fork. The sum of the own iterations and of every warm-up, once, is what was computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sweeps.progress.plain import duration

Row = dict[str, Any]
_IN_VAIN = ("pruned", "failed")


class Cost(NamedTuple):
    """In iterations, or in seconds of training.

    Attributes:
        used: by all runs, as far as they came, with what they share counted once.
        warm_up: that runs which went on from a warm-up would have used for the same iterations.
        inherited: that runs which went on from a parent would have used for the same iterations.
        pruning: that trials which were pruned would have used beyond, each at its own pace.
        wasted: part of `used` that led to no complete trial: of trials that were pruned, replaced or outpaced by others
            or failed, but for what a child that was not has gone on from. Trials that run are not counted.
    """

    used: float
    warm_up: float
    inherited: float
    pruning: float
    wasted: float

    @property
    def total(self) -> float:
        """What it would have cost to train every trial from its start to its end."""
        return self.used + self.warm_up + self.inherited + self.pruning

    @property
    def saved(self) -> float:
        """Share of it that was saved, 0..1."""
        return 1 - self.used / self.total if self.total else 0.0

    @property
    def wasted_share(self) -> float:
        """Share of what was used, 0..1."""
        return self.wasted / self.used if self.used else 0.0

    def times(self, factor: float) -> Cost:
        """Seconds of training times the processes of a run are worker-seconds."""
        return Cost(*(factor * value for value in self))


def in_iterations(rows: Sequence[Row], planned: Callable[[Row], int], num_seeds: int) -> Cost:
    """The cost in iterations.

    Args:
        rows: of :func:`sweeps.results.rows.collect`; rows that repeat a run count once.
        planned: row -> iterations of a run that is complete; asked of pruned trials only.
        num_seeds: that every trial is trained with.
    """
    return _cost(rows, planned, num_seeds, ("iterations", "warm_up_iterations", "parent_iteration"))


def in_seconds(rows: Sequence[Row], planned: Callable[[Row], int], num_seeds: int) -> Cost:
    """The cost in seconds of training, without evaluations; see `in_iterations`."""
    return _cost(rows, planned, num_seeds, ("seconds", "warm_up_seconds", "parent_seconds"))


def as_dict(iterations: Cost, seconds: Cost, workers: int) -> dict[str, dict[str, float]]:
    """Both, the latter as worker-seconds, as plain data."""
    both = {"iterations": iterations, "worker_seconds": seconds.times(workers)}
    return {unit: {**cost._asdict(), "total": cost.total} for unit, cost in both.items()}


def summary(iterations: Cost, seconds: Cost, workers: int) -> str:
    """One line."""
    return (
        f"computed {iterations.used:.0f} iterations in {duration(seconds.used * workers)} of worker-time; wasted on "
        f"trials that did not end complete {100 * iterations.wasted_share:.0f} % of the iterations, "
        f"{100 * seconds.wasted_share:.0f} % of the time; training all to the end takes {iterations.total:.0f} "
        f"iterations, {100 * iterations.saved:.0f} % saved"
    )


def _cost(
    rows: Sequence[Row], planned: Callable[[Row], int], num_seeds: int, columns: tuple[str, str, str]
) -> Cost:
    unit, of_warm_up, of_parent = columns
    runs = {row["trial"]: row for row in rows}
    done = {label: row.get(unit) or 0.0 for label, row in runs.items()}
    spared = {label: row.get(of_warm_up) or 0.0 for label, row in runs.items()}
    inherited = {label: row.get(of_parent) or 0.0 for label, row in runs.items()}
    own = {label: max(done[label] - spared[label] - inherited[label], 0.0) for label in runs}
    warm_ups = {row["warm_up"]: spared[label] for label, row in runs.items() if row.get("warm_up")}
    used = sum(own.values()) + sum(warm_ups.values())

    useful = _useful(runs, done, inherited)  # how far each run has served, what it was spared included
    in_vain = sum(min(own[label], max(done[label] - useful.get(label, 0.0), 0.0)) for label in runs)
    served = {runs[label].get("warm_up") for label in useful}
    in_vain += sum(amount for name, amount in warm_ups.items() if name not in served)

    return Cost(
        used=used,
        warm_up=sum(spared.values()) - sum(warm_ups.values()),
        inherited=sum(inherited.values()),
        pruning=_beyond(runs, done, planned, num_seeds),
        wasted=in_vain,
    )


def _useful(runs: dict[str, Row], done: dict[str, float], inherited: dict[str, float]) -> dict[str, float]:
    useful: dict[str, float] = {}
    for label, row in runs.items():
        if row["outcome"] in _IN_VAIN:
            continue
        upto: float = done[label]
        while label in runs:
            useful[label] = max(useful.get(label, 0.0), upto)
            label, upto = runs[label].get("parent") or "", inherited[label]
    return useful


def _beyond(
    runs: dict[str, Row], done: dict[str, float], planned: Callable[[Row], int], num_seeds: int
) -> float:
    points: dict[str, list[str]] = {}
    for label, row in runs.items():
        points.setdefault(row["point"], []).append(label)
    total = 0.0
    for labels in points.values():
        row, iterations = runs[labels[0]], sum(runs[label]["iterations"] for label in labels)
        if row["outcome"] == "pruned" and iterations:
            left = max(planned(row) * num_seeds - iterations, 0)
            total += left * sum(done[label] for label in labels) / iterations
    return total
