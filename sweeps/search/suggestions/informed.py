"""What a sampler sees of a study: scores as they are now, and trials that have diverged as the worst.

A study keeps what a trial was told at its end. A mean rank of that time says little later, so that the sampler sees it
made anew, among all that are there now. And a trial whose loss became NaN has no value at all; Optuna's samplers would
pass over it and suggest the same region again and again. To the sampler it is one that has scored less than any other,
while in the study it stays failed.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sweeps.common.private_optuna import StudyView
from sweeps.definition.objectives import COSTS
from sweeps.definition.selection import Selection
from sweeps.search import replicates
from sweeps.search.verdicts.scoring import final_reports, scores_at

_MOST_DIVERGED = 9
"""How many diverged trials a sampler that ranks pruned trials sees for each other one.

TPE takes the best tenth of all trials for good ones: with more than nine to one, diverged ones would be among them."""


class Informed(BaseSampler):
    """A sampler that sees current scores, and diverged trials as the worst.

    Args:
        sampler: The sampler.
        ranks_pruned: Whether it takes pruned trials to be worse than complete ones, instead of passing over them. It
            then sees a diverged trial as one that was pruned before its first report, which is last among them; else as
            a complete one, below the worst by as much as the worst is below the best.
        selection: What trials are chosen by.
        seeds: Seeds of every trial.
        objectives: Names of the objectives; one that is no cost stands for the score.
    """

    def __init__(
        self,
        sampler: BaseSampler,
        *,
        ranks_pruned: bool,
        selection: Selection,
        seeds: Sequence[int],
        objectives: Sequence[str],
    ) -> None:
        self._sampler, self._ranks_pruned, self._selection = sampler, ranks_pruned, selection
        self._seeds, self._objectives = tuple(seeds), tuple(objectives)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the parameters that are suggested together; called by Optuna."""
        return self._sampler.infer_relative_search_space(self._view(study), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return values of these parameters; called by Optuna."""
        return self._sampler.sample_relative(self._view(study), trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return the value of a parameter that is suggested by itself; called by Optuna."""
        return self._sampler.sample_independent(self._view(study), trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Tell the sampler that a trial begins; called by Optuna."""
        self._sampler.before_trial(self._view(study), trial)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Tell the sampler that a trial has ended; called by Optuna."""
        self._sampler.after_trial(self._view(study), trial, state, values)

    def reseed_rng(self) -> None:
        """Give the sampler another seed; called by Optuna where it works in parallel."""
        self._sampler.reseed_rng()

    def _view(self, study: optuna.Study) -> StudyView:
        directions = study.directions
        return StudyView(study, lambda trials: self.seen(trials, directions))

    def seen(self, trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]) -> list[FrozenTrial]:
        """Return the trials of a study as the sampler is to see them.

        Args:
            trials: All trials, in order.
            directions: Which way is better, of each objective.
        """
        ranked = self._ranked(trials) if self._selection.is_rank else dict[int, FrozenTrial]()
        found = [ranked.get(trial.number, trial) for trial in trials]
        complete = [trial.values for trial in found if trial.state == TrialState.COMPLETE]
        worst = [_worst([v[i] for v in complete], direction) for i, direction in enumerate(directions)]
        diverged = [t.number for t in found if t.state == TrialState.FAIL and replicates.has_diverged(t)]
        if self._ranks_pruned:
            others = sum(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in found)
            shown = set(diverged[-_MOST_DIVERGED * others :] if others else [])
        else:
            shown = set(diverged)
        return [self._diverged(trial, worst) if trial.number in shown else trial for trial in found]

    def _diverged(self, trial: FrozenTrial, worst: list[float]) -> FrozenTrial:
        if self._ranks_pruned:
            return _changed(trial, state=TrialState.PRUNED, intermediate_values={})
        return _changed(trial, state=TrialState.COMPLETE, values=worst)

    def _ranked(self, trials: Sequence[FrozenTrial]) -> dict[int, FrozenTrial]:
        """Return, by number, the trials whose mean ranks are others now than when they ended."""
        own = [trial for trial in trials if replicates.is_own(trial)]
        final = self._selection.scores(final_reports(own, self._seeds, self._selection))
        found: dict[int, FrozenTrial] = {}
        for trial in own:
            if trial.state == TrialState.COMPLETE and trial.number in final:
                pairs = zip(self._objectives, trial.values, strict=True)
                values = [value if name in COSTS else final[trial.number] for name, value in pairs]
                found[trial.number] = _changed(trial, values=values)
            elif trial.state == TrialState.PRUNED and self._ranks_pruned and len(self._objectives) == 1:
                found[trial.number] = _changed(trial, intermediate_values=self._last_rank(trial, own))
        return found

    def _last_rank(self, trial: FrozenTrial, own: Sequence[FrozenTrial]) -> Mapping[int, float]:
        """Return what a pruned trial scores at its last report, by the iteration; nothing before its first."""
        numbers = [i for i, report in replicates.curves(trial).items() if self._selection.has(report)]
        if not numbers:
            return {}
        last = max(numbers)
        return {last: scores_at(own, last, self._selection)[trial.number]}


def _changed(trial: FrozenTrial, **changes: Any) -> FrozenTrial:
    """Return a copy of a trial with other values of these attributes; the rest is shared with it."""
    other = copy.copy(trial)
    for name, value in changes.items():
        setattr(other, name, value)
    return other


def _worst(values: Sequence[float], direction: StudyDirection) -> float:
    """Return a value below the worst one by as much as that is below the best, or by 1 where they are all the same."""
    if not values:
        return 0.0
    margin = (max(values) - min(values)) or 1.0
    return min(values) - margin if direction == StudyDirection.MAXIMIZE else max(values) + margin
