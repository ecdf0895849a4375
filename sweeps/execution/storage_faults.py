"""A sweep whose folder cannot be written any more: the disk is full, was mounted read-only, or is gone.

The study must not fall behind the trials, so the sweep stops as after Ctrl-C: what has ended is in the study, what was
running stays RUNNING there and goes on when the sweep is resumed. A run that failed because it could not write is not
to blame and counts among the latter.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import optuna
from ray.tune.search import Searcher
from sqlalchemy.exc import SQLAlchemyError

from sweeps.common import faults
from sweeps.search.trial_spec import FAILURE

STORAGE_ERRORS = (OSError, SQLAlchemyError, optuna.exceptions.StorageInternalError)
"""The types of errors that may be one of the disk."""
_Found = TypeVar("_Found")


class StorageFault(Exception):
    """The sweep's folder cannot be written; the text says how that came out."""


class RunSearcher(Protocol):
    """What hands runs to Tune and hears what becomes of them, as `sweeps.search.searcher.StudySearcher` does."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return what the next run is told, None for none now, or Tune's word for the end."""

    def report(self, trial_id: str, metrics: dict[str, float]) -> bool:
        """Take a report and return whether the run is to be stopped."""

    def note_error(self, trial_id: str, message: str, *, final: bool) -> None:
        """Take note that a process has failed; unless `final` Tune starts it again."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Take note that Tune has ended a run."""


class FaultCatcher(Searcher):
    """Stands between Tune and a searcher, and says when something cannot be written.

    Args:
        searcher: The searcher, which hears of nothing more after the first fault.
        folder: The folder of the sweep.
        on_fault: Is told the first fault.
    """

    def __init__(self, searcher: RunSearcher, folder: Path, on_fault: Callable[[str], None]) -> None:
        super().__init__()
        self._searcher, self._folder, self._on_fault = searcher, folder, on_fault
        self._has_fault = False

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]  # Ray, too, returns texts
        """Return what the next run is told; None after a fault."""
        return self._call(lambda: self._searcher.suggest(trial_id))

    def report(self, trial_id: str, metrics: dict[str, float]) -> bool:
        """Take a run's report and return whether the run is to be stopped."""
        return bool(self._call(lambda: self._searcher.report(trial_id, metrics)))

    def note_error(self, trial_id: str, message: str, *, final: bool) -> None:
        """Take note that a run's process has failed, with this message; unless `final` Tune starts it again."""
        if not self._is_fault(message):
            self._call(lambda: self._searcher.note_error(trial_id, message, final=final))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Take note that Tune has ended a run."""
        failure = (result or {}).get(FAILURE, "")
        if not (failure and self._is_fault(failure)):
            self._call(lambda: self._searcher.on_trial_complete(trial_id, result, error=error))

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: see `StudySearcher`."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: see `StudySearcher`."""

    def _call(self, act: Callable[[], _Found]) -> _Found | None:
        if self._has_fault:
            return None
        try:
            return act()
        except STORAGE_ERRORS as error:
            self._stop(first_line(error))
            return None

    def _is_fault(self, failure: str) -> bool:
        """Return whether a run's failure is one of the disk; Tune has no words for it where it could not write them."""
        if not self._has_fault:
            if faults.cannot_write(failure):
                self._stop(f"a trial could not write: {failure}")
            else:
                try:
                    faults.probe(self._folder)
                except OSError as error:
                    self._stop(first_line(error))
        return self._has_fault

    def _stop(self, fault: str) -> None:
        self._has_fault = True
        self._on_fault(fault)


def first_line(error: BaseException) -> str:
    """Return what an error of the storage says, in one line: what the disk said, where it was the disk."""
    lines = [line for text in faults.chain(error).splitlines() if (line := text.strip())]
    return next((line for line in lines if faults.cannot_write(line)), lines[0])


def remedy(fault: str, folder: Path, resume_command: str) -> str:
    """Return what to tell the user about a fault."""
    try:
        faults.probe(folder)
    except OSError as error:  # the disk's own words; the database may have had others
        fault += "" if (error.strerror or "") in fault else f": {error.strerror}"
    return (
        f"The sweep has stopped because its results folder {folder} cannot be written ({fault}). All that has ended is "
        "kept. Free space there, or make it writable again; then resume it with\n"
        f"resume  {resume_command}"
    )
