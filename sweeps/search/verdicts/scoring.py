"""What trials score: at a rung, among all that have come as far, and at their ends.

Where trials are chosen by a mean rank, a score depends on the other trials, and is made anew whenever it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from optuna.trial import FrozenTrial, TrialState

from sweeps.definition.objectives import COSTS
from sweeps.definition.selection import Selection
from sweeps.search import replicates


def report_at(trial: FrozenTrial, rung: int, selection: Selection) -> dict[str, float] | None:
    """Return what a trial reported at a rung, or at its first evaluation after it, where its evaluations lie elsewhere.

    Returns:
        mIoU and criteria; None where the trial has not come as far, or what it is chosen by has been no number since.
    """
    return next((report for i, report in _numbers(trial, selection) if i >= rung), None)


def scores_at(trials: Iterable[FrozenTrial], rung: int, selection: Selection) -> dict[int, float]:
    """Return the scores at a rung of those trials that have come as far, by the trial's number."""
    found = ((trial.number, report_at(trial, rung, selection)) for trial in trials)
    return selection.scores({number: report for number, report in found if report is not None})


def rungs_reached(trial: FrozenTrial, rungs: Sequence[int], selection: Selection) -> list[int]:
    """Return the rungs that a trial has reached with its last evaluation, and not with the one before.

    There are none where the last evaluation has no number for what trials are chosen by.
    """
    every = [iteration for iteration, _ in _numbers(trial, selection)]
    if not every or every[-1] != max(replicates.curves(trial)):
        return []
    before = every[-2] if len(every) > 1 else 0
    return [rung for rung in rungs if before < rung <= every[-1]]


def final_reports(
    trials: Iterable[FrozenTrial], seeds: Sequence[int], selection: Selection
) -> dict[int, dict[str, float]]:
    """Return the means over its seeds of what trials are chosen by, of each complete one of the sweep, by number."""
    complete = [t for t in trials if t.state == TrialState.COMPLETE and replicates.is_own(t)]
    return {trial.number: replicates.means(trial, seeds, selection.metrics) for trial in complete}


def final_values(
    report: Mapping[str, float],
    others: Mapping[int, Mapping[str, float]],
    selection: Selection,
    objectives: Sequence[str],
) -> list[float]:
    """Return the value of each objective for a trial that has come to its end.

    Args:
        report: The means over its seeds of all that it is chosen by, and of what it costs.
        others: The same of the trials that it is compared with, without itself.
        selection: What trials are chosen by. A mean rank is taken among this trial and the others; it is no more than
            what was known at that time, and :mod:`sweeps.search.suggestions.informed` makes it anew for the search.
        objectives: Names of the objectives; one that is no cost stands for the score.
    """
    score = selection.scores({**others, _SELF: report})[_SELF]
    return [report[name] if name in COSTS else score for name in objectives]


_SELF = -1
"""Stands for a trial among the numbers of others."""


def score_among(
    report: Mapping[str, float], iteration: int, others: Iterable[FrozenTrial], selection: Selection
) -> float:
    """Return what a report scores among those that other trials had made at the same iteration.

    Args:
        report: The report; it has what trials are chosen by.
        iteration: Its iteration.
        others: The other trials.
        selection: What trials are chosen by.
    """
    found = {trial.number: report_at(trial, iteration, selection) for trial in others}
    known = {number: other for number, other in found.items() if other is not None}
    return selection.scores({**known, _SELF: report})[_SELF]


def _numbers(trial: FrozenTrial, selection: Selection) -> list[tuple[int, dict[str, float]]]:
    """Return the evaluations of a trial that have numbers for all that trials are chosen by, in order."""
    return [(i, report) for i, report in sorted(replicates.curves(trial).items()) if selection.has(report)]
