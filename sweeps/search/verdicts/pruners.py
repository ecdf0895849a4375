"""The rules that stop trials early, on what all trials score at a rung.

Optuna's own keep the values that they compare, which a rank cannot be: it changes with every trial that reports.
"""

from __future__ import annotations

import statistics
from abc import abstractmethod
from collections.abc import Mapping, Sequence

import optuna
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial

from sweeps.definition.selection import Selection
from sweeps.search import replicates
from sweeps.search.verdicts.scoring import rungs_reached, scores_at

MIN_OTHERS = 3
"""With how many trials at least one is compared by the median rule."""


class _AtRungs(BasePruner):
    """Judges a trial at each rung once, when it reaches it, against all trials of its bracket that have come as far.

    Args:
        selection: What trials are chosen by.
        rungs: The rungs of the first bracket, in iterations.
        num_brackets: Number of brackets. Trials take turns in them; those of the k-th, counted from 0, are judged from
            the k-th rung on. The bracket follows from the trial's number, and is the same for every driver.
    """

    def __init__(self, selection: Selection, rungs: Sequence[int], num_brackets: int = 1) -> None:
        self._selection, self._rungs, self._num_brackets = selection, tuple(rungs), num_brackets

    @abstractmethod
    def goes_on(self, scores: Mapping[int, float], number: int) -> bool:
        """Return whether a trial goes on.

        Args:
            scores: The scores at a rung by the trial's number, of all that have come as far; higher is better.
            number: The number of the trial, which is among them.
        """

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return whether the trial is to be stopped after its last report."""
        bracket = trial.number % self._num_brackets
        reached = rungs_reached(trial, self._rungs[bracket:], self._selection)
        if not reached:
            return False
        others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number and replicates.is_own(t)]
        rivals = [trial, *(t for t in others if t.number % self._num_brackets == bracket)]
        return not all(self.goes_on(scores_at(rivals, rung, self._selection), trial.number) for rung in reached)


class SuccessiveHalving(_AtRungs):
    """Asynchronous successive halving (ASHA): at a rung a trial goes on if it is in the top ``1 / factor`` there.

    It is compared with all that have come as far, whatever became of them, at the time at which it comes itself, and is
    not looked at again; the first to come goes on. In brackets a trial competes within its own, so that those of later
    brackets have more time to show what they are good for. See Li et al., A System for Massively Parallel
    Hyperparameter Tuning, MLSys 2020, in the variant that stops trials and does not pause them.

    Args:
        selection: What trials are chosen by.
        rungs: The rungs of the first bracket, in iterations.
        factor: The reduction factor, at least 2.
        num_brackets: Number of brackets.
    """

    def __init__(self, selection: Selection, rungs: Sequence[int], factor: int, num_brackets: int = 1) -> None:
        super().__init__(selection, rungs, num_brackets)
        self._factor = factor

    def goes_on(self, scores: Mapping[int, float], number: int) -> bool:
        """Return whether fewer trials are better than there are places, of which there is one at least."""
        better = sum(score > scores[number] for score in scores.values())
        return better < max(1, len(scores) // self._factor)


class MedianRule(_AtRungs):
    """At a rung a trial goes on unless it scores less than the median of the others there, `MIN_OTHERS` at least.

    See Golovin et al., Google Vizier, KDD 2017, section 3.2.1; here on the scores at the rung themselves, since ranks
    have no running average.
    """

    def goes_on(self, scores: Mapping[int, float], number: int) -> bool:
        """Return whether the trial is not below the median."""
        others = [score for other, score in scores.items() if other != number]
        return len(others) < MIN_OTHERS or scores[number] >= statistics.median(others)
