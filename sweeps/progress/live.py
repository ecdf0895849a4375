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
from typing import Any, TextIO, cast

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from pgpc.runtime.display import printable
from sweeps.common.names import REFERENCE_LABEL, Event, Status
from sweeps.common.words import duration, short
from sweeps.definition.selection import BY_MIOU, Selection
from sweeps.definition.sweep import Sweep
from sweeps.progress.eta import RunProgress, time_left
from sweeps.progress.live_table import LiveRow, table
from sweeps.progress.plain import Terminal, params_of
from sweeps.results.forks import read_fork
from sweeps.results.rows import Row
from sweeps.search.searcher import Run

_ABOVE = (Event.RESTARTED, Event.RESUMED, Event.FAILED)  # these stay to be read
_CHATTER = "worker processes have been started on node"  # Ray is surprised that trials consist of processes
_FINISHED = 6  # so many of them are shown
_PAUSE, _IDLE = 0.25, 1.0  # seconds between two pictures: at least, and where nothing but the time has changed


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a sweep has before it.

    Attributes:
        num_trials: The number of trials of the search, or of the tables; the reference is not among them.
        done: How many of them earlier drivers have finished.
        has_reference: Whether the reference, too, is still to be run.
        columns: Names of the parameters.
        trials: The folder with the directory of each run.
    """

    num_trials: int
    done: int
    has_reference: bool
    columns: tuple[str, ...]
    trials: Path

    @classmethod
    def of(cls, sweep: Sweep, rows: Sequence[Row]) -> Plan:
        """Return the plan of a sweep with these rows so far."""
        finished = {row.trial for row in rows if row.outcome != Status.INTERRUPTED}
        return cls(
            num_trials=sweep.num_trials,
            done=len(finished - ({REFERENCE_LABEL} if sweep.is_search else set())),
            has_reference=sweep.is_search and REFERENCE_LABEL not in finished,
            columns=tuple(map(short, sweep.space)),
            trials=sweep.trials_folder,
        )


class _Printed:
    """Stands in for a standard stream: the lines that any Python code prints appear above the table."""

    def __init__(self, stream: TextIO, write: Callable[[str], None]) -> None:
        self._stream, self._write, self._begun = stream, write, ""

    def write(self, text: str) -> int:
        """Write the lines that are complete, and keep the rest for the next time."""
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
        console: The terminal.
        seeds: The seeds of every trial.
        best: Label and mean score of the best trial that earlier drivers have completed.
        plan: What the sweep has before it.
        selection: What trials are chosen by.
    """

    def __init__(
        self,
        console: Console,
        seeds: Sequence[int],
        best: tuple[str, float] | None,
        plan: Plan,
        selection: Selection = BY_MIOU,
    ) -> None:
        super().__init__(cast("TextIO", console.file), seeds, best, selection)
        self._console, self._plan = console, plan
        self._running: dict[str, LiveRow] = {}
        self._finished: deque[LiveRow] = deque(maxlen=_FINISHED)
        self._progress: dict[str, RunProgress] = {}
        self._ended_trials: set[str] = set()
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
        self._thread = threading.Thread(target=self._keep_drawing, name="live table", daemon=True)
        self._streams: tuple[TextIO, TextIO] = sys.stdout, sys.stderr

    def __enter__(self) -> LiveTerminal:
        self._live = Live(
            console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._live.start()
        self._streams = sys.stdout, sys.stderr
        # What goes into a file goes on to do so.
        sys.stdout, sys.stderr = (
            cast("TextIO", _Printed(stream, self._put)) if stream.isatty() else stream for stream in self._streams
        )
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        sys.stdout, sys.stderr = self._streams
        self._leaving.set()
        self._thread.join()
        if self._live is not None:
            self._live.stop()
        self._live = None
        while self._lines:
            super().write(self._lines.popleft())

    def write(self, text: str) -> None:
        """Write lines above the table."""
        self._put(printable(text))

    def _put(self, text: str) -> None:
        """Write lines as they are, above the table."""
        if self._live is None:
            super().write(text)
            self._said.append(text)
        else:
            self._lines.append(text)  # and takes no lock, which the code that a signal has interrupted may hold

    def event(self, event: Event, run: Run) -> None:
        """Take an event of `StudySearcher` into the table; write a line for those that tell of a mishap."""
        if event in _ABOVE:
            self.say(self._line(event, run))
        with self._lock:
            self._note_best(event, run)
            if event.concerns_trial:
                scores = self._mean(run)
                text = "mean over seeds" if event == Event.JUDGED else "cannot catch up"
                self._finished.appendleft(LiveRow(label=run.trial_label, state=text, score=scores))
            else:
                self._update(event, run)
            self._slots = max(self._slots, len(self._running))
            self._estimate(event, run)
        self._changed = True

    def _update(self, event: Event, run: Run) -> None:
        """Take an event into the row of the run that it happens to."""
        if event == Event.STARTED:
            state = Status.RUNNING.value
            self._running[run.label] = LiveRow(label=run.label, state=state, score="", params=params_of(run))
        row = self._running.get(run.label) or LiveRow(label=run.label, state="", score="")  # it never began
        row.score = self._number(run.score)
        row.iteration, row.iterations = run.iteration, run.iterations
        if event == Event.PAUSED or event.ends_run:
            row.state = event.value
        if event.ends_run:
            self._running.pop(run.label, None)
            self._finished.appendleft(row)
            if run.study.get_trials(deepcopy=False)[run.trial.number].state.is_finished():
                self._ended_trials.add(run.trial_label)

    def _estimate(self, event: Event, run: Run) -> None:
        """Estimate anew when the sweep is going to end."""
        now = time.monotonic()
        if run.label not in self._progress:
            self._progress[run.label] = RunProgress(
                trial=run.trial_label,
                iterations=run.iterations,
                iteration=run.iteration,
                given=run.iteration,
                began=now,
                seen=now,
            )
        mine = self._progress[run.label]
        mine.iteration, mine.seen, mine.ended = run.iteration, now, event.ends_run or mine.ended
        fork = read_fork(self._plan.trials / run.label)
        mine.given = max(mine.given, min(fork.iterations if fork else 0, run.iteration))
        begun = {progress.trial for progress in self._progress.values()}
        to_begin = self._plan.num_trials - self._plan.done - len(begun - {REFERENCE_LABEL})
        to_begin += self._plan.has_reference and REFERENCE_LABEL not in begun
        left = time_left(
            list(self._progress.values()),
            now=now,
            finished=self._ended_trials,
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
            if self._live is not None:
                self._live.update(self.picture(*size), refresh=True)

    def picture(self, width: int, height: int) -> Group:
        """Return the table for a terminal of `width` x `height` characters, in at most one line less."""
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
        return Group(head, table(shown, self._plan.columns, width, self._selection.name), *more)

    def _head(self) -> Text:
        now = time.monotonic()
        done = self._plan.done + len(self._ended_trials - {REFERENCE_LABEL})
        best = f"{self._number(self._best[1])} ({self._best[0]})" if self._best else "-"
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
