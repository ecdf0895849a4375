"""What a sweep shows on a terminal while it runs: one table, drawn again and again at its place."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO, cast

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from pgpc.runtime.display import printable
from sweeps.common.latest import Latest, read_latest
from sweeps.common.names import REFERENCE_LABEL, Event, Status
from sweeps.common.words import duration
from sweeps.definition.selection import BY_MIOU, Selection
from sweeps.progress.eta import RunProgress, time_left
from sweeps.progress.live_table import FINISHED, LiveRow, Plan, table
from sweeps.progress.plain import Terminal, params_of
from sweeps.results.forks import read_fork
from sweeps.search.searcher import Run

_ABOVE = (Event.RESTARTED, Event.RESUMED, Event.FAILED)  # these stay to be read
_CHATTER = "worker processes have been started on node"  # Ray is surprised that trials consist of processes
_PAUSE, _IDLE = 0.25, 1.0  # seconds between two pictures: at least, and where nothing but the time has changed


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
        self._finished: deque[LiveRow] = deque(plan.finished, maxlen=FINISHED)
        self._directories: dict[str, Path] = {}
        """Those of what runs, by labels."""
        self._stale: dict[str, Latest | None] = {}
        """What was in their files when they were started, of an earlier try."""
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
            self._note_progress(event, run)
            self._estimate()
        self._changed = True

    def follow(self, label: str, directory: Path, iterations: int) -> None:
        """Show how far the training of a trunk has come; see :class:`Terminal`."""
        with self._lock:
            self._begin(LiveRow(label=label, state=Status.RUNNING.value, score="", iterations=iterations), directory)
        self._changed = True

    def unfollow(self, label: str) -> None:
        """Show it no longer."""
        with self._lock:
            self._running.pop(label, None)
        self._changed = True

    def look(self) -> None:
        """Read how far what runs has come since its last report, and estimate anew when the sweep is going to end."""
        with self._lock:
            directories = {label: self._directories[label] for label in self._running}
        found = {label: read_latest(directory) for label, directory in directories.items()}
        with self._lock:
            for label, latest in found.items():
                if label in self._running and latest is not None and latest != self._stale[label]:
                    self._take(label, latest)
            self._estimate()

    def _take(self, label: str, latest: Latest) -> None:
        """Take into a row what its run has written between two reports."""
        row, progress = self._running[label], self._progress.get(label)
        if latest.iteration > row.iteration:
            row.iteration = latest.iteration
            if progress is not None:
                progress.iteration, progress.seen = latest.iteration, time.monotonic()
                self._note_fork(label, progress)
        row.loss, row.speed = f"{latest.loss:.3g}", f"{latest.images_per_second:.3g}"

    def _begin(self, row: LiveRow, directory: Path) -> None:
        self._running[row.label], self._directories[row.label] = row, directory
        self._stale[row.label] = read_latest(directory)

    def _update(self, event: Event, run: Run) -> None:
        """Take an event into the row of the run that it happens to."""
        if event == Event.STARTED:
            state = Status.RUNNING.value
            new = LiveRow(label=run.label, state=state, score="", params=params_of(run.trial.params))
            self._begin(new, self._plan.trials / run.label)
        elif event == Event.RESTARTED and run.label in self._running:
            self._stale[run.label] = read_latest(self._plan.trials / run.label)
        row = self._running.get(run.label) or LiveRow(label=run.label, state="", score="")  # it never began
        row.score = self._number(run.score)
        row.iteration, row.iterations = run.iteration, run.iterations
        if event == Event.PAUSED or event.ends_run:
            row.state = event.value
        if event.ends_run:
            self._running.pop(run.label, None)
            row.loss = row.speed = ""
            self._finished.appendleft(row)
            if run.study.get_trials(deepcopy=False)[run.trial.number].state.is_finished():
                self._ended_trials.add(run.trial_label)

    def _note_progress(self, event: Event, run: Run) -> None:
        """Take note of how far a run has come."""
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
        self._note_fork(run.label, mine)

    def _note_fork(self, label: str, progress: RunProgress) -> None:
        """Take note of what a run was spared by the trunk, which may be known only once it has begun."""
        fork = read_fork(self._plan.trials / label)
        progress.given = max(progress.given, min(fork.iterations if fork else 0, progress.iteration))

    def _estimate(self) -> None:
        """Estimate anew when the sweep is going to end."""
        now = time.monotonic()
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
            self.look()
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
            "trials": f"{done}/{self._plan.num_trials}" + (f", {self._plan.done} before" if self._plan.done else ""),
            "elapsed": duration(now - self._start),
            "left": left,
        }
        text = Text(no_wrap=True, overflow="crop")
        for name, value in parts.items():
            text.append(f"{name} ", style="dim").append(f"{value}   ", style="bold")
        return text
