"""The search: an Optuna study that is the only truth about a sweep's trials, and Tune, which executes them.

A trial that is RUNNING in the study is one that somebody has started and nobody has ended. If its driver was killed it
stays so, and the next driver hands it out again: same number, same parameters, same directory, so that it goes on
from its checkpoint. Tune is always started afresh and is told nothing about the past.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState
from ray.tune import Stopper
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from sweeps.space import Space
from sweeps.trial import FAILED, REPORT, describe

METRIC = "mIoU"
REFERENCE_LABEL = "base"


def open_studies(
    url: str, name: str, sampler: optuna.samplers.BaseSampler, pruner: optuna.pruners.BasePruner
) -> tuple[optuna.Study, optuna.Study]:
    """The study of the search and that of the reference, in one storage; made where they do not exist."""
    storage = optuna.storages.RDBStorage(url)
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        direction="maximize",
        sampler=sampler,
        pruner=pruner,
        load_if_exists=True,
    )
    reference = optuna.create_study(
        storage=storage, study_name=f"{name}-reference", direction="maximize", load_if_exists=True
    )
    study.set_metric_names([METRIC])
    reference.set_metric_names([METRIC])
    return study, reference


@dataclass(kw_only=True)
class Run:
    """A trial of the study that this driver is executing."""

    label: str
    trial: optuna.Trial
    metrics: dict[str, float] = field(default_factory=dict)
    prune: bool = False
    error: str = ""
    reported: bool = False
    steps: set[int] = field(default_factory=set)
    """Iterations whose value the study holds already."""

    @property
    def iteration(self) -> int:
        """Optimiser steps done so far, as far as reported; 0 before the first report."""
        return int(self.metrics.get("iteration", 0))


class StudySearcher(Searcher):
    """Hands the trials of a study to Tune and writes what becomes of them back into the study.

    Args:
        study: of the search.
        reference: of the reference row, which is run first, once, and never pruned.
        space: what to search; every trial gets a value for each key.
        initial: parameters of trial 0.
        num_trials: of the search, finished ones of earlier drivers and failed ones included.
        iterations: at which a trial is complete.
        make_spec: (label, parameters) -> what Tune passes to the trainable.
        on_event: (event, run) with the events "started", "reported", "resumed", "restarted", "complete", "pruned" and
            "failed"; called after the study knows.
    """

    def __init__(
        self,
        study: optuna.Study,
        reference: optuna.Study,
        *,
        space: Space,
        initial: dict[str, Any],
        num_trials: int,
        iterations: int,
        make_spec: Callable[[str, dict[str, Any]], dict[str, Any]],
        on_event: Callable[[str, Run], None],
    ):
        super().__init__()
        self._study = study
        self._reference = reference
        self._space = space
        self._num_trials = num_trials
        self._iterations = iterations
        self._make_spec = make_spec
        self._on_event = on_event
        self._runs: dict[str, Run] = {}
        if not study.get_trials(deepcopy=False):
            study.enqueue_trial(initial)
        self._interrupted = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        self._reference_pending = not any(t.state.is_finished() for t in reference.get_trials(deepcopy=False))

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """Tune asks for a trial: the reference first, then what was interrupted, then new ones."""
        run = self._next()
        if run is None:
            return Searcher.FINISHED
        self._runs[trial_id] = run
        self._on_event("started", run)
        return self._make_spec(run.label, run.trial.params)

    def report(self, trial_id: str, metrics: dict[str, float]) -> bool:
        """Takes a trial's report into the study; says whether the trial is to be stopped."""
        run = self._runs[trial_id]
        again = run.iteration > 0 and metrics["iteration"] <= run.iteration
        resumed = again or (not run.reported and run.iteration > 0)
        run.metrics, run.reported = metrics, True
        trial, step, value = run.trial, run.iteration, metrics[METRIC]
        if step not in run.steps and not math.isnan(value):
            trial.report(value, step)
            run.steps.add(step)
        trial.set_user_attr("metrics", metrics)
        self._on_event("resumed" if resumed else "reported", run)
        if trial.study is self._study and step < self._iterations:
            run.prune = trial.should_prune()
        return run.prune

    def note_error(self, trial_id: str, message: str, *, final: bool) -> None:
        """A trial's process has failed, with this message; unless `final` Tune starts it again."""
        run = self._runs[trial_id]
        run.error = message
        if not final:
            self._on_event("restarted", run)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tune has ended a trial. Not called for those that a stopped sweep leaves unfinished: they stay RUNNING."""
        run = self._runs.pop(trial_id)
        value = run.metrics.get(METRIC, math.nan)
        failure = run.error if error else (result or {}).get(FAILED, "")
        if not failure and run.prune:
            run.trial.study.tell(run.trial, state=TrialState.PRUNED)
            self._on_event("pruned", run)
            return
        if not failure and not error and run.iteration >= self._iterations and not math.isnan(value):
            run.trial.study.tell(run.trial, value)
            self._on_event("complete", run)
            return
        run.error = failure or (
            f"{METRIC} is not a number"
            if run.iteration >= self._iterations
            else f"ended at iteration {run.iteration} of {self._iterations} without saying why"
        )
        run.trial.set_user_attr("error", run.error)
        run.trial.study.tell(run.trial, state=TrialState.FAIL)
        self._on_event("failed", run)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study is saved at every change."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the study is the state."""

    def _next(self) -> Run | None:
        if self._reference_pending:
            self._reference_pending = False
            left = self._reference.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            return self._again(self._reference, left[0]) if left else self._new(self._reference)
        if self._interrupted:
            return self._again(self._study, self._interrupted.pop(0))
        started = [t for t in self._study.get_trials(deepcopy=False) if t.state != TrialState.WAITING]
        return self._new(self._study) if len(started) < self._num_trials else None

    def _new(self, study: optuna.Study) -> Run:
        return self._run(study, study.ask())

    def _again(self, study: optuna.Study, left: FrozenTrial) -> Run:
        run = self._run(study, optuna.Trial(study, left._trial_id))
        run.metrics = dict(left.user_attrs.get("metrics", {}))
        run.steps = set(left.intermediate_values)
        return run

    def _run(self, study: optuna.Study, trial: optuna.Trial) -> Run:
        if study is self._reference:
            return Run(label=REFERENCE_LABEL, trial=trial)
        self._complete_params(trial)
        return Run(label=f"{trial.number:04d}", trial=trial)

    def _complete_params(self, trial: optuna.Trial) -> None:
        """Gives `trial` the parameters that it lacks: all if it is new, some if its driver died while asking."""
        for key, d in self._space.items():
            if isinstance(d, CategoricalDistribution):
                trial.suggest_categorical(key, d.choices)
            elif isinstance(d, optuna.distributions.IntDistribution):
                trial.suggest_int(key, d.low, d.high, log=d.log)
            else:
                trial.suggest_float(key, d.low, d.high, log=d.log)


class PrunerScheduler(FIFOScheduler):
    """Stops the trials that the study's pruner gives up. All its state is in the study."""

    def __init__(self, searcher: StudySearcher):
        super().__init__()
        self._searcher = searcher

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Called by Tune with a trial's flattened report."""
        prefix = f"{REPORT}/"
        metrics = {key[len(prefix) :]: value for key, value in result.items() if key.startswith(prefix)}
        if metrics and self._searcher.report(trial.trial_id, metrics):
            return self.STOP
        return self.CONTINUE

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Called by Tune when a trial's process has failed, before it is started again or given up."""
        error = trial.get_pickled_error()
        message = describe(error) if error else "its process was lost"
        self._searcher.note_error(trial.trial_id, message, final=not trial.should_recover())


class Interruption(Stopper):
    """Ends the sweep, leaving what runs to be resumed: when asked to, or after `budget` seconds."""

    def __init__(self, budget: float | None):
        self._deadline = math.inf if budget is None else time.monotonic() + budget
        self.requested = False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Single trials are not stopped here."""
        return False

    def stop_all(self) -> bool:
        """Called by Tune at every step."""
        return self.requested or time.monotonic() >= self._deadline


def study_url(results: Path) -> str:
    """Address of a sweep's study, for Optuna and its tools."""
    return f"sqlite:///{results / 'study.db'}"
