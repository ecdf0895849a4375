"""A sweep whose folder cannot be written any more: the disk is full, was mounted read-only, or is gone.

Or its study cannot: another program has locked it, or it is damaged. Each is called what it is.

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
from sweeps.search.study import LOCK_PATIENCE, study_file
from sweeps.search.trial_spec import FAILURE

_STUDY_ERRORS = (SQLAlchemyError, optuna.exceptions.StorageInternalError)
STORAGE_ERRORS = (OSError, *_STUDY_ERRORS)
"""The types of errors that may be one of the disk, or of the study on it."""
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
        stopped: Says whether the sweep is to stop. From then on no run is handed out, since Tune would wait ten minutes
            for one that there is not; and none fails any more, since what has asked for the end may have ended the
            processes of runs, too.
    """

    def __init__(
        self,
        searcher: RunSearcher,
        folder: Path,
        on_fault: Callable[[str], None],
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__()
        self._searcher, self._folder, self._on_fault, self._stopped = searcher, folder, on_fault, stopped
        self._has_fault = False

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]  # Ray, too, returns texts
        """Return what the next run is told; Tune's word for the end after a fault, or where the sweep is to stop."""
        if self._stopped():
            return str(Searcher.FINISHED)
        suggested = self._call(lambda: self._searcher.suggest(trial_id))
        return str(Searcher.FINISHED) if self._has_fault else suggested

    def report(self, trial_id: str, metrics: dict[str, float]) -> bool:
        """Take a run's report and return whether the run is to be stopped."""
        return bool(self._call(lambda: self._searcher.report(trial_id, metrics)))

    def note_error(self, trial_id: str, message: str, *, final: bool) -> None:
        """Take note that a run's process has failed, with this message; unless `final` Tune starts it again."""
        if not (self._stopped() or self._is_fault(message)):
            self._call(lambda: self._searcher.note_error(trial_id, message, final=final))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Take note that Tune has ended a run."""
        failure = (result or {}).get(FAILURE, "")
        if (failure or error) and self._stopped():
            return
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
            if not is_fault(error, self._folder):
                raise
            self._stop(first_line(error))
            return None

    def _is_fault(self, failure: str) -> bool:
        """Return whether a run's failure is one of the results folder, which is that of all runs.

        Tune has no words for it where it could not write them. That of another disk is the run's own.
        """
        if not self._has_fault:
            if faults.cannot_write(failure):
                # What has not been located by a worker was met on the head, by what Train and Tune run here.
                known = faults.is_of_results(failure) or faults.is_of_machine(failure)
                found = failure if known else faults.located(failure, self._folder)
                # A disk that is full is so for all; one that a machine has lost may be there for the others.
                is_shared = faults.is_full(failure) or not faults.can_write(self._folder)
                if faults.is_of_results(found) and is_shared:
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


def is_fault(error: BaseException, folder: Path) -> bool:
    """Return whether an error that the driver has met is one of the sweep's folder or of its study."""
    text = faults.chain(error)
    if faults.cannot_write(text) or faults.is_locked(text):
        return True
    return isinstance(error, _STUDY_ERRORS) or (isinstance(error, OSError) and not faults.can_write(folder))


def first_line(error: BaseException) -> str:
    """Return what an error of the storage says, in one line: what the disk said, where it was the disk."""
    lines = [line for text in faults.chain(error).splitlines() if (line := text.strip())]
    return next((line for line in lines if faults.cannot_write(line) or faults.is_locked(line)), lines[0])


def remedy(fault: str, folder: Path, resume_command: str) -> str:
    """Return what to tell the user about a fault."""
    what, do = f"its results folder {folder} cannot be written", "Free space there, or make it writable again"
    if faults.is_locked(fault):
        what = f"another program has locked its study {study_file(folder)} for more than {LOCK_PATIENCE:.0f} s"
        do = "End that program, such as a dashboard, a backup or an editor of databases"
    else:
        try:
            faults.probe(folder)
        except OSError as error:  # the disk's own words; the database may have had others
            fault += "" if (error.strerror or "") in fault else f": {error.strerror}"
        else:
            if not faults.cannot_write(fault):
                what, do = f"its study {study_file(folder)} cannot be used", "Look after that file"
    return (
        f"The sweep has stopped because {what} ({fault}). All that has ended is kept. {do}; then resume it with\n"
        f"resume  {resume_command}"
    )
