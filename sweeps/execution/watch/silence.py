"""Runs that have reported nothing for long: the driver says so, and where to look."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sweeps.common.words import duration
from sweeps.execution.watch.worker_log import STILL, LogReader, log_pattern

_PAUSE = 15.0  # seconds between two looks at the files of the runs
_CURVES = "events.out.tfevents.*"


@dataclass
class _Watched:
    """A run that is watched.

    Attributes:
        directory: Its directory.
        log: What its workers write.
        since: When it was last heard of.
        written: When its curves were last written, on the clock of their file system; 0 before the first time.
        told: How often it has been said that it is silent.
    """

    directory: Path
    log: LogReader
    since: float
    written: float
    told: int = 0


class SilenceWatch:
    """Says which runs are silent, and what the workers of runs warn of.

    A run is silent that has neither reported nor written its curves for ten minutes, or, where reports have been
    farther apart, for twice as long as that. It is said again when that time has doubled.

    Args:
        say: Writes one line on the terminal.
        clock: Gives the time in seconds.
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock = say, clock
        self._runs: dict[str, _Watched] = {}
        self._longest = 0.0
        self._next = 0.0
        self._warned: set[str] = set()

    def begin(self, label: str, directory: Path) -> None:
        """Watch a run that has been started, or started again."""
        self._runs[label] = _Watched(directory, LogReader(directory), self._clock(), _last_written(directory))

    def heard(self, label: str) -> None:
        """Take note that a run has reported."""
        run = self._runs.get(label)
        if run is not None:
            now = self._clock()
            self._longest = max(self._longest, now - run.since)
            run.since, run.told = now, 0
            self._pass_on_warnings(label, run)

    def end(self, label: str) -> None:
        """Watch a run no longer."""
        run = self._runs.pop(label, None)
        if run is not None:
            self._pass_on_warnings(label, run)

    def look(self) -> None:
        """Say what is new; to be called again and again."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + _PAUSE
        for label, run in self._runs.items():
            self._pass_on_warnings(label, run)
            written = _last_written(run.directory)
            if written != run.written:  # as a clock this is another machine's
                run.written, run.since, run.told = written, now, 0
            silent = now - run.since
            if silent >= max(STILL, 2 * self._longest) * 2**run.told:
                run.told += 1
                self._say(f"{label}  {_about(run, silent)}")

    def _pass_on_warnings(self, label: str, run: _Watched) -> None:
        for text in run.log.warnings():
            if text not in self._warned:
                self._warned.add(text)
                self._say(f"{label}  warns: {text}")


def _about(run: _Watched, silent: float) -> str:
    if not run.log.has_begun:
        return (
            f"has not begun for {duration(silent)}: its workers wait to be started. `ray status` says whether the "
            "cluster has room for them"
        )
    return (
        f"has reported nothing for {duration(silent)}. What its workers write, and where in the program they are, is "
        f"in {log_pattern(run.directory)}. If they hang, Ctrl-C and --resume start the run again from its last "
        "checkpoint"
    )


def _last_written(directory: Path) -> float:
    """Return when the curves in a run's directory were last written."""
    times = []
    for file in directory.glob(_CURVES):
        try:
            times.append(file.stat().st_mtime)
        except OSError:  # it was just removed
            continue
    return max(times, default=0.0)
