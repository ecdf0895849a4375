"""How long a sweep will still take, from how fast its runs have been and how far they have come."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(kw_only=True)
class Course:
    """How a run has come along.

    Attributes:
        point: label of its trial.
        iterations: at which it is complete.
        iteration: of its last report.
        given: iterations that it has not trained since `began`: those of its warm-up, or of an earlier driver.
        began: time in seconds, as `seen`.
        seen: of its last report, or of its end.
        ended: whether it is not running any more.
    """

    point: str
    iterations: int
    iteration: int
    given: int
    began: float
    seen: float
    ended: bool = False


def time_left(
    courses: Sequence[Course], *, now: float, finished: Collection[str], to_begin: int, num_seeds: int, slots: int
) -> float | None:
    """Seconds, or None while no run has trained anything.

    A run is expected to go as far as, on average, those that have ended and came farther than it has come; so the
    share of trials that are pruned enters as it was seen so far. In the same way a trial is expected to be
    trained with as many seeds as those that are finished.

    Args:
        courses: of the runs of this driver.
        now: time in seconds.
        finished: labels of the trials among them that get no more runs.
        to_begin: number of trials that have no run yet.
        num_seeds: that a trial is trained with at most.
        slots: runs at the same time.
    """
    trained = sum(course.iteration - course.given for course in courses)
    busy = sum(course.seen - course.began for course in courses)
    if trained <= 0 or busy <= 0:
        return None
    speed = trained / busy  # of one run
    shares = [course.iteration / course.iterations for course in courses if course.ended]

    def expected_share(share: float) -> float:
        farther = [other for other in shares if other > share]
        return statistics.fmean(farther) if farther else 1.0

    left = []
    for course in courses:
        if not course.ended:
            end = expected_share(course.iteration / course.iterations) * course.iterations
            left.append(max(end - course.iteration - (now - course.seen) * speed, 0.0))
    started = Counter(course.point for course in courses)
    usual = [started[point] for point in finished]
    num_runs = statistics.fmean(usual) if usual else num_seeds
    runs = to_begin * num_runs
    runs += sum(max(num_runs - count, 0.0) for point, count in started.items() if point not in finished)
    given = min(course.given for course in courses if course.iteration)  # those with more go on from an earlier driver
    length = statistics.fmean(course.iterations for course in courses)
    new = max(expected_share(-1.0) * length - given, 0.0) if runs else 0.0
    longest = max([*left, new])  # the last runs have the machines for themselves, and are no faster
    return max((sum(left) + runs * new) / slots, longest) / speed
