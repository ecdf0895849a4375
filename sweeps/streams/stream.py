"""What becomes of the runs of a sweep, on its way to a tracking server."""

from __future__ import annotations

import hashlib
import importlib.util
import time
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any

from pgpc.config import flatten
from sweeps.common.names import REFERENCE_LABEL, Event, Kind, Status
from sweeps.definition.sweep import TABLE_ROW, Sweep
from sweeps.search.replicates import parent_of
from sweeps.search.searcher import Run
from sweeps.streams.outbox import Outbox
from sweeps.streams.tracker import TrackedRun, Tracker

PATIENCE = 15.0
"""Seconds that the end of a sweep waits for what has not reached the server yet."""


def check_package(log_to: str) -> None:
    """Check that the client of a tracking server is installed.

    Args:
        log_to: The server: "mlflow" or "wandb", or "none".

    Raises:
        ValueError: It is not; the message says how to install it.
    """
    if log_to != "none" and importlib.util.find_spec(log_to) is None:
        raise ValueError(
            f"--log-to {log_to} needs the package {log_to}, which is not installed. Run "
            f'`pip install "pgpc[{log_to}]"`, or leave --log-to out.'
        )


def make_tracker(sweep: Sweep) -> Tracker | None:
    """Return the client of the tracking server that a sweep is logged to, or None for a sweep that is not.

    Raises:
        ValueError: The package is missing, or its own settings name no server.
    """
    check_package(sweep.options.log_to)
    if sweep.options.log_to == "mlflow":
        from sweeps.streams.to_mlflow import MlflowTracker

        return MlflowTracker()
    if sweep.options.log_to == "wandb":
        from sweeps.streams.to_wandb import WandbTracker

        return WandbTracker(sweep.folder)
    return None


class Stream:
    """Tells a tracking server what happens to the runs of a sweep, without ever waiting for it, except at the end.

    It is to be entered while trials run. Runs that have not ended when it is left are interrupted.

    Args:
        tracker: The server's client; None tells nobody.
        sweep: The sweep, whose sweep.json has been written.
        say: Writes one line on the terminal.
    """

    def __init__(self, tracker: Tracker | None, sweep: Sweep | None, say: Callable[[str], None]) -> None:
        self._tracker, self._sweep, self._say = tracker, sweep, say
        self._outbox: Outbox | None = None
        self._identity = ""
        self._open: dict[str, TrackedRun] = {}
        self._told: dict[str, int] = {}
        """Label of a run -> the last iteration that the server knows of."""

    def __enter__(self) -> Stream:
        if self._tracker is not None and self._sweep is not None:
            self._identity = identity(self._sweep)
            self._outbox = Outbox(self._tracker.name, self._say)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for run in self._open.values():
            self._post("end", run, Status.INTERRUPTED, "")
        if self._outbox is not None:
            self._outbox.close(0.0 if kind is not None and issubclass(kind, KeyboardInterrupt) else PATIENCE)

    def __reduce__(self) -> tuple[type[Stream], tuple[None, None, Callable[[str], None]]]:
        # Tune keeps a copy of all that it is given, for a way of resuming that is not ours; a stream has none.
        return Stream, (None, None, print)

    def event(self, event: Event, run: Run) -> None:
        """Take an event of `StudySearcher`."""
        if self._outbox is None or event.concerns_trial:
            return
        tracked = self._open.get(run.label) or self._tracked(run)
        if event == Event.STARTED:
            self._open[run.label] = tracked
            # What the run has from an earlier driver, or from its parent, is there or does not belong to it.
            self._told.setdefault(run.label, run.iteration)
            self._post("begin", tracked)
        elif event in (Event.REPORTED, Event.RESUMED) and run.iteration > self._told.get(run.label, 0):
            self._told[run.label] = run.iteration
            metrics = {name: value for name, value in run.metrics.items() if name != "iteration"}
            self._post("report", tracked, run.iteration, metrics)
        elif event.ends_run:
            self._open.pop(run.label, None)
            self._post("end", tracked, Status(event.value), run.error)

    def _post(self, method: str, run: TrackedRun, *arguments: Any) -> None:
        if self._outbox is not None:
            self._outbox.post(partial(getattr(self._tracker, method), run, *arguments, when=time.time()))

    def _tracked(self, run: Run) -> TrackedRun:
        sweep = self._sweep
        assert sweep is not None, "a stream that tells somebody has a sweep"
        is_reference = run.trial_label == REFERENCE_LABEL
        tags = {
            "sweep": sweep.folder.name,
            "trial": run.trial_label,
            "seed": str(run.seed),
            "preset": sweep.options.preset,
            "kind": (Kind.REFERENCE if is_reference else Kind.SEARCH).value,
        }
        if parent := parent_of(run.trial):
            tags["parent"] = parent
        return TrackedRun(
            id=f"{run.label}-{self._identity}",
            label=run.label,
            sweep=sweep.folder.name,
            tags=tags,
            params=_params(sweep, run.trial.params),
        )


def identity(sweep: Sweep) -> str:
    """Return a word that tells a sweep from all others, also from one of the same name; resuming it keeps the word."""
    return hashlib.sha256(f"{sweep.folder.name} {sweep.origin}".encode()).hexdigest()[:8]


def _params(sweep: Sweep, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a trial by dotted key; of a row of the paper's tables, what the rows differ in."""
    if sweep.is_search:
        return dict(params)
    config = flatten(sweep.table_configs[params[TABLE_ROW]])
    return {**params, **{key: config[key] for key in sweep.compared if key != "seed"}}
