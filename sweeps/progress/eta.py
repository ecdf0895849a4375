"""How long a sweep will still take, from how fast its runs have been and how far they have come."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(kw_only=True)
class RunProgress:
    """How a run of this driver has come along.

    Attributes:
        trial: The label of its trial.
        iterations: The iteration at which it is complete.
        iteration: The iteration of its last report.
        given: Iterations that it has not trained since `began`: those of the shared trunk, or of an earlier driver.
        began: When this driver started it, in seconds on the same clock as `seen`.
        seen: When it last reported, or ended.
        ended: Whether it is not running any more.
    """

    trial: str
    iterations: int
    iteration: int
    given: int
    began: float
    seen: float
    ended: bool = False

    @property
    def share(self) -> float:
        """How much of its iterations are done, from 0 to 1."""
        return self.iteration / self.iterations


def time_left(
    runs: Sequence[RunProgress], *, now: float, finished: Collection[str], to_begin: int, num_seeds: int, slots: int
) -> float | None:
    """Return the seconds that a sweep will still take, or None while no run has trained anything.

    A run is expected to go as far as, on average, those that have ended and came farther than it has come; so the
    share of trials that are pruned enters as it was seen so far. In the same way a trial is expected to be
    trained with as many seeds as those that are finished.

    Args:
        runs: The runs of this driver.
        now: The time in seconds, on the clock of the runs.
        finished: Labels of the trials among them that get no more runs.
        to_begin: The number of trials that have no run yet.
        num_seeds: The number of seeds that a trial is trained with at most.
        slots: The number of runs at the same time.
    """
    trained = sum(run.iteration - run.given for run in runs)
    busy = sum(run.seen - run.began for run in runs)
    if trained <= 0 or busy <= 0:
        return None
    speed = trained / busy  # iterations per second of one run
    shares = [run.share for run in runs if run.ended]
    left = []
    for run in runs:
        if not run.ended:
            end = _expected_share(run.share, shares) * run.iterations
            left.append(max(end - run.iteration - (now - run.seen) * speed, 0.0))
    to_come = _runs_to_come(runs, finished, to_begin, num_seeds)
    given = min(run.given for run in runs if run.iteration)  # those with more were resumed from an earlier driver
    length = statistics.fmean(run.iterations for run in runs)
    new = max(_expected_share(-1.0, shares) * length - given, 0.0) if to_come else 0.0
    longest = max([*left, new])  # the last runs have the machines for themselves, and are no faster
    return max((sum(left) + to_come * new) / slots, longest) / speed


def _expected_share(share: float, ended: Sequence[float]) -> float:
    """Return how far a run is going to come that has come to `share`, by how far those came that have ended."""
    farther = [other for other in ended if other > share]
    return statistics.fmean(farther) if farther else 1.0


def _runs_to_come(runs: Sequence[RunProgress], finished: Collection[str], to_begin: int, num_seeds: int) -> float:
    """Return how many runs are still to begin, those of new trials and those with further seeds together."""
    started = Counter(run.trial for run in runs)
    usual = [started[trial] for trial in finished]
    per_trial = statistics.fmean(usual) if usual else num_seeds
    more = sum(max(per_trial - number, 0.0) for trial, number in started.items() if trial not in finished)
    return to_begin * per_trial + more
