"""Which checkpoints of a sweep are kept: those of runs that were stopped for good are of no use to anybody."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from sweeps.common import faults
from sweeps.common.names import REFERENCE_LABEL, Event, Status
from sweeps.execution.checkpoints import snapshot_file
from sweeps.results.rows import Row
from sweeps.search.searcher import Run

_DELAY = 30.0  # seconds in which the workers of a run that was stopped end, which may just be saving


def is_useless(status: Status, error: str) -> bool:
    """Return whether nobody will go on with a run, and nobody has a use for its network.

    Args:
        status: What has become of the run.
        error: Why it has failed. One that has not diverged goes on from its checkpoint with ``--retry-failed``.
    """
    return status == Status.PRUNED or (status == Status.FAILED and faults.diverged(error))


class Keeper:
    """Removes checkpoints while the sweep runs.

    Args:
        keep: Which trials keep theirs, of `sweeps.definition.options.KEPT`.
        trials: The folder with the directory of each run.
        clock: Gives the time in seconds.
    """

    def __init__(self, keep: str, trials: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._keep, self._trials, self._clock = keep, trials, clock
        self._ended: dict[str, float] = {}

    def note(self, event: Event, run: Run) -> None:
        """Take note of an event, and remove what can be removed by now."""
        if self._keep == "all":
            return
        if event == Event.STARTED:
            self._ended.pop(run.label, None)
        elif event.ends_run and is_useless(Status(event.value), run.error):
            self._ended[run.label] = self._clock()
        for label, ended in list(self._ended.items()):
            if self._clock() - ended >= _DELAY:
                del self._ended[label]
                remove_checkpoints(self._trials / label)


def remove_at_end(rows: Iterable[Row], keep: str, best: Collection[str] | None) -> None:
    """Remove the checkpoints that a sweep does not keep.

    Args:
        rows: What has become of each run.
        keep: Which trials keep theirs, of `sweeps.definition.options.KEPT`.
        best: Labels of the trials whose checkpoints are kept of those that have ended; None where the sweep is not over
            or has no best one, so that all of them are.
    """
    if keep == "all":
        return
    for row in rows:
        is_one_of_many = best is not None and row.status.has_ended and row.trial not in best
        if is_useless(row.status, row.error) or is_one_of_many:
            remove_checkpoints(row.directory)


def kept_at_end(keep: str, best: str, rows: Iterable[Row]) -> set[str] | None:
    """Return the labels of the trials whose checkpoints outlive the end of a search; None for all.

    Args:
        keep: Which trials keep theirs.
        best: Label of the best trial, of which best/ has a copy.
        rows: What has become of each run.
    """
    if keep == "none":
        return set()
    if keep == "best":
        return {best, REFERENCE_LABEL, *(row.trial for row in rows if row.pareto)}
    return None


def remove_checkpoints(directory: Path) -> None:
    """Remove the checkpoints of a run that has ended.

    Train's list of them goes first: without it a run starts afresh, and with one that names what is gone it never does.
    """
    try:
        snapshot_file(directory).unlink(missing_ok=True)
    except OSError:
        return
    for folder in directory.glob("checkpoint_*"):
        shutil.rmtree(folder, ignore_errors=True)
