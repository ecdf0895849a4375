"""The search: an Optuna study that is the only truth about a sweep's trials, and Tune, which executes them.

A trial that is RUNNING in the study is one that somebody has started and nobody has ended. If its driver was killed it
stays so, and the next driver hands it out again: same number, same parameters, same directory, so that it goes on
from its checkpoint. Tune is always started afresh and is told nothing about the past.

With a population (see :mod:`sweeps.search.population`) a trial that has to wait for others is RUNNING, too.

A trial is trained once per seed, and judged on the mean; to Tune each of these replicates is a trial of its own. The
pruner sees the curve of the first seed, at the iterations of its reports; a study has, besides, the mean over the first
k seeds at k times the iterations of one, for k from 2 on.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState
from ray.tune.search import Searcher

from sweeps.definition.space import Conditions, Space, is_active
from sweeps.execution.trial import FAILED
from sweeps.search import replicates
from sweeps.search.population import Population
from sweeps.search.replicates import METRIC, REFERENCE_LABEL


@dataclass(kw_only=True)
class Run:
    """A replicate of a trial of the study that this driver is executing."""

    label: str
    point: str
    """Label of the trial; `label` itself where there is one seed."""
    seed: int
    iterations: int
    """At which it is complete."""
    study: optuna.Study
    trial: optuna.Trial
    metrics: dict[str, float] = field(default_factory=dict)
    prune: bool = False
    pause: bool = False
    error: str = ""
    reported: bool = False
    steps: set[int] = field(default_factory=set)
    """Iterations whose value the study holds already."""

    @property
    def iteration(self) -> int:
        """Optimizer steps done so far, as far as reported; 0 before the first report."""
        return int(self.metrics.get("iteration", 0))


class StudySearcher(Searcher):
    """Hands the trials of a study to Tune and writes what becomes of them back into the study.

    Args:
        study: of the search.
        reference: of the reference row, which is run first, once per seed, and never pruned; None without one.
        space: what to search; every trial gets a value for each key whose condition it meets.
        when: conditions of the space.
        objectives: metrics that a trial is judged on, as in the study. With several nothing is pruned, and every trial
            gets all its seeds.
        known: parameters of the first trials, in order.
        num_trials: of the search, finished ones of earlier drivers and failed ones included.
        iterations: parameters -> at which iteration a trial is complete; those of the reference are {}.
        make_spec: (label, parameters, seed) -> what Tune passes to the trainable.
        on_event: (event, run) with the events "started", "reported", "resumed", "restarted", "complete", "pruned" and
            "failed"; with several seeds also "judged", when the last one has made a trial complete, and "outpaced",
            when a trial gets no more seeds; with a population also "paused". Called after the study knows.
        seeds: that every trial is trained with.
        side_by_side: all seeds of a trial are run, at the same time where there is room; else one after the other,
            and a trial whose mean cannot reach that of the best any more gets no more of them.
        population: whose worst trials are replaced; the one of its members that is least advanced is run next, and one
            that reaches a rung makes room for those behind it. Without one trials are left to the study's pruner.
    """

    def __init__(
        self,
        study: optuna.Study,
        reference: optuna.Study | None,
        *,
        space: Space,
        known: Sequence[dict[str, Any]],
        num_trials: int,
        iterations: Callable[[dict[str, Any]], int],
        make_spec: Callable[[str, dict[str, Any], int], dict[str, Any]],
        on_event: Callable[[str, Run], None],
        seeds: Sequence[int] = (0,),
        side_by_side: bool = False,
        when: Conditions | None = None,
        objectives: Sequence[str] = (METRIC,),
        population: Population | None = None,
    ):
        super().__init__()
        self._study = study
        self._reference = reference
        self._space = space
        self._num_trials = num_trials
        self._iterations = iterations
        self._make_spec = make_spec
        self._on_event = on_event
        self._seeds = tuple(seeds)
        self._side_by_side = side_by_side
        self._when = when or {}
        self._objectives = tuple(objectives)
        self._prunes = len(self._objectives) == 1  # Optuna does not, with several
        self._population = population
        if population:
            population.end_replaced()
        self._runs: dict[str, Run] = {}
        self._queue: deque[Run] = deque()
        own = self._own_trials()
        for point in known[len(own) :]:  # a driver may have been killed before it had enqueued them all
            study.enqueue_trial(point)
        self._interrupted = [t for t in own if t.state == TrialState.RUNNING]
        self._num_started = sum(t.state != TrialState.WAITING for t in own)
        finished = reference is None or any(t.state.is_finished() for t in reference.get_trials(deepcopy=False))
        self._reference_pending = not finished

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Tune asks for a run: the reference first, then what was interrupted, then new ones."""
        while (run := self._next()) is not None:
            self._runs[trial_id] = run
            try:
                spec = self._make_spec(run.label, run.trial.params, run.seed)
            except ValueError as error:  # values that are valid one by one, but not together
                self.on_trial_complete(trial_id, {FAILED: str(error)})
                continue
            if self._population:
                spec |= self._population.spec(run.trial)
            self._set(run, "status", replicates.RUNNING)
            self._on_event("started", run)
            return spec
        # What runs now may be followed by a run with another seed, by a child, or by itself after a pause.
        return None if self._runs and (len(self._seeds) > 1 or self._population) else Searcher.FINISHED

    def report(self, trial_id: str, metrics: dict[str, float]) -> bool:
        """Takes a run's report into the study; says whether the run is to be stopped."""
        run = self._runs[trial_id]
        if METRIC not in metrics:  # a checkpoint between two evaluations
            return False
        again = run.iteration > 0 and metrics["iteration"] <= run.iteration
        resumed = again or (not run.reported and run.iteration > 0)
        run.metrics, run.reported = metrics, True
        trial, step, value, first = run.trial, run.iteration, metrics[METRIC], run.seed == self._seeds[0]
        if first and step not in run.steps and not math.isnan(value):
            if self._prunes:
                trial.report(value, step)
            else:
                replicates.note(trial, value, step)
            run.steps.add(step)
        self._set(run, "metrics", metrics)
        self._on_event("resumed" if resumed else "reported", run)
        judged = first and run.study is self._study and step < run.iterations
        if self._prunes and judged and not (run.prune or run.pause):
            self._judge(run)
        return run.prune or run.pause

    def _judge(self, run: Run) -> None:
        """Decides after a report of the search whether the run goes on."""
        if not self._population:
            run.prune = run.trial.should_prune()
            return
        run.prune = self._replace(run)
        if not self._population.is_rung(run.iteration):
            return
        # Those that wait may now be among the worst, and need not be run again to learn it.
        for other in [other for other in self._queue if other.study is self._study]:
            if self._replace(other):
                self._queue.remove(other)
                self._end(other, replicates.PRUNED)
        if not run.prune:
            behind = sum(other.iteration < run.iteration for other in self._queue)
            # Runs that are about to stop make room, too.
            stopping = sum(other.prune or other.pause for other in self._runs.values())
            run.pause = behind + len(self._interrupted) + self._has_place() > stopping

    def _replace(self, run: Run) -> bool:
        """Whether the population replaces a run; its child is queued."""
        child = self._num_started < self._num_trials and self._population.replace(run.trial, run.iteration)
        if not child:
            return False
        self._num_started += 1
        self._begin(optuna.Trial(self._study, child._trial_id))
        return True

    def note_error(self, trial_id: str, message: str, *, final: bool) -> None:
        """A run's process has failed, with this message; unless `final` Tune starts it again."""
        run = self._runs[trial_id]
        run.error = message
        if not final:
            self._on_event("restarted", run)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tune has ended a run. Not called for those that a stopped sweep leaves unfinished: they stay RUNNING."""
        run = self._runs.pop(trial_id)
        is_number = not math.isnan(run.metrics.get(METRIC, math.nan))
        failure = run.error if error else (result or {}).get(FAILED, "")
        if run.pause and not failure and not error:
            run.pause = run.reported = False
            self._queue.append(run)
            self._on_event("paused", run)
            return
        if not failure and run.prune:
            event = replicates.PRUNED
        elif not failure and not error and run.iteration >= run.iterations and is_number:
            event = replicates.COMPLETE
        else:
            event = replicates.FAILED
            run.error = failure or (
                f"{METRIC} is not a number"
                if run.iteration >= run.iterations
                else f"ended at iteration {run.iteration} of {run.iterations} without saying why"
            )
            self._set(run, "error", run.error)
        self._end(run, event)

    def _end(self, run: Run, event: str) -> None:
        """A run has ended like this."""
        self._set(run, "status", event)
        outcome = self._advance(run.study, run.trial)
        if self._population and run.study is self._study:
            self._population.clean(run.trial)
        self._on_event(event, run)
        if outcome:
            self._on_event(outcome, run)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study is saved at every change."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the study is the state."""

    def _next(self) -> Run | None:
        while self._wants_another() and self._begin_another():
            pass
        run = min(self._queue, key=lambda run: run.iteration if self._population else 0, default=None)
        if run:
            self._queue.remove(run)
        return run

    def _wants_another(self) -> bool:
        """Whether another trial is to be begun before one of the queue is run; new ones are the least advanced."""
        return all(run.iteration > 0 for run in self._queue) if self._population else not self._queue

    def _begin_another(self) -> bool:
        if self._reference_pending:
            self._reference_pending = False
            left = self._reference.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            trial = optuna.Trial(self._reference, left[0]._trial_id) if left else self._reference.ask()
            self._advance(self._reference, trial)
        elif self._interrupted:
            self._begin(optuna.Trial(self._study, self._interrupted.pop(0)._trial_id))
        elif self._has_place():
            self._num_started += 1
            self._begin(self._study.ask())
        else:
            return False
        return True

    def _has_place(self) -> bool:
        """Whether one more trial may be started that is nobody's child."""
        return self._num_started < self._num_trials and (not self._population or self._population.has_place())

    def _begin(self, trial: optuna.Trial) -> None:
        self._complete_params(trial)
        self._advance(self._study, trial)

    def _advance(self, study: optuna.Study, trial: optuna.Trial) -> str | None:
        """Queues the next replicates of a trial, or ends it; returns the event of the latter, with several seeds."""
        states = {seed: replicates.status(trial, seed, self._seeds) for seed in self._seeds}
        under_way = {run.seed for run in (*self._runs.values(), *self._queue) if run.trial is trial}
        to_do = [seed for seed, state in states.items() if state in (None, replicates.RUNNING)]
        scores = replicates.values(trial, self._seeds)
        num_scores = len(scores)
        if num_scores > 1 and self._prunes:
            iterations = self._iterations(trial.params)
            if num_scores * iterations not in _curve(trial):
                trial.report(replicates.mean(scores.values()), num_scores * iterations)
        given_up = False
        if study is self._study and not self._side_by_side:
            given_up = bool({replicates.FAILED, replicates.PRUNED} & set(states.values())) or (
                self._prunes and num_scores > 0 and not self._can_catch_up(list(scores.values()))
            )
            to_do = to_do[:1]
        if to_do and not given_up:
            self._queue.extend(self._run(study, trial, seed) for seed in to_do if seed not in under_way)
            return None
        if replicates.FAILED in states.values():
            if len(self._seeds) > 1:
                seed = next(seed for seed, state in states.items() if state == replicates.FAILED)
                trial.set_user_attr("error", f"seed {seed}: {replicates.error(trial, seed, self._seeds)}")
            study.tell(trial, state=TrialState.FAIL)
            return None
        if given_up:
            study.tell(trial, state=TrialState.PRUNED)
            return None if replicates.PRUNED in states.values() else "outpaced"
        study.tell(trial, replicates.means(trial, self._seeds, self._objectives))
        return "judged" if len(self._seeds) > 1 else None

    def _can_catch_up(self, scores: list[float]) -> bool:
        complete = [t.value for t in self._own_trials() if t.state == TrialState.COMPLETE]
        known = [*self._own_trials(), *(self._reference.get_trials(deepcopy=False) if self._reference else [])]
        spread = replicates.spread_between_seeds(list(replicates.values(t, self._seeds).values()) for t in known)
        return replicates.can_catch_up(scores, len(self._seeds), max(complete, default=-math.inf), spread)

    def _run(self, study: optuna.Study, trial: optuna.Trial, seed: int) -> Run:
        point = REFERENCE_LABEL if study is self._reference else f"{trial.number:04d}"
        return Run(
            label=point + replicates.suffix(seed, self._seeds),
            point=point,
            seed=seed,
            iterations=self._iterations(trial.params),
            study=study,
            trial=trial,
            metrics=replicates.metrics(trial, seed, self._seeds),
            steps=set(_curve(trial)),
        )

    def _set(self, run: Run, name: str, value: Any) -> None:
        run.trial.set_user_attr(name + replicates.suffix(run.seed, self._seeds), value)

    def _own_trials(self) -> list[optuna.trial.FrozenTrial]:
        return [trial for trial in self._study.get_trials(deepcopy=False) if replicates.is_own(trial)]

    def _complete_params(self, trial: optuna.Trial) -> None:
        """Gives `trial` the parameters that it lacks: all if it is new, some if its driver died while asking."""
        for key, d in self._space.items():
            if not is_active(key, trial.params, self._when):
                continue
            if isinstance(d, CategoricalDistribution):
                trial.suggest_categorical(key, d.choices)
            elif isinstance(d, optuna.distributions.IntDistribution):
                trial.suggest_int(key, d.low, d.high, step=d.step, log=d.log)
            else:
                trial.suggest_float(key, d.low, d.high, step=d.step, log=d.log)


def _curve(trial: optuna.Trial) -> dict[int, float]:
    """What the study holds of a trial's reports; read alone, for all trials together are many."""
    return replicates.curve(trial.storage.get_trial(trial._trial_id))
