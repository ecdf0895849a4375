"""What a tracking server is told about a run, and what the client of each such server can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sweeps.common.names import Status

PROJECT = "pgpc"
"""Where runs are put, unless the variables of the server's own client name another place."""


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """A run as a tracking server knows it.

    Attributes:
        id: Its name among all runs of all sweeps, the same for each driver that resumes the sweep.
        label: Its label, as on the screen.
        sweep: The name of its sweep.
        tags: What it belongs to, by name: sweep, trial, seed, preset, kind.
        params: Its parameters by dotted config key.
    """

    id: str
    label: str
    sweep: str
    tags: Mapping[str, str]
    params: Mapping[str, Any]


class Tracker(Protocol):
    """The client of a tracking server.

    Each method may fail, and is then called again with the same arguments; a `RefusedError` says that this is in vain.
    They are called by one thread, which is not the one that has made the tracker.
    """

    @property
    def name(self) -> str:
        """What people call the server."""
        ...

    @property
    def place(self) -> str:
        """Where in it the runs are found, for the screen."""
        ...

    def begin(self, run: TrackedRun, when: float) -> None:
        """Open a run, or open it again: it is running.

        Args:
            run: The run.
            when: The time, in seconds since the epoch; the same below.
        """
        ...

    def report(self, run: TrackedRun, iteration: int, metrics: Mapping[str, float], when: float) -> None:
        """Add a report of the training, values by name, at an iteration."""
        ...

    def end(self, run: TrackedRun, status: Status, error: str, when: float) -> None:
        """Close a run.

        Args:
            run: The run.
            status: What has become of it; INTERRUPTED where a driver that resumes the sweep goes on with it.
            error: Why it has failed, or "".
            when: The time.
        """
        ...
