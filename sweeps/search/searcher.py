"""The search: an Optuna study that is the only truth about a sweep's trials, and Tune, which executes them.

A trial that is RUNNING in the study is one that somebody has started and nobody has ended. If its driver was killed it
stays so, and the next driver hands it out again: same number, same parameters, same directory, so that it resumes
from its checkpoint. Tune is always started afresh and is told nothing about the past.

With a population (see :mod:`sweeps.search.population`) a trial that has to wait for others is RUNNING, too.

A trial is trained once per seed, and judged on the mean; to Tune each of these runs is a trial of its own. The pruner
sees the curves of the first seed. Where trials are chosen by one metric, a study has it as Optuna's intermediate
values, too, and besides the mean over the first k seeds at k times the iterations of one, for k from 2 on. A mean rank
it has at the end of a trial only, among the trials that were complete then.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher

from sweeps.common import faults
from sweeps.common.names import METRIC, REFERENCE_LABEL, Event, Status
from sweeps.common.private_optuna import point_of, revive, stored
from sweeps.definition.objectives import COSTS
from sweeps.definition.selection import Selection
from sweeps.definition.space import Conditions, Space, is_active
from sweeps.search import replicates
from sweeps.search.population import Population
from sweeps.search.suggestions.points import without
from sweeps.search.trial_spec import FAILURE, TrialSpec
from sweeps.search.verdicts.scoring import final_reports, final_values, score_among


@dataclass(kw_only=True)
class Run:
    """A run that this driver is executing: the training of a trial of the study with one seed.

    Attributes:
        label: The run's own label.
        trial_label: The label of its trial; `label` itself where there is one seed.
        seed: The seed.
        iterations: The iteration at which it is complete.
        study: The study that its trial belongs to.
        trial: The trial.
        selection: What trials are chosen by.
        metrics: Its last report.
        rank_score: Where that is a mean rank, minus that of the last report, among all trials that had come as far
            when it was made; NaN before the first that this driver has had.
        prune: Whether it is to be stopped for good.
        pause: Whether it is to be stopped until others have come as far.
        error: Why it has failed, or why one of its processes has.
        reported: Whether this driver has had a report of it.
        steps: Iterations whose evaluation the study holds already, with numbers for what trials are chosen by.
    """

    label: str
    trial_label: str
    seed: int
    iterations: int
    study: optuna.Study
    trial: optuna.Trial
    selection: Selection
    metrics: dict[str, float] = field(default_factory=dict)
    rank_score: float = math.nan
    prune: bool = False
    pause: bool = False
    error: str = ""
    reported: bool = False
    steps: set[int] = field(default_factory=set)

    @property
    def iteration(self) -> int:
        """The optimizer steps done so far, as far as reported; 0 before the first report."""
        return int(self.metrics.get("iteration", 0))

    @property
    def score(self) -> float:
        """What trials are chosen by, of the last report, higher being better; NaN before the first."""
        if self.selection.is_rank:
            return self.rank_score
        return self.metrics.get(self.selection.metrics[0], math.nan)


class StudySearcher(Searcher):
    """Hands the trials of a study to Tune and writes what becomes of them back into the study.

    Args:
        study: The study of the search.
        reference: The study of the reference, which is run first, once per seed, and never stopped; None without one.
        space: What to search; every trial gets a value for each key whose condition it meets.
        known: Parameters of the first trials, in order; those that the study has already are not begun again.
        num_trials: Number of trials of the search, finished ones of earlier drivers and failed ones included.
        iterations: Gives the iteration at which a trial is complete for its parameters; the reference's are {}.
        make_spec: Gives what the training is told for a run's label, its parameters and its seed.
        on_event: Is told each event and the run it happens to, after the study knows. With several seeds the events
            JUDGED and OUTPACED are among them, with a population PAUSED.
        selection: What trials are chosen by.
        seeds: Seeds that every trial is trained with.
        side_by_side: Whether all seeds of a trial are run, at the same time where there is room; else one after the
            other, and a trial whose mean cannot reach that of the best any more gets no more of them; that is not known
            of a mean rank.
        when: The conditions of the space.
        objectives: Names of what a trial is judged on, as in the study; one that is no cost stands for what trials are
            chosen by. With several nothing is stopped early, and every trial gets all its seeds.
        population: The population whose worst trials are replaced; the one of its members that is least advanced is
            run next, and one that reaches a rung makes room for those behind it. Without one trials are left to the
            study's pruner.
    """

    def __init__(
        self,
        study: optuna.Study,
        reference: optuna.Study | None,
        *,
        space: Space,
        known: Sequence[dict[str, Any]],
        num_trials: int,
        iterations: Callable[[Mapping[str, Any]], int],
        make_spec: Callable[[str, dict[str, Any], int], TrialSpec],
        on_event: Callable[[Event, Run], None],
        selection: Selection,
        seeds: Sequence[int] = (0,),
        side_by_side: bool = False,
        when: Conditions | None = None,
        objectives: Sequence[str] = (METRIC,),
        population: Population | None = None,
    ) -> None:
        super().__init__()
        self._study = study
        self._reference = reference
        self._space = space
        self._num_trials = num_trials
        self._iterations = iterations
        self._make_spec = make_spec
        self._on_event = on_event
        self._selection = selection
        self._seeds = tuple(seeds)
        self._side_by_side = side_by_side
        self._when = when or {}
        self._objectives = tuple(objectives)
        self._prunes = len(self._objectives) == 1  # Optuna does not, with several
        self._has_values = self._prunes and not selection.is_rank  # which are comparable, whoever else there is
        self._population = population
        if population:
            population.end_replaced()
        self._runs: dict[str, Run] = {}
        self._queue: deque[Run] = deque()
        own = self._own_trials()
        for params in without(
            known, map(point_of, own)
        ):  # a driver may have been killed before it had enqueued them all
            study.enqueue_trial(params)
        self._interrupted = [t for t in own if t.state == TrialState.RUNNING]
        self._num_started = sum(t.state != TrialState.WAITING for t in own)
        finished = reference is None or any(t.state.is_finished() for t in reference.get_trials(deepcopy=False))
        self._reference_pending = not finished

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]  # Ray, too, returns texts
        """Return the next run for Tune: the reference first, then what was interrupted, then new ones.

        Args:
            trial_id: Tune's name for it.

        Returns:
            The plain data of its `TrialSpec`; None where there is none now, but may be one later; or Tune's word for
            the end.
        """
        while (run := self._next()) is not None:
            self._runs[trial_id] = run
            try:
                spec = self._make_spec(run.label, run.trial.params, run.seed)
            except ValueError as error:  # values that are valid one by one, but not together
                self.on_trial_complete(trial_id, {FAILURE: str(error)})
                continue
            if self._population:
                spec = replace(spec, parent=self._population.parent_folder(run.trial))
            replicates.set_status(run.trial, run.seed, self._seeds, Status.RUNNING)
            self._on_event(Event.STARTED, run)
            return spec.to_plain()
        # What runs now may be followed by a run with another seed, by a child, or by itself after a pause.
        return None if self._runs and (len(self._seeds) > 1 or self._population) else str(Searcher.FINISHED)

    def report(self, trial_id: str, metrics: dict[str, float]) -> bool:
        """Take a run's report into the study.

        Args:
            trial_id: Tune's name for the run.
            metrics: What the training has reported.

        Returns:
            Whether the run is to be stopped.
        """
        run = self._runs[trial_id]
        if not replicates.is_evaluation(metrics):  # a checkpoint between two evaluations
            return False
        again = run.iteration > 0 and metrics["iteration"] <= run.iteration
        resumed = again or (not run.reported and run.iteration > 0)
        run.metrics, run.reported = metrics, True
        step, first = run.iteration, run.seed == self._seeds[0]
        new = first and step not in run.steps
        if new:
            if self._has_values and self._selection.has(metrics):
                run.trial.report(metrics[self._selection.metrics[0]], step)
            replicates.add_to_curves(run.trial, metrics)
            run.steps |= {step} if self._selection.has(metrics) else set()
        replicates.set_metrics(run.trial, run.seed, self._seeds, metrics)
        if self._selection.is_rank:
            run.rank_score = self._rank_score(run)
        self._on_event(Event.RESUMED if resumed else Event.REPORTED, run)
        judged = first and run.study is self._study and step < run.iterations
        if self._prunes and judged and not (run.prune or run.pause):
            self._judge(run, new)
        return run.prune or run.pause

    def _rank_score(self, run: Run) -> float:
        if not self._selection.has(run.metrics):
            return math.nan
        others = [t for t in self._own_trials() if run.study is not self._study or t.number != run.trial.number]
        return score_among(run.metrics, run.iteration, others, self._selection)

    def _judge(self, run: Run, new: bool) -> None:
        """Decide after a report of the search whether the run goes on.

        Args:
            run: The run.
            new: Whether it is its first report of that iteration. A pruner has judged it otherwise, when there were
                others to compare with.
        """
        if not self._population:
            run.prune = new and run.trial.should_prune()
            return
        run.prune = self._replace(self._population, run)
        if not self._population.is_rung(run.iteration):
            return
        # Those that wait may now be among the worst, and need not be run again to learn it.
        for other in [other for other in self._queue if other.study is self._study]:
            if self._replace(self._population, other):
                self._queue.remove(other)
                self._end(other, Status.PRUNED)
        if not run.prune:
            behind = sum(other.iteration < run.iteration for other in self._queue)
            # Runs that are about to stop make room, too.
            stopping = sum(other.prune or other.pause for other in self._runs.values())
            run.pause = behind + len(self._interrupted) + self._has_free_slot() > stopping

    def _replace(self, population: Population, run: Run) -> bool:
        """Return whether the population replaces a run; its child is then queued."""
        child = population.replace(run.trial, run.iteration) if self._num_started < self._num_trials else None
        if child is None:
            return False
        self._num_started += 1
        self._begin(revive(self._study, child))
        return True

    def note_error(self, trial_id: str, message: str, *, final: bool) -> None:
        """Take note that a run's process has failed.

        Args:
            trial_id: Tune's name for the run.
            message: Why it has failed.
            final: Whether Tune gives the run up; else it starts the run again.
        """
        run = self._runs[trial_id]
        run.error = message
        if not final:
            self._on_event(Event.RESTARTED, run)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Take note that Tune has ended a run.

        Tune does not call it for runs that a stopped sweep leaves unfinished: they stay RUNNING.

        Args:
            trial_id: Tune's name for the run.
            result: Its last report, or why it cannot succeed.
            error: Whether its process was lost.
        """
        run = self._runs.pop(trial_id)
        failure = run.error if error else (result or {}).get(FAILURE, "")
        if run.pause and not failure and not error:
            run.pause = run.reported = False
            self._queue.append(run)
            self._on_event(Event.PAUSED, run)
            return
        if not failure and run.prune:
            status = Status.PRUNED
        elif not failure and not error and run.iteration >= run.iterations and self._selection.has(run.metrics):
            status = Status.COMPLETE
        else:
            status = Status.FAILED
            run.error = failure or self._shortcoming(run)
            replicates.set_error(run.trial, run.seed, self._seeds, run.error)
            if faults.diverged(failure) or (not failure and self._has_nan(run)):
                replicates.set_diverged(run.trial)
        self._end(run, status)

    def _has_nan(self, run: Run) -> bool:
        """Return whether something that trials are chosen by is NaN in the last report of a run that is through."""
        found = [run.metrics.get(name, 0.0) for name in self._selection.metrics]
        return run.iteration >= run.iterations and any(map(math.isnan, found))

    def _shortcoming(self, run: Run) -> str:
        """Return why a run that has ended without an error is not complete."""
        if run.iteration < run.iterations:
            return f"ended at iteration {run.iteration} of {run.iterations} without saying why"
        missing = next((name for name in self._selection.metrics if name not in run.metrics), None)
        if missing is not None:
            return f"{missing} was not reported, by which trials are chosen"
        return f"{next(n for n in self._selection.metrics if math.isnan(run.metrics[n]))} is not a number"

    def _end(self, run: Run, status: Status) -> None:
        """Take note of what has become of a run."""
        replicates.set_status(run.trial, run.seed, self._seeds, status)
        verdict = self._advance(run.study, run.trial)
        if self._population and run.study is self._study:
            self._population.clean(run.trial)
        self._on_event(Event(status.value), run)
        if verdict:
            self._on_event(verdict, run)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the study is saved at every change."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: the study is the state."""

    def _next(self) -> Run | None:
        while self._wants_another() and self._begin_another():
            pass
        run = min(self._queue, key=lambda run: run.iteration if self._population else 0, default=None)
        if run:
            self._queue.remove(run)
        return run

    def _wants_another(self) -> bool:
        """Return whether another trial is to be begun before one of the queue is run.

        New ones are the least advanced.
        """
        return all(run.iteration > 0 for run in self._queue) if self._population else not self._queue

    def _begin_another(self) -> bool:
        if self._reference is not None and self._reference_pending:
            self._reference_pending = False
            left = self._reference.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            trial = revive(self._reference, left[0]) if left else self._reference.ask()
            self._advance(self._reference, trial)
        elif self._interrupted:
            self._begin(revive(self._study, self._interrupted.pop(0)))
        elif self._has_free_slot():
            self._num_started += 1
            self._begin(self._study.ask())
        else:
            return False
        return True

    def _has_free_slot(self) -> bool:
        """Return whether one more trial may be started that is nobody's child."""
        return self._num_started < self._num_trials and (not self._population or self._population.has_free_slot())

    def _begin(self, trial: optuna.Trial) -> None:
        self._complete_params(trial)
        self._advance(self._study, trial)

    def _advance(self, study: optuna.Study, trial: optuna.Trial) -> Event | None:
        """Queue the next runs of a trial, or end the trial.

        Returns:
            What has happened to the trial as a whole, with several seeds; else None.
        """
        states = {seed: replicates.status(trial, seed, self._seeds) for seed in self._seeds}
        scores = list(self._scores(trial).values())
        self._report_mean(trial, scores)
        to_do = [seed for seed, state in states.items() if state in (None, Status.RUNNING)]
        given_up = False
        if study is self._study and not self._side_by_side:
            given_up = bool({Status.FAILED, Status.PRUNED} & set(states.values())) or (
                self._has_values and bool(scores) and not self._can_catch_up(scores)
            )
            to_do = to_do[:1]
        if to_do and not given_up:
            under_way = {run.seed for run in (*self._runs.values(), *self._queue) if run.trial is trial}
            self._queue.extend(self._run(study, trial, seed) for seed in to_do if seed not in under_way)
            return None
        if Status.FAILED in states.values():
            if len(self._seeds) > 1:
                seed = next(seed for seed, state in states.items() if state == Status.FAILED)
                message = f"seed {seed}: {replicates.error(trial, seed, self._seeds)}"
                replicates.set_trial_error(trial, message)
            study.tell(trial, state=TrialState.FAIL)
            return None
        if given_up:
            study.tell(trial, state=TrialState.PRUNED)
            return None if Status.PRUNED in states.values() else Event.OUTPACED
        study.tell(trial, self._final_values(study, trial))
        return Event.JUDGED if len(self._seeds) > 1 else None

    def _final_values(self, study: optuna.Study, trial: optuna.Trial) -> list[float]:
        costs = [name for name in self._objectives if name in COSTS]
        report = replicates.means(trial, self._seeds, (*self._selection.metrics, *costs))
        others = final_reports(study.get_trials(deepcopy=False), self._seeds, self._selection)
        return final_values(report, others, self._selection, self._objectives)

    def _scores(self, trial: FrozenTrial | optuna.Trial) -> dict[int, float]:
        """Return, where trials are chosen by one metric, that of each complete run of a trial, by seed."""
        return {} if self._selection.is_rank else replicates.values(trial, self._seeds, self._selection.metrics[0])

    def _report_mean(self, trial: optuna.Trial, scores: Sequence[float]) -> None:
        """Tell the study the mean over these seeds of a trial, once."""
        if len(scores) > 1 and self._has_values:
            step = len(scores) * self._iterations(trial.params)
            if step not in stored(trial).intermediate_values:
                trial.report(replicates.mean(scores), step)

    def _can_catch_up(self, scores: list[float]) -> bool:
        complete = [t.values[0] for t in self._own_trials() if t.state == TrialState.COMPLETE]
        known = [*self._own_trials(), *(self._reference.get_trials(deepcopy=False) if self._reference else [])]
        spread = replicates.spread_between_seeds(list(self._scores(t).values()) for t in known)
        return replicates.can_catch_up(scores, len(self._seeds), max(complete, default=-math.inf), spread)

    def _run(self, study: optuna.Study, trial: optuna.Trial, seed: int) -> Run:
        label = REFERENCE_LABEL if study is self._reference else f"{trial.number:04d}"
        return Run(
            label=label + replicates.suffix(seed, self._seeds),
            trial_label=label,
            seed=seed,
            iterations=self._iterations(trial.params),
            study=study,
            trial=trial,
            selection=self._selection,
            metrics=replicates.metrics(trial, seed, self._seeds),
            steps={i for i, report in replicates.curves(stored(trial)).items() if self._selection.has(report)},
        )

    def _own_trials(self) -> list[FrozenTrial]:
        return [trial for trial in self._study.get_trials(deepcopy=False) if replicates.is_own(trial)]

    def _complete_params(self, trial: optuna.Trial) -> None:
        """Give `trial` the parameters that it lacks: all if it is new, some if its driver died while asking."""
        for key, d in self._space.items():
            if not is_active(key, trial.params, self._when):
                continue
            if isinstance(d, CategoricalDistribution):
                trial.suggest_categorical(key, d.choices)
            elif isinstance(d, IntDistribution):
                trial.suggest_int(key, d.low, d.high, step=d.step, log=d.log)
            else:
                assert isinstance(d, FloatDistribution), f"unknown kind: {d}"
                trial.suggest_float(key, d.low, d.high, step=d.step, log=d.log)
