"""What ends a sweep, and what its searcher hears of processes that fail; without Tune."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.experiment import Trial

from sweeps.execution import tune_run
from sweeps.execution.tune_run import Interruption, PrunerScheduler
from sweeps.search.trial_spec import REPORT
from tests.helpers.tune_trials import tune_trial


def test_a_sweep_ends_when_its_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(tune_run.time, "monotonic", lambda: now)
    limited, unlimited = Interruption(60.0), Interruption(None)
    assert not limited.stop_all()
    now = 1059.0
    assert not limited.stop_all()
    now = 1060.0
    assert limited.stop_all() and not unlimited.stop_all()


def test_a_sweep_ends_when_somebody_asks_or_something_is_wrong_and_the_first_cause_is_told() -> None:
    asked, full, failing = (Interruption(None) for _ in range(3))
    asked.requested = True
    for fault in ("the disk is full", "what came of it"):
        full.note_fault(fault)
    failing.note_failures("")
    assert not failing.stop_all(), "nothing is wrong yet"
    for failures in ("3 runs failed alike", "4 runs failed alike"):
        failing.note_failures(failures)
    assert all(interruption.stop_all() for interruption in (asked, full, failing))
    assert (full.fault, failing.failures) == ("the disk is full", "3 runs failed alike")
    assert not asked("a", {}), "single runs are not stopped here"


def test_a_process_that_is_started_again_is_no_failure_of_its_run() -> None:
    heard: list[tuple[str, bool]] = []
    searcher: Any = SimpleNamespace(note_error=lambda trial, message, *, final: heard.append((message, final)))
    for error, recovers in ((None, True), (ValueError("contrast.r"), False)):
        trial = SimpleNamespace(
            trial_id="a", get_pickled_error=lambda e=error: e, should_recover=lambda again=recovers: again
        )
        PrunerScheduler(searcher).on_trial_error(None, trial)
    assert heard == [("its process was lost", False), ("ValueError: contrast.r", True)]


def test_lost_processes_are_forgotten_when_a_run_gets_further_and_not_before() -> None:
    searcher: Any = SimpleNamespace(report=lambda trial, metrics: False)
    scheduler, trial = PrunerScheduler(searcher), tune_trial("a")
    counts = []
    for iteration in (3, 3, 6):  # the second is reported again by the process that takes the place of a lost one
        trial.run_metadata.num_failures = 2
        assert scheduler.on_trial_result(None, trial, {f"{REPORT}/iteration": iteration}) == scheduler.CONTINUE
        counts.append(trial.run_metadata.num_failures)
    assert counts == [0, 2, 0]


def test_tune_counts_failures_where_they_are_forgotten() -> None:
    trial = Trial("nothing", stub=True, max_failures=2)
    trial.run_metadata.num_failures = 3
    assert not trial.should_recover()
    trial.run_metadata.num_failures = 0
    assert trial.should_recover()
