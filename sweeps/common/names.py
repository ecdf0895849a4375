"""The names that a sweep knows things by: what becomes of a run, what happens to it, and the score."""

from __future__ import annotations

import enum

METRIC = "mIoU"
"""The score that trials are compared by, as trainings report it."""
REPORT_METRIC = f"report/{METRIC}"
"""The same on labeled target images that took no part in the choice, where a sweep keeps such images."""
REFERENCE_LABEL = "base"
"""Label of the reference trial, the training without contrast."""


class _Name(str, enum.Enum):
    """A text that is one of a few; it compares equal to that text, and JSON and parquet hold it as such."""

    def __str__(self) -> str:
        return str(self.value)

    def __format__(self, format_spec: str) -> str:
        return format(str(self.value), format_spec)


class Status(_Name):
    """What has become of a run, or of a trial."""

    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def has_ended(self) -> bool:
        """Whether it will not change any more."""
        return self in (Status.COMPLETE, Status.PRUNED, Status.FAILED)


class Kind(_Name):
    """Which part of a sweep a trial belongs to."""

    REFERENCE = "reference"
    SEARCH = "search"


class Event(_Name):
    """What happens to a run, or to the trial that it belongs to."""

    STARTED = "started"
    REPORTED = "reported"
    RESUMED = "resumed"
    RESTARTED = "restarted"
    PAUSED = "paused"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"
    JUDGED = "judged"
    """The last seed of a trial has made it complete."""
    OUTPACED = "outpaced"
    """A trial gets no more seeds, since it cannot reach the best mean any more."""

    @property
    def ends_run(self) -> bool:
        """Whether the run will not change any more."""
        return self in (Event.COMPLETE, Event.PRUNED, Event.FAILED)

    @property
    def concerns_trial(self) -> bool:
        """Whether it happens to the trial as a whole, over its seeds, and not to one of its runs."""
        return self in (Event.JUDGED, Event.OUTPACED)
