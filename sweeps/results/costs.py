"""What a sweep has trained, how much of that was wasted, and how much it was spared; from the rows of its runs.

A run's own iterations are those that no other run has trained: neither the trunk that it was forked from nor, with
population based training, its parent until the fork. The sum of the own iterations and of every trunk, once, is what
was trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from sweeps.common.names import Status
from sweeps.common.words import count, duration, listed, percent
from sweeps.results.forks import TrunkFork
from sweeps.results.rows import Parent, Row

_WASTED = (Status.PRUNED, Status.FAILED)


class Cost(NamedTuple):
    """What a sweep has cost, in iterations or in seconds of training.

    Attributes:
        used: What all runs have trained, as far as they came, with what they share counted once.
        trunk: What the runs that were forked from a trunk would have used beside that for the same iterations.
        inherited: What the runs that were forked from a parent would have used beside that for the same iterations.
        pruning: What the trials that were stopped early would have used to their end, each at its own pace.
        wasted: Part of `used` that led to no complete trial: it went into trials that were stopped early, replaced or
            outpaced by others, or failed, and no fork that is complete has gone on from it. Trials that are running
            are not counted.
    """

    used: float
    trunk: float
    inherited: float
    pruning: float
    wasted: float

    @property
    def total(self) -> float:
        """What it would have cost to train every trial from its start to its end."""
        return self.used + self.trunk + self.inherited + self.pruning

    @property
    def saved(self) -> float:
        """The share of the total that was saved, from 0 to 1."""
        return 1 - self.used / self.total if self.total else 0.0

    @property
    def wasted_share(self) -> float:
        """The share of what was used that was wasted, from 0 to 1."""
        return self.wasted / self.used if self.used else 0.0

    def times(self, factor: float) -> Cost:
        """Return a multiple; seconds of training times the processes of a run are worker-seconds."""
        return Cost(*(factor * value for value in self))


class _Account(NamedTuple):
    """What one run has come to, in iterations or in seconds.

    Attributes:
        done: All that the run has, what it was spared included.
        from_trunk: Part of it that was trained in a trunk.
        from_parent: Part of it that was trained by its parent.
    """

    done: float
    from_trunk: float
    from_parent: float

    @property
    def own(self) -> float:
        """What the run has trained itself."""
        return max(self.done - self.from_trunk - self.from_parent, 0.0)


def in_iterations(rows: Iterable[Row], planned: Callable[[Row], int], num_seeds: int) -> Cost:
    """Return the cost in iterations.

    Args:
        rows: Rows of the sweep; those that repeat a run count once.
        planned: Function that gives the iterations at which a run is complete; it is asked for trials that were stopped
            early only.
        num_seeds: Number of seeds that every trial is trained with.
    """

    def account(row: Row) -> _Account:
        trunk, parent = _spared(row)
        return _Account(row.iterations, trunk.iterations, parent.iteration)

    return _cost(rows, account, planned, num_seeds)


def in_seconds(rows: Iterable[Row], planned: Callable[[Row], int], num_seeds: int) -> Cost:
    """Return the cost in seconds of training, without evaluations; see :func:`in_iterations`."""

    def account(row: Row) -> _Account:
        trunk, parent = _spared(row)
        return _Account(row.seconds or 0.0, trunk.seconds, parent.seconds)

    return _cost(rows, account, planned, num_seeds)


def as_dict(iterations: Cost, seconds: Cost, workers: int) -> dict[str, dict[str, float]]:
    """Return both costs, the latter as worker-seconds, as plain data."""
    return {"iterations": _plain(iterations), "worker_seconds": _plain(seconds.times(workers))}


def summary(iterations: Cost, seconds: Cost, workers: int, outcomes: Iterable[Status]) -> str:
    """Return what the sweep has cost in sentences, one a line, for somebody who has not seen it.

    Args:
        iterations: Cost in iterations.
        seconds: Cost in seconds of training.
        workers: Number of processes of a run.
        outcomes: What has become of each trial.
    """
    if not iterations.used:
        return "The sweep has trained nothing."
    sentences = [
        f"The sweep trained {count(iterations.used, 'iteration')} ({duration(seconds.used * workers)} of worker-time, "
        "which is the training time of all processes together)."
    ]
    if iterations.wasted or seconds.wasted:
        sentences.append(f"{waste(iterations, seconds)} went into trials that were stopped early or failed.")
    elif all(outcome == Status.COMPLETE for outcome in outcomes):
        sentences.append("Every trial was trained to its end.")
    return "\n".join([*sentences, _savings(iterations)])


def waste(iterations: Cost, seconds: Cost) -> str:
    """Return the beginning of a sentence on what was wasted: ``"18 % of the iterations (15 % of the time)"``."""
    return f"{percent(iterations.wasted_share)} of the iterations ({percent(seconds.wasted_share)} of the time)"


def _plain(cost: Cost) -> dict[str, float]:
    return {
        "used": cost.used,
        "warm_up": cost.trunk,  # programs read it by the name that the trunk had before
        "inherited": cost.inherited,
        "pruning": cost.pruning,
        "wasted": cost.wasted,
        "total": cost.total,
    }


def _savings(cost: Cost) -> str:
    ways = {
        "by training the trunk, the part before the contrast starts, once for all trials": cost.trunk,
        "by starting trials from the checkpoints of others": cost.inherited,
        "by stopping trials early": cost.pruning,
    }
    used = [way for way, amount in ways.items() if amount > 0]
    if not used:
        return "No iterations were shared between trials, and none were saved by stopping trials early."
    return (
        f"Training every trial from its start to its end would have taken {count(cost.total, 'iteration')}; "
        f"{percent(cost.saved)} was saved {listed(used)}."
    )


def _spared(row: Row) -> tuple[TrunkFork, Parent]:
    trunk = row.trunk or TrunkFork(trunk="", iterations=0, seconds=0.0)
    return trunk, row.parent or Parent(label="", iteration=0, seconds=0.0)


def _cost(rows: Iterable[Row], account: Callable[[Row], _Account], planned: Callable[[Row], int], num: int) -> Cost:
    runs = {row.label: row for row in rows}
    accounts = {label: account(row) for label, row in runs.items()}
    trunks = {row.trunk.trunk: accounts[label].from_trunk for label, row in runs.items() if row.trunk}
    used = sum(a.own for a in accounts.values()) + sum(trunks.values())

    useful = _useful(runs, accounts)
    wasted = sum(min(a.own, max(a.done - useful.get(label, 0.0), 0.0)) for label, a in accounts.items())
    served = {trunk.trunk for label in useful if (trunk := runs[label].trunk)}
    wasted += sum(amount for name, amount in trunks.items() if name not in served)

    return Cost(
        used=used,
        trunk=sum(a.from_trunk for a in accounts.values()) - sum(trunks.values()),
        inherited=sum(a.from_parent for a in accounts.values()),
        pruning=_beyond(runs, accounts, planned, num),
        wasted=wasted,
    )


def _useful(runs: Mapping[str, Row], accounts: Mapping[str, _Account]) -> dict[str, float]:
    """Return up to where each run has served a trial that was not wasted, what it was spared included."""
    useful: dict[str, float] = {}
    for label, row in runs.items():
        if row.outcome in _WASTED:
            continue
        upto = accounts[label].done
        while label in runs:
            useful[label] = max(useful.get(label, 0.0), upto)
            parent, upto = runs[label].parent, accounts[label].from_parent
            label = parent.label if parent else ""
    return useful


def _beyond(
    runs: Mapping[str, Row], accounts: Mapping[str, _Account], planned: Callable[[Row], int], num_seeds: int
) -> float:
    """Return what the trials that were stopped early had left to their end, each at its own pace."""
    trials: dict[str, list[str]] = {}
    for label, row in runs.items():
        trials.setdefault(row.trial, []).append(label)
    total = 0.0
    for labels in trials.values():
        row, iterations = runs[labels[0]], sum(runs[label].iterations for label in labels)
        if row.outcome == Status.PRUNED and iterations:
            left = max(planned(row) * num_seeds - iterations, 0)
            total += left * sum(accounts[label].done for label in labels) / iterations
    return total
