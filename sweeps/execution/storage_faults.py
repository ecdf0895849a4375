"""A sweep whose folder cannot be written any more: the disk is full, was mounted read-only, or is gone.

The study must not fall behind the trials, so the sweep stops as after Ctrl-C: what has ended is in the study, what was
running stays RUNNING there and goes on when the sweep is resumed. A trial that failed because it could not write is not
to blame and counts among the latter.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
from ray.tune.search import Searcher
from sqlalchemy.exc import SQLAlchemyError

from sweeps.common import faults
from sweeps.execution.scheduling import Interruption
from sweeps.execution.trial import FAILED

STORAGE_ERRORS = (OSError, SQLAlchemyError, optuna.exceptions.StorageInternalError)


class StorageFault(Exception):
    """The sweep's folder cannot be written; the text says how that came out."""


class Guard(Searcher):
    """Stands between Tune and a searcher, and asks the sweep to stop when something cannot be written.

    Args:
        searcher: that has `suggest`, `report`, `note_error` and `on_trial_complete` of `StudySearcher`; it hears of
            nothing more after the first fault.
        interruption: is told the fault.
        folder: of the sweep.
    """

    def __init__(self, searcher: Any, interruption: Interruption, folder: Path):
        super().__init__()
        self._folder = folder
        self._searcher = searcher
        self._interruption = interruption

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Tune asks for a trial."""
        return self._call("suggest", trial_id)

    def report(self, trial_id: str, metrics: dict[str, float]) -> bool:
        """Takes a trial's report; says whether the trial is to be stopped."""
        return bool(self._call("report", trial_id, metrics))

    def note_error(self, trial_id: str, message: str, *, final: bool) -> None:
        """A trial's process has failed, with this message; unless `final` Tune starts it again."""
        if not self._is_fault(message):
            self._call("note_error", trial_id, message, final=final)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tune has ended a trial."""
        failure = (result or {}).get(FAILED, "")
        if not (failure and self._is_fault(failure)):
            self._call("on_trial_complete", trial_id, result, error=error)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: see `StudySearcher`."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see `StudySearcher`."""

    def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        if self._interruption.fault:
            return None
        try:
            return getattr(self._searcher, method)(*args, **kwargs)
        except STORAGE_ERRORS as error:
            self._interruption.fault = first_line(error)
            return None

    def _is_fault(self, failure: str) -> bool:
        """Whether a trial's failure is one of the disk; Tune has no words for it where it could not write them."""
        if not self._interruption.fault:
            if faults.cannot_write(failure):
                self._interruption.fault = f"a trial could not write: {failure}"
            else:
                try:
                    faults.probe(self._folder)
                except OSError as error:
                    self._interruption.fault = first_line(error)
        return bool(self._interruption.fault)


def first_line(error: BaseException) -> str:
    """What an error of the storage says, in one line: what the disk said, where it was the disk."""
    lines = [line for text in faults.chain(error).splitlines() if (line := text.strip())]
    return next((line for line in lines if faults.cannot_write(line)), lines[0])


def remedy(fault: str, folder: Path, resume_command: str) -> str:
    """What to tell the user."""
    try:
        faults.probe(folder)
    except OSError as error:  # the disk's own words; the database may have had others
        fault += "" if (error.strerror or "") in fault else f": {error.strerror}"
    return (
        f"The sweep has stopped because its results folder {folder} cannot be written ({fault}). All that has ended is "
        "kept. Free space there, or make it writable again; then go on with\n"
        f"resume  {resume_command}"
    )
