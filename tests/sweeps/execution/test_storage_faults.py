"""What stands between Tune and a searcher: which errors end a sweep, what they are called, and how Tune is let go."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray.tune.search import Searcher
from sqlalchemy.exc import DatabaseError, OperationalError

from sweeps.common import faults
from sweeps.execution.storage_faults import FaultCatcher, remedy
from sweeps.search.trial_spec import FAILURE

FULL = os.strerror(28)


class Inner:
    """A searcher that raises what it is told to, and notes what it hears."""

    def __init__(self) -> None:
        self.heard, self.error = list[str](), None

    def _hear(self, what: str) -> None:
        self.heard.append(what)
        if self.error is not None:
            raise self.error

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        self._hear("suggest")
        return None

    def report(self, trial_id: str, metrics: dict[str, float]) -> bool:
        self._hear("report")
        return True

    def note_error(self, trial_id: str, message: str, *, final: bool) -> None:
        self._hear("error")

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self._hear("complete")


class Bench:
    """A searcher behind its catcher."""

    def __init__(self, folder: Path) -> None:
        self.inner, self.faults, self.stopped = Inner(), list[str](), False
        self.catcher = FaultCatcher(self.inner, folder, self.faults.append, lambda: self.stopped)

    def fails(self, failure: str) -> list[str]:
        """What the sweep is told of a run that fails."""
        self.catcher.on_trial_complete("1", {FAILURE: failure})
        return self.faults


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_tune_does_not_wait_for_a_run_that_never_comes(bench: Bench) -> None:
    assert bench.catcher.suggest("1") is None, "one may come when another has ended"
    bench.stopped = True
    assert bench.catcher.suggest("1") == Searcher.FINISHED, "for Ctrl-C and the time budget Tune would be deaf"
    bench.stopped, bench.inner.error = False, OSError(28, FULL)
    assert bench.catcher.suggest("1") == bench.catcher.suggest("2") == Searcher.FINISHED
    assert bench.faults == [f"[Errno 28] {FULL}"] and bench.inner.heard == ["suggest", "suggest"]


def test_what_ended_the_sweep_may_have_ended_its_processes(bench: Bench) -> None:
    bench.stopped = True
    bench.catcher.note_error("1", "a process was lost", final=True)
    bench.catcher.on_trial_complete("1", None, error=True)
    bench.catcher.on_trial_complete("2", {FAILURE: "a process was lost"})
    assert bench.inner.heard == [], "they stay RUNNING, and are resumed"
    bench.catcher.on_trial_complete("3", {"report/mIoU": 30.0})
    assert bench.inner.heard == ["complete"]


def sql(kind: type[DatabaseError], text: str) -> DatabaseError:
    return kind("INSERT", {}, sqlite3.OperationalError(text))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            lambda: sql(OperationalError, "database is locked"),
            "because another program has locked its study {folder}/study.db for more than 60 s (",
        ),
        (lambda: OSError(28, FULL), "because its results folder {folder} cannot be written ("),
        (lambda: sql(OperationalError, "disk I/O error"), "because its results folder {folder} cannot be written ("),
        (
            lambda: sql(DatabaseError, "database disk image is malformed"),
            "because its study {folder}/study.db cannot be used (",
        ),
    ],
    ids=["locked", "full", "broken", "damaged"],
)
def test_faults_are_called_what_they_are(
    error: Callable[[], Exception], words: str, bench: Bench, tmp_path: Path
) -> None:
    bench.inner.error = error()
    assert bench.catcher.report("1", {}) is False
    said = remedy(bench.faults[0], tmp_path, "python run --resume x")
    assert words.format(folder=tmp_path) in said and said.endswith("resume it with\nresume  python run --resume x")


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), FileNotFoundError(2, "No such file", "/x/y")])
def test_other_errors_are_no_faults_of_the_folder(error: OSError, bench: Bench) -> None:
    bench.inner.error = error
    with pytest.raises(type(error)):
        bench.catcher.report("1", {})
    assert bench.faults == []


def test_a_folder_that_is_gone_is_one_whatever_the_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    bench = Bench(tmp_path / "file")
    bench.inner.error = NotADirectoryError(20, "Not a directory", str(tmp_path / "file" / "x"))
    bench.catcher.report("1", {})
    assert len(bench.faults) == 1


def test_a_full_disk_of_a_machine_is_the_runs_own(bench: Bench, tmp_path: Path) -> None:
    elsewhere = faults.located(f"[Errno 28] {FULL}: '/tmp/other/pgpc-checkpoint-x/checkpoint.pt'", tmp_path)
    assert bench.fails(elsewhere) == [] and bench.inner.heard == ["complete"]
    bench.catcher.note_error("1", elsewhere, final=True)
    assert bench.inner.heard == ["complete", "error"]
    here = faults.located(f"[Errno 28] {FULL}: '{tmp_path}/trials/0000/checkpoint.pt'", tmp_path)
    assert len(bench.fails(here)) == 1 and bench.faults[0].startswith("a trial could not write: ")
    assert bench.inner.heard == ["complete", "error"], "that run stays as it is, and is resumed"


def test_a_folder_that_one_machine_has_lost_ends_no_sweep(bench: Bench, tmp_path: Path) -> None:
    lost = faults.located(f"[Errno 116] {os.strerror(116)}: '{tmp_path}/trials/0000/events'", tmp_path)
    assert faults.is_of_results(lost)
    assert bench.fails(lost) == [] and bench.inner.heard == ["complete"]


def test_what_no_worker_has_located_was_met_here(bench: Bench, tmp_path: Path) -> None:
    assert bench.fails(f"OSError: [Errno 28] {FULL}: '/var/log/x'") == []
    assert len(bench.fails(f"OSError: [Errno 28] {FULL}: '{tmp_path}/trials/0000/x'")) == 1
