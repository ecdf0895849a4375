"""The driver of a sweep: it checks what was asked for, runs what is left to run, and writes what has come out."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TextIO

import ray

from pgpc.bases import make_base
from pgpc.bases.state import check_feature_distance
from pgpc.data.domains import check_pair
from pgpc.models import check_model
from sweeps.common.faults import cannot_write, chain
from sweeps.common.names import REFERENCE_LABEL, Event, Kind, Status
from sweeps.common.private_optuna import reopen_failed
from sweeps.common.words import count, listed
from sweeps.definition.confirmation import confirmation_of
from sweeps.definition.folder import RESULTS_FILE, is_running, own_folder
from sweeps.definition.objectives import check_workers
from sweeps.definition.options import SweepOptions
from sweeps.definition.planning import found_sweep, new_sweep, resumed_sweep
from sweeps.definition.selection import DEFAULT_SELECTION
from sweeps.definition.space import complete_params
from sweeps.definition.sweep import Sweep
from sweeps.execution import resources, trunk
from sweeps.execution.storage_faults import STORAGE_ERRORS, RunSearcher, StorageFault, first_line, remedy
from sweeps.execution.tune_run import Interruption, execute, stop_gracefully
from sweeps.finalize import finish
from sweeps.progress.plain import Terminal
from sweeps.progress.quiet import silence
from sweeps.progress.tensorboard import note_outcome
from sweeps.progress.terminals import open_terminal
from sweeps.progress.throttle import Throttle
from sweeps.reporting.write import attempt
from sweeps.results.labels import label_rows
from sweeps.results.outcome import Results
from sweeps.results.rows import Row, collect, write_parquet
from sweeps.search import replicates, schedulers
from sweeps.search.population import Population, check_population
from sweeps.search.samplers import check_sampler, find_sampler, make_sampler
from sweeps.search.searcher import Run, StudySearcher
from sweeps.search.study import begun_points, check_study, open_studies, study_file, study_names, study_url
from sweeps.search.suggestions import points
from sweeps.search.suggestions.informed import Informed
from sweeps.search.trial_spec import TrialSpec, Workers
from sweeps.search.verdicts import failures
from sweeps.search.warm_start import add_trials, check_warm_start, open_earlier, read_params
from sweeps.streams.stream import Stream, check_package, make_tracker
from sweeps.streams.tracker import Tracker

REPEATED_FAILURES = 4
"""Exit code of a sweep that was stopped because its runs fail alike."""
_MANY = 6  # rungs that are too many to be listed
_DUE = (Event.COMPLETE, Event.PRUNED, Event.FAILED, Event.OUTPACED)  # after these there is something new to write


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A sweep that has been checked and can be run.

    Attributes:
        sweep: The sweep; its sweep.json is written.
        workers: The workers of every run.
        concurrency: The number of runs at the same time.
        points: Parameters of the trials that are to be begun next, which need no search.
        notes: Sentences on what is done otherwise than it was asked for.
        tracker: The client of the tracking server that the sweep is logged to; None for a sweep that is not.
    """

    sweep: Sweep
    workers: Workers
    concurrency: int
    points: list[dict[str, Any]]
    notes: list[str] = dataclasses.field(default_factory=list)
    tracker: Tracker | None = None


def command(given: Mapping[str, Any]) -> int:
    """Run a sweep as the command does, and return the exit code.

    Args:
        given: The options that the user has given, by the names of the fields of `SweepOptions`.
    """
    silence()
    answer = sys.stdout
    with contextlib.ExitStack() as stack:
        if given.get("json"):
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))  # Ray, too, prints
            out = sys.stderr if sys.stderr.isatty() else None
        else:
            out = sys.stdout
        stack.callback(ray.shutdown)
        try:
            setup = prepare(given, stack)
        except (ValueError, OSError) as error:
            print(f"run_ablation.py: error: {error}", file=sys.stderr)
            return 2
        try:
            return _drive(setup, out, answer)
        except StorageFault as fault:
            print(fault, file=sys.stderr)
            return 3


def run(given: Mapping[str, Any], *, quiet: bool) -> Results:
    """Run a sweep for another program; see :func:`sweeps.run`.

    Args:
        given: The options that the program has given, by the names of the fields of `SweepOptions`.
        quiet: Whether nothing is written to the terminal.
    """
    if ray.is_initialized():
        raise ValueError(
            "Ray must not be running in this process, since a sweep starts and ends it, but it is. Call "
            "ray.shutdown() first, or run the sweep in another process."
        )
    silence()
    with contextlib.ExitStack() as stack:
        stack.callback(ray.shutdown)
        setup = prepare(given, stack)
        code = _drive(setup, None if quiet else sys.stdout, io.StringIO() if quiet else sys.stdout)
    if code == 128 + signal.SIGINT:
        folder = setup.sweep.folder
        resume = f"sweeps.run(resume={folder.name!r}, storage={str(folder.parent)!r})"
        raise KeyboardInterrupt(f"The sweep was stopped, and can be resumed: {resume}")
    if code == 128 + signal.SIGTERM:
        signal.raise_signal(signal.SIGTERM)  # the sweep has had its time to end; the program has not heard of it yet
    return Results.read(setup.sweep.folder)


def prepare(given: Mapping[str, Any], stack: contextlib.ExitStack) -> Setup:
    """Check all that can be checked before a worker starts, cheap things first, and write sweep.json.

    Args:
        given: The options that the user has given, by the names of the fields of `SweepOptions`.
        stack: Holds the lock on the sweep's folder, until the sweep is over.

    Raises:
        ValueError: The user must change something; the message says what.
        OSError: A file cannot be read.
    """
    sweep = _described_sweep(given)
    options = sweep.options
    check_package(options.log_to)
    _check_configs(sweep)
    enqueued = complete_params(read_params(options.enqueue), sweep.config, sweep.space, sweep.when)
    _check_scheduler(sweep)
    if options.population is not None:
        num_enqueued = len(enqueued) + len(sweep.known)
        check_population(options, sweep.config, sweep.space, sweep.when, num_enqueued)
    if options.warm_start:
        check_warm_start(sweep.selection)
        open_earlier(options.warm_start, sweep.objectives)
    stack.enter_context(own_folder(sweep.folder))
    if given.get("resume") is not None:
        check_study(sweep.folder)
    for data, share in {(config.data, config.evaluation.report_share) for config in sweep.configs}:
        check_pair(data, share)
    tracker = make_tracker(sweep)
    resources.connect(options.address)
    nodes = resources.nodes()
    workers = resources.default_workers(nodes, options.workers, options.cpus_per_worker, options.gpus_per_worker)
    check_workers(sweep.objectives, workers.gpus)
    slots = resources.trial_slots(nodes, workers)
    if (options.concurrency or 0) > slots:
        raise ValueError(f"--concurrency must be at most {slots}, which is what fits, but got {options.concurrency}.")
    notes = _reopen(sweep) if given.get("resume") is not None else []
    begun, exhaustive = begun_points(sweep.folder), sweep.is_search and options.search == "grid"
    agenda = points.plan(begun, sweep.known, enqueued, sweep.num_trials, exhaustive=exhaustive)
    if sweep.is_search:
        sweep = dataclasses.replace(sweep, options=dataclasses.replace(options, trials=agenda.num_trials))
    sweep.save()
    concurrency = options.concurrency or min(slots, sweep.num_trials * len(sweep.seeds))
    return Setup(
        sweep=sweep,
        workers=workers,
        concurrency=concurrency,
        points=agenda.points,
        notes=[*notes, *agenda.notes],
        tracker=tracker,
    )


def _check_scheduler(sweep: Sweep) -> None:
    """Check what the scheduler of a search is to do with its trials."""
    options, first = sweep.options, sweep.options.first_rung
    schedulers.make_pruner(options, sweep.config, sweep.selection)
    early = first is not None and first <= sweep.config.contrast.start
    if early and trunk.refusal(sweep.config, list(sweep.space)) is None:
        raise ValueError(
            f"--first-rung must be more than {sweep.config.contrast.start}, contrast.start, because the trials of this "
            f"search are alike until then, but got {first}. Give more, or change contrast.start with --set."
        )
    if options.retry_failed and options.population is not None:
        raise ValueError(
            "--retry-failed trains failed trials again, but with --scheduler pbt others have taken their places. Leave "
            "it out."
        )


def _reopen(sweep: Sweep) -> list[str]:
    """Have a failed base trained again, and the failed trials if that is asked for; return what to say about it."""
    name, reference = study_names(sweep.folder)
    wanted = {"base": reference} if sweep.is_search else {}
    wanted |= {"trials": name} if sweep.options.retry_failed else {}
    found = {what: reopen_failed(study_file(sweep.folder), n, replicates.is_of_failure) for what, n in wanted.items()}
    labels = [*["base"] * bool(found.get("base")), *(f"{number:04d}" for number in found.get("trials", ()))]
    return [f"Failed before, and trained again: {listed(labels)}."] if labels else []


def _described_sweep(given: Mapping[str, Any]) -> Sweep:
    """Return the sweep that the options describe, or the one that they resume."""
    if given.get("resume") is not None:
        return _confirmation(given) if given.get("confirm") is not None else resumed_sweep(given)
    options = schedulers.settle_scheduler(SweepOptions.from_given(given))
    check_sampler(options)
    return new_sweep(options)


def _confirmation(given: Mapping[str, Any]) -> Sweep:
    """Return the confirmation of the sweep that the options name, a new one or one that was begun."""
    sweep = found_sweep(given)
    if sweep.confirms:
        return resumed_sweep(given)
    if is_running(sweep.folder):
        raise ValueError(f"--confirm must name a sweep that has ended, but {sweep.folder.name!r} runs. Wait for it.")
    trials = [trial for trial in Results.read(sweep.folder).trials if trial.is_ranked and trial.score is not None]
    trials.sort(key=lambda trial: -(trial.score or 0.0))
    return confirmation_of(sweep, {trial.label: trial.params for trial in trials}, given)


def _check_configs(sweep: Sweep) -> None:
    """Check that every config of the sweep can be trained by its workers."""
    for config in sweep.configs:
        if config.training.batch_size % sweep.options.workers:
            raise ValueError(
                f"training.batch_size ({config.training.batch_size}) must be divisible by --workers, "
                f"but got {sweep.options.workers}. Change --workers or --set training.batch_size=..."
            )
        make_base(config)
        check_model(config.model)
        check_feature_distance(config)
    check_sampler(sweep.options)


def _drive(setup: Setup, out: TextIO | None, answer: TextIO) -> int:
    """Run what is left of a sweep and write its results.

    Args:
        setup: The sweep, checked.
        out: Where to say what happens; None keeps quiet.
        answer: Where the results go as JSON, if that is asked for.

    Returns:
        The exit code.

    Raises:
        StorageFault: The results cannot be written; the text says what to do.
    """
    try:
        return Driver(setup, out).run(answer)
    except (StorageFault, *STORAGE_ERRORS) as error:
        if not (isinstance(error, StorageFault) or cannot_write(chain(error))):
            raise
        sweep = setup.sweep
        raise StorageFault(remedy(first_line(error), sweep.folder, sweep.resume_command)) from error


class Driver:
    """Runs what is left of a sweep.

    Args:
        setup: The sweep, checked.
        out: Where to say what happens; None keeps quiet.
    """

    def __init__(self, setup: Setup, out: TextIO | None) -> None:
        self._setup, self._sweep = setup, setup.sweep
        self._options, config = self._sweep.options, self._sweep.config
        # Each driver continues the random numbers elsewhere, or a resumed search would suggest again what it has tried.
        seed = config.seed + 1000 * len(self._sweep.drivers)
        # The paper's tables have bases of their own.
        sampler = make_sampler(self._options.search, seed=seed, num_trials=self._sweep.num_trials)
        self._study, self._reference = open_studies(
            study_url(self._sweep.folder),
            self._sweep.folder.name,
            Informed(
                sampler,
                ranks_pruned=find_sampler(self._options.search).ranks_pruned,
                selection=self._sweep.selection,
                seeds=self._sweep.seeds,
                objectives=self._sweep.objectives,
            ),
            schedulers.make_pruner(self._scheduled, config, self._sweep.selection),
            objectives=self._sweep.objectives,
            reference=self._sweep.is_search,
        )
        self._trunks = trunk.TrunkStore.beside(self._sweep.folder, setup.workers)
        self._interruption = Interruption(self._options.time_budget)
        rows = self._rows()
        self._failures = failures.RepeatedFailures(
            self._options.max_failures,
            has_ended_well=any(r.kind == Kind.SEARCH and r.status in (Status.COMPLETE, Status.PRUNED) for r in rows),
        )
        self._terminal: Terminal = open_terminal(out, self._sweep, rows)
        self._stream = Stream(setup.tracker, self._sweep, self._terminal.say_once)
        # Both take longer the more trials there are.
        self._written = (
            Throttle(self._write_rows, share=0.05),
            Throttle(self._write_report, share=0.05, pause=30),
        )

    def run(self, answer: TextIO) -> int:
        """Run what is left of the sweep and write its results.

        Args:
            answer: Where the results go as JSON, if that is asked for.

        Returns:
            The exit code.

        Raises:
            StorageFault: The results cannot be written; the text says why.
        """
        signals: list[int] = []
        self._terminal.write("\n".join([describe(self._setup), *self._setup.notes]))
        searcher = self._make_searcher()
        self._tell_searcher()
        with stop_gracefully(self._interruption, self._terminal.say, signals), self._terminal, self._stream:
            if self._options.share_trunk:
                trunk.provide_trunks(
                    self._trunks,
                    self._sweep,
                    execute=self._execute,
                    stopped=self._interruption.stop_all,
                    say=self._terminal.say,
                )
            if not self._interruption.stop_all():
                self._execute(searcher)
        if self._interruption.fault:
            raise StorageFault(self._interruption.fault)
        code = finish(self._sweep, self._rows(), signals, self._terminal, answer)
        if saved := trunk.summary(self._trunks, self._sweep.folder):
            self._terminal.write(saved)
        if self._interruption.failures and not signals:
            print(failures.remedy(self._interruption.failures, self._sweep.resume_command), file=sys.stderr)
            return REPEATED_FAILURES
        return code

    @property
    def _scheduled(self) -> SweepOptions:
        """The options with the scheduler of the trials; the rows of the paper's tables are trained to their ends."""
        return self._options if self._sweep.is_search else dataclasses.replace(self._options, scheduler="none")

    def _execute(self, searcher: RunSearcher) -> None:
        execute(searcher, self._interruption, self._setup.concurrency, self._sweep.folder)

    def _make_searcher(self) -> StudySearcher:
        sweep = self._sweep
        population = None
        if self._options.population is not None:
            population = Population(
                self._study,
                space=sweep.space,
                selection=sweep.selection,
                size=self._options.population,
                rungs=schedulers.rungs(self._scheduled, sweep.config),
                iterations=sweep.config.training.iterations,
                seed=sweep.config.seed,
                trials=sweep.trials_folder,
            )
        return StudySearcher(
            self._study,
            self._reference,
            space=sweep.space,
            known=self._setup.points,
            num_trials=sweep.num_trials,
            iterations=sweep.iterations,
            make_spec=self._make_spec,
            on_event=self._on_event,
            selection=sweep.selection,
            seeds=sweep.seeds,
            side_by_side=not sweep.is_search,
            when=sweep.when,
            objectives=sweep.objectives,
            population=population,
        )

    def _tell_searcher(self) -> None:
        """Tell the study about the trials of an earlier one."""
        where = self._options.warm_start
        if where:
            old = open_earlier(where, self._sweep.objectives)
            fitting, complete = add_trials(self._study, old, self._sweep.space, self._sweep.when)
            self._terminal.write(
                f"The search is told about {fitting} of the {count(complete, 'complete trial')} of {where}, "
                "those that lie in its space."
            )

    def _make_spec(self, label: str, params: dict[str, Any], seed: int) -> TrialSpec:
        config = self._sweep.trial_config(params, seed)
        return TrialSpec(
            label=label,
            config=config,
            directory=self._sweep.trials_folder / label,
            workers=self._setup.workers,
            trunk=self._trunks.find(config) if self._options.share_trunk else None,
            compared=self._sweep.compared,
        )

    def _on_event(self, event: Event, run: Run) -> None:
        self._terminal.event(event, run)
        self._stream.event(event, run)
        if event.ends_run:
            note_outcome(self._sweep.trials_folder / run.label, event, run, self._sweep.selection)
        self._interruption.note_failures(self._failures.note(event, run))
        for write in self._written:
            write(due=event in _DUE)

    def _rows(self, *, alive: bool = False) -> list[Row]:
        sweep = self._sweep
        found = collect(self._study, self._reference, results=sweep.folder, seeds=sweep.seeds, alive=alive)
        return label_rows(sweep, found)

    def _write_rows(self) -> None:
        try:
            write_parquet(self._rows(alive=True), self._sweep.folder / RESULTS_FILE)
        except OSError as error:  # what matters is in the study; the next event tries again
            self._terminal.say_once(f"{RESULTS_FILE} could not be written: {error}")

    def _write_report(self) -> None:
        if self._sweep.confirms:  # the report is that of the sweep that is confirmed, and has pictures to keep
            return
        attempt(self._sweep.folder, self._terminal.say_once, images=0)


def describe(setup: Setup) -> str:
    """Return what the sweep is going to do, and where, in a few lines."""
    sweep, options = setup.sweep, setup.sweep.options
    if sweep.is_search:
        what = f"a search of {count(sweep.num_trials, 'trial')} around the preset {options.preset}"
        how = f"\nHow: search {options.search}, scheduler {schedulers.in_words(options)}{_places(sweep)}"
        if len(sweep.objectives) > 1:
            how += f", objectives {listed(sweep.objectives)}"
    elif sweep.confirms:
        best = listed([label for label in sweep.confirms if label != REFERENCE_LABEL])
        what, how = f"the confirmation of {sweep.report_folder.name}, its base and its best trials {best} anew", ""
    else:
        numbers = listed([str(number) for number in options.table or ()])
        what = f"the {count(sweep.num_trials, 'config')} of the paper's tables {numbers} around {options.preset}"
        how = ""
    lengths = " or ".join(str(n) for n in sorted({config.training.iterations for config in sweep.configs}))
    seeds = f", with each of the seeds {listed([str(s) for s in sweep.seeds])}" if len(sweep.seeds) > 1 else ""
    stream = f"\nLogged to {setup.tracker.name}: {setup.tracker.place}" if setup.tracker else ""
    return (
        f"Sweep {sweep.folder.name}: {what}, {lengths} iterations each{seeds}{how}\n"
        f"On: {setup.workers} per run, {count(setup.concurrency, 'run')} at a time\n"
        f"Chosen by: {_chosen_by(sweep)}\n"
        f"Results in {sweep.folder}\nTo watch: tensorboard --logdir {sweep.trials_folder}{stream}"
    )


def _chosen_by(sweep: Sweep) -> str:
    """Return what the trials of a sweep are chosen by, and what that means."""
    selection = sweep.selection
    if selection.needs_labels:
        return (
            f"{selection.text}, which takes labels of the target: as the paper and the field do, and optimistic. "
            "--select-by names criteria without"
        )
    default = ", the default where the target has no labels" if selection.text == DEFAULT_SELECTION else ""
    return f"{selection.text}{default}; no label of the target is used"


def _places(sweep: Sweep) -> str:
    """Return at which iterations the scheduler of a search compares trials."""
    rungs = [str(rung) for rung in schedulers.rungs(sweep.options, sweep.config)]
    if rungs:
        return f" at {listed(rungs if len(rungs) < _MANY else [rungs[0], '..', rungs[-1]])}"
    if schedulers.find_scheduler(sweep.options.scheduler).options:
        return " (which stops no trial: there is no evaluation between contrast.start and the end)"
    return ""
