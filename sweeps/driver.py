"""The driver of a sweep: it runs what is left to run, and writes what has come out."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any, TextIO, cast

import ray

from pgpc.runtime.display import printable
from sweeps.common.commands import program, sweep_command
from sweeps.common.names import Event, Kind, Status
from sweeps.common.words import count
from sweeps.definition.folder import RESULTS_FILE
from sweeps.definition.options import SweepOptions
from sweeps.execution import resources, trunk
from sweeps.execution.capacity.checkpoints import Keeper
from sweeps.execution.storage_faults import STORAGE_ERRORS, RunSearcher, StorageFault, first_line, is_fault, remedy
from sweeps.execution.tune_run import Interruption, execute
from sweeps.execution.watch.silence import SilenceWatch
from sweeps.execution.watch.stop_signals import end_in_peace, exit_by_signals, leave_in_time, stop_gracefully
from sweeps.finalize import finish
from sweeps.preparation import Setup, describe, prepare
from sweeps.progress.outlet import Outlet
from sweeps.progress.plain import Terminal, resumed_text
from sweeps.progress.quiet import silence
from sweeps.progress.tensorboard import note_outcome
from sweeps.progress.terminals import open_terminal
from sweeps.progress.throttle import Throttle
from sweeps.reporting.write import attempt
from sweeps.results.labels import label_rows
from sweeps.results.outcome import Results
from sweeps.results.rows import Row, collect, write_parquet
from sweeps.search import schedulers
from sweeps.search.population import Population
from sweeps.search.samplers import find_sampler, make_sampler
from sweeps.search.searcher import Run, StudySearcher
from sweeps.search.study import open_studies, study_names
from sweeps.search.suggestions.informed import Informed
from sweeps.search.trial_spec import TrialSpec
from sweeps.search.verdicts import failures
from sweeps.search.warm_start import add_trials, open_earlier
from sweeps.streams.stream import Stream

REPEATED_FAILURES = 4
"""Exit code of a sweep that was stopped because its runs fail alike."""
_DUE = (Event.COMPLETE, Event.PRUNED, Event.FAILED, Event.OUTPACED)  # after these there is something new to write


def command(given: Mapping[str, Any], *, is_own_process: bool) -> int:
    """Run a sweep as the command does, and return the exit code.

    Args:
        given: The options that the user has given, by the names of the fields of `SweepOptions`.
        is_own_process: Whether this process does nothing else, and has done nothing before.
    """
    silence()
    with contextlib.ExitStack() as stack:
        errors = cast("TextIO", Outlet(sys.stderr))
        answer = cast("TextIO", Outlet(sys.stdout, lambda: print(_nobody_reads(), file=errors)))
        stack.enter_context(contextlib.redirect_stderr(errors))
        stack.enter_context(contextlib.redirect_stdout(errors if given.get("json") else answer))  # Ray, too, prints
        out = (errors if errors.isatty() else None) if given.get("json") else answer
        stack.callback(ray.shutdown)
        received = stack.enter_context(exit_by_signals())
        try:
            setup = prepare(given, stack, is_own_process=is_own_process)
        except (ValueError, OSError) as error:
            print(printable(f"{program(sweep_command())}: error: {error}"), file=sys.stderr)
            return 2
        if received:
            return 128 + received[0]
        try:
            return _drive(setup, out, answer)
        except StorageFault as fault:
            print(printable(str(fault)), file=sys.stderr)
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
        setup = prepare(given, stack, is_own_process=False)
        stdout = cast("TextIO", Outlet(sys.stdout))
        code = _drive(setup, None if quiet else stdout, io.StringIO() if quiet else stdout)
    if code == 128 + signal.SIGINT:
        folder = setup.sweep.folder
        resume = f"sweeps.run(resume={folder.name!r}, storage={str(folder.parent)!r})"
        raise KeyboardInterrupt(f"The sweep was stopped, and can be resumed: {resume}")
    if code in (128 + signal.SIGTERM, 128 + signal.SIGHUP):
        signal.raise_signal(code - 128)  # the sweep has had its time to end; the program has not heard of it yet
    return Results.read(setup.sweep.folder)


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
        sweep = setup.sweep
        if not (isinstance(error, StorageFault) or is_fault(error, sweep.folder)):
            raise
        raise StorageFault(remedy(first_line(error), sweep.folder, sweep.resume_command)) from error


def _nobody_reads() -> str:
    return (
        f"{program(sweep_command())}: nobody reads the standard output any more. The sweep goes on without it, and "
        "writes its results into its folder; Ctrl-C ends it."
    )


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
            self._sweep.folder,
            study_names(self._sweep.folder)[0],
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
            origin=self._sweep.origin,
        )
        self._trunks = trunk.TrunkStore.beside(self._sweep.folder, setup.workers)
        self._interruption = Interruption(self._options.time_budget)
        self._signals: list[int] = []
        rows = self._rows()
        self._failures = failures.RepeatedFailures(
            self._options.max_failures,
            has_ended_well=any(r.kind == Kind.SEARCH and r.status in (Status.COMPLETE, Status.PRUNED) for r in rows),
        )
        self._terminal: Terminal = open_terminal(out, self._sweep, rows)
        self._resumed = [resumed_text(rows, self._sweep.num_trials)] if self._sweep.drivers else []
        self._watch = SilenceWatch(self._terminal.say)
        self._keeper = Keeper(self._options.keep, self._sweep.trials_folder)
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
        signals = self._signals
        self._terminal.write("\n".join([describe(self._setup), *self._resumed, *self._setup.notes]))
        searcher = self._make_searcher()
        self._tell_searcher()
        with stop_gracefully(self._interruption, self._terminal.say, signals), self._terminal, self._stream:
            if self._options.share_trunk:
                trunk.provide_trunks(
                    self._trunks,
                    self._sweep,
                    execute=self._execute,
                    stopped=self._interruption.stop_all,
                    screen=self._terminal,
                    watch=self._watch,
                )
            if not self._interruption.stop_all():
                self._execute(searcher)
        if self._interruption.fault:
            raise StorageFault(self._interruption.fault)
        code = end_in_peace(lambda: self._finish(answer), received=signals)
        if saved := trunk.summary(self._trunks, self._sweep.folder):
            self._terminal.write(saved)
        if self._interruption.failures and not signals:
            told = failures.remedy(self._interruption.failures, self._sweep.resume_command)
            print(printable(told), file=sys.stderr)
            return REPEATED_FAILURES
        return code

    @property
    def _scheduled(self) -> SweepOptions:
        """The options with the scheduler of the trials; the rows of the paper's tables are trained to their ends."""
        return self._options if self._sweep.is_search else dataclasses.replace(self._options, scheduler="none")

    @property
    def _accepts_changed_data(self) -> bool:
        """Whether this driver, or one before it, was told to go on with other data: runs may still be of before."""
        return any(found.accepted for found in (*self._sweep.surroundings, self._setup.surroundings))

    def _execute(self, searcher: RunSearcher) -> None:
        address = ray.get_runtime_context().gcs_address
        with leave_in_time(
            self._interruption, is_gone=lambda: resources.is_gone(address), end=self._end_without_main_thread
        ):
            execute(searcher, self._interruption, self._setup.concurrency, self._sweep.folder, self._watch.look)

    def _finish(self, answer: TextIO | None = None) -> int:
        return finish(self._sweep, self._rows(), self._signals, self._terminal, answer or io.StringIO())

    def _end_without_main_thread(self) -> None:
        """Write the last results and end the process, since the main thread waits for a Ray that is gone."""
        self._terminal.__exit__(None, None, None)
        code = self._finish()
        sys.stdout.flush()
        os._exit(code)

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
            data=self._setup.surroundings.data,
            accept_changed_data=self._accepts_changed_data,
        )

    def _on_event(self, event: Event, run: Run) -> None:
        self._terminal.event(event, run)
        self._stream.event(event, run)
        self._watch_run(event, run)
        self._keeper.note(event, run)
        if event.ends_run:
            note_outcome(self._sweep.trials_folder / run.label, event, run, self._sweep.selection)
        self._interruption.note_failures(self._failures.note(event, run))
        for write in self._written:
            write(due=event in _DUE)

    def _watch_run(self, event: Event, run: Run) -> None:
        """Tell the watch of silent runs what has become of one."""
        if event in (Event.STARTED, Event.RESTARTED):
            self._watch.begin(run.label, self._sweep.trials_folder / run.label)
        elif event == Event.PAUSED or event.ends_run:
            self._watch.end(run.label)
        elif not event.concerns_trial:
            self._watch.heard(run.label)

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
