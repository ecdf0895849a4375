"""What a sweep shows on a terminal while it runs: one table, drawn again and again at its place."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from sweeps.definition.sweep import Sweep
from sweeps.execution.trial import forked
from sweeps.progress.eta import Course, time_left
from sweeps.progress.live_table import RUNNING, STYLES, Row, table
from sweeps.progress.plain import Terminal, duration, values_of
from sweeps.results import rows as results
from sweeps.results.comparison import spread
from sweeps.search import replicates
from sweeps.search.searcher import METRIC, REFERENCE_LABEL, Run

_ABOVE = ("restarted", "resumed", "failed")  # events that stay to be read
_CHATTER = "worker processes have been started on node"  # Ray is surprised that trials consist of processes
_FINISHED = 6  # so many of them are shown
_PAUSE, _IDLE = 0.25, 1.0  # seconds between two pictures: at least, and where nothing but the time has changed


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a sweep has before it, apart from the reference.

    Attributes:
        num_trials: of the search, or of the tables.
        done: how many of them earlier drivers have finished.
        has_reference: whether the reference, too, is still to be run.
        columns: names of the parameters.
        trials: folder with the directory of each run.
    """

    num_trials: int
    done: int
    has_reference: bool
    columns: tuple[str, ...]
    trials: Path

    @classmethod
    def of(cls, sweep: Sweep, rows: Sequence[results.Row]) -> Plan:
        """That of a sweep with these rows so far."""
        finished = {row["point"] for row in rows if row["outcome"] != "interrupted"}
        return cls(
            num_trials=sweep.num_trials,
            done=len(finished - {REFERENCE_LABEL}),
            has_reference=not sweep.points and REFERENCE_LABEL not in finished,
            columns=tuple(key.rpartition(".")[2] for key in sweep.space),
            trials=results.trials_folder(sweep.folder),
        )


class _Printed:
    """Stands in for a standard stream: the lines that any Python code prints appear above the table."""

    def __init__(self, stream: TextIO, write: Callable[[str], None]):
        self._stream, self._write, self._begun = stream, write, ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            if _CHATTER not in line:
                self._write(line)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class LiveTerminal(Terminal):
    """Shows the table from entering to leaving; then it vanishes. What is written meanwhile appears above it.

    A thread of its own writes, so that a signal's handler can say something at any moment.

    Args:
        console: of the terminal.
        seeds: of every trial.
        best: label and mIoU of the best trial of an earlier driver.
        plan: of the sweep.
    """

    def __init__(self, console: Console, seeds: Sequence[int], best: tuple[str, float] | None, plan: Plan):
        super().__init__(console.file, seeds, best)
        self._console, self._plan = console, plan
        self._running: dict[str, Row] = {}
        self._finished: deque[Row] = deque(maxlen=_FINISHED)
        self._courses: dict[str, Course] = {}
        self._ended_points: set[str] = set()
        self._slots = 1
        self._end: float | None = None
        """When the sweep is expected to end, on the clock of `time.monotonic`."""
        self._lock = threading.Lock()
        self._changed, self._leaving = False, threading.Event()
        self._lines: deque[str] = deque()
        """To be written above the table."""
        self._said: deque[str] = deque(maxlen=50)
        """The last that are there."""
        self._live: Live | None = None

    def __enter__(self) -> LiveTerminal:
        self._live = Live(
            console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._live.start()
        self._before = sys.stdout, sys.stderr
        # What goes into a file goes on to do so.
        sys.stdout, sys.stderr = (_Printed(file, self.write) if file.isatty() else file for file in self._before)
        self._thread = threading.Thread(target=self._keep_drawing, name="live table", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        sys.stdout, sys.stderr = self._before
        self._leaving.set()
        self._thread.join()
        self._live.stop()
        self._live = None
        while self._lines:
            super().write(self._lines.popleft())

    def write(self, text: str) -> None:
        """Lines as they are, above the table."""
        if self._live is None:
            super().write(text)
            self._said.append(text)
        else:
            self._lines.append(text)  # and takes no lock, which the code that a signal has interrupted may hold

    def event(self, event: str, run: Run) -> None:
        """Takes an event of `StudySearcher` into the table; a line for those that tell of a mishap."""
        if event in _ABOVE:
            self.say(self._line(event, run))
        ended = event in STYLES
        with self._lock:
            self._note_best(event, run)
            if event == "started":
                self._running[run.label] = Row(label=run.label, state=RUNNING, score="", values=values_of(run))
            if event in ("judged", "outpaced"):
                scores = replicates.values(run.trial, self._seeds)
                text = "mean over seeds" if event == "judged" else "cannot catch up"
                self._finished.appendleft(Row(label=run.point, state=text, score=spread(scores, len(self._seeds))))
            else:
                row = self._running.get(run.label) or Row(label=run.label, state="", score="")  # never began
                value = run.metrics.get(METRIC, math.nan)
                row.score = "-" if math.isnan(value) else f"{value:.2f}"
                row.iteration, row.iterations = run.iteration, run.iterations
            if event == "paused":
                row.state = event
            if ended:
                self._running.pop(run.label, None)
                row.state = event
                self._finished.appendleft(row)
                if run.study.get_trials(deepcopy=False)[run.trial.number].state.is_finished():
                    self._ended_points.add(run.point)
            self._slots = max(self._slots, len(self._running))
            self._estimate(run, ended)
        self._changed = True

    def _estimate(self, run: Run, ended: bool) -> None:
        now = time.monotonic()
        if run.label not in self._courses:
            self._courses[run.label] = Course(
                point=run.point,
                iterations=run.iterations,
                iteration=run.iteration,
                given=run.iteration,
                began=now,
                seen=now,
            )
        course = self._courses[run.label]
        course.iteration, course.seen, course.ended = run.iteration, now, ended or course.ended
        warm_up = forked(self._plan.trials / run.label)["warm_up_iterations"]
        course.given = max(course.given, min(warm_up, run.iteration))
        begun = {course.point for course in self._courses.values()}
        own = begun - {REFERENCE_LABEL}
        to_begin = self._plan.num_trials - self._plan.done - len(own)
        to_begin += self._plan.has_reference and REFERENCE_LABEL not in begun
        left = time_left(
            list(self._courses.values()),
            now=now,
            finished=self._ended_points,
            to_begin=to_begin,
            num_seeds=len(self._seeds),
            slots=self._slots,
        )
        self._end = None if left is None else now + left

    def _keep_drawing(self) -> None:
        size, drawn = self._console.size, -math.inf
        while not self._leaving.wait(_PAUSE):
            if not (self._changed or self._lines or time.monotonic() - drawn >= _IDLE):
                continue
            self._changed, drawn = False, time.monotonic()
            while self._lines:
                self._said.append(self._lines.popleft())
                self._console.print(Text.from_ansi(self._said[-1]), soft_wrap=True)
            if self._console.size != size:
                # A terminal breaks lines anew, each in its way, so nobody knows where the table is now.
                size = self._console.size
                self._console.clear()
                for line in self._said:
                    self._console.print(Text.from_ansi(line), soft_wrap=True)
            self._live.update(self.picture(*size), refresh=True)

    def picture(self, width: int, height: int) -> Group:
        """The table for a terminal of `width` x `height` characters, of at most one line less."""
        with self._lock:
            running, finished = list(self._running.values()), list(self._finished)
            head = self._head()
        room = height - 3
        if room < 1:
            return Group(head)
        hidden = max(len(running) - room, 0)
        if hidden:
            running = running[: room - 1]
            hidden = len(self._running) - len(running)
        shown = [*running, *finished[: room - len(running) - bool(hidden)]]
        more = [Text(f"and {hidden} more", style="dim")] if hidden else []
        return Group(head, table(shown, self._plan.columns, width), *more)

    def _head(self) -> Text:
        now = time.monotonic()
        done = self._plan.done + len(self._ended_points - {REFERENCE_LABEL})
        best = f"{self._best[1]:.2f} ({self._best[0]})" if self._best else "-"
        left = "-" if self._end is None else duration(max(self._end - now, 0))
        parts = {
            "best": best,
            "trials": f"{done}/{self._plan.num_trials}",
            "elapsed": duration(now - self._start),
            "left": left,
        }
        text = Text(no_wrap=True, overflow="crop")
        for name, value in parts.items():
            text.append(f"{name} ", style="dim").append(f"{value}   ", style="bold")
        return text
