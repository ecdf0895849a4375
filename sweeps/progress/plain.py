"""What a sweep says while it runs: one line per event. `sweeps.progress.live` shows a table instead."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from pgpc.runtime.display import one_line, printable
from sweeps.common.names import REFERENCE_LABEL, Event, Kind, Status
from sweeps.common.words import count, duration, listed, number, param_text, short
from sweeps.definition.selection import BY_MIOU, Selection
from sweeps.estimates.spread import mean_std_text
from sweeps.results.rows import Row
from sweeps.search import replicates
from sweeps.search.searcher import Run


class Terminal:
    """Writes a line for each event. Knows the best complete trial so far, to set each report beside it.

    It is to be entered while trials run.

    Args:
        out: Where to write; None keeps quiet.
        seeds: The seeds of every trial.
        best: Label and mean score of the best trial that earlier drivers of the sweep have completed.
        selection: What trials are chosen by.
    """

    def __init__(
        self,
        out: TextIO | None,
        seeds: Sequence[int],
        best: tuple[str, float] | None = None,
        selection: Selection = BY_MIOU,
    ) -> None:
        self._start = time.monotonic()
        self._out = out
        self._seeds = seeds
        self._best = best
        self._selection = selection
        self._told: set[str] = set()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        pass

    def __reduce__(self) -> tuple[type[Terminal], tuple[None, tuple[()]]]:
        # Tune keeps a copy of all that it is given, for a way of resuming that is not ours; a terminal has none.
        return Terminal, (None, ())

    def write(self, text: str) -> None:
        """Write lines as they are."""
        if self._out:
            print(printable(text), file=self._out, flush=True)

    def say(self, text: str) -> None:
        """Write one line, after the time since the start."""
        self.write(f"[{duration(time.monotonic() - self._start):>7}] {text}")

    def say_once(self, text: str) -> None:
        """Write one line, unless it was said before."""
        if text not in self._told:
            self._told.add(text)
            self.say(text)

    def event(self, event: Event, run: Run) -> None:
        """Write the line of an event of `StudySearcher`."""
        self._note_best(event, run)
        self.say(self._line(event, run))

    def follow(self, label: str, directory: Path, iterations: int) -> None:
        """Show how far the training of a trunk has come, where that is shown.

        Args:
            label: Its label.
            directory: Its directory.
            iterations: The iteration at which it is complete.
        """

    def unfollow(self, label: str) -> None:
        """Show it no longer."""

    def _note_best(self, event: Event, run: Run) -> None:
        decides = Event.COMPLETE if len(self._seeds) == 1 else Event.JUDGED
        # A mean rank is one among others, and is another one when more of them have come as far.
        if event == decides and run.trial_label != REFERENCE_LABEL and not self._selection.is_rank:
            mean = replicates.mean(self._values(run).values())
            self._best = max(self._best or ("", -math.inf), (run.trial_label, mean), key=lambda best: best[1])

    def _line(self, event: Event, run: Run) -> str:
        at = f"iteration {run.iteration} of {run.iterations}"
        score = f"{self._selection.name} {self._number(run.score)}"
        mean = f"mean {self._selection.name} {self._mean(run)}"
        text = {
            Event.STARTED: f"started {_params(run)}{_origin(run)}",
            Event.REPORTED: f"{at}, {score}{self._beside()}",
            Event.RESUMED: f"resumed from its checkpoint at {at}",
            Event.RESTARTED: f"{run.error}; it is started again from its last checkpoint",
            Event.COMPLETE: f"complete, {score}{self._beside()}",
            Event.PAUSED: f"paused at {at} until the other trials have come as far",
            Event.PRUNED: f"pruned (stopped early) at {at}, {score}{_reason(run)}",
            Event.FAILED: f"FAILED: {run.error}",
            Event.JUDGED: f"complete with {count(len(self._seeds), 'seed')}, {mean}{self._beside()}",
            Event.OUTPACED: f"pruned at {mean}: no result with another seed can lift it to the best",
        }[event]
        return f"{run.trial_label if event.concerns_trial else run.label}  {text}"

    def _beside(self) -> str:
        return f" (best so far {self._number(self._best[1])}, trial {self._best[0]})" if self._best else ""

    def _values(self, run: Run) -> dict[int, float]:
        """Return the score of each complete run of a trial by its seed; none of a mean rank."""
        if self._selection.is_rank:
            return {}
        return replicates.values(run.trial, self._seeds, self._selection.metrics[0])

    def _mean(self, run: Run) -> str:
        return mean_std_text(self._values(run), len(self._seeds), digits=self._selection.digits)

    def _number(self, score: float) -> str:
        return number(score, self._selection.spec)


def params_of(params: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameters of a trial, given by their keys, as they are shown, by their short names."""
    return {one_line(short(key)): one_line(param_text(value)) for key, value in params.items()}


def resumed_text(rows: Sequence[Row], num_trials: int) -> str:
    """Return a sentence on what earlier drivers of a sweep have finished, and what is left.

    Args:
        rows: What they have left.
        num_trials: The number of trials; the reference is not among them.
    """
    found = {row.trial: row.outcome for row in rows if row.kind != Kind.REFERENCE}
    number = Counter(found.values())
    ended = [f"{number[status]} {status}" for status in Status if status.has_ended and number[status]]
    parts = [listed(ended) if ended else "none has ended"]
    if begun := sum(number[status] for status in Status if not status.has_ended):
        parts.append(f"{begun} interrupted, which {'goes' if begun == 1 else 'go'} on from the last checkpoint")
    parts.append(f"{max(num_trials - len(found), 0)} to begin")
    return f"Resumed: of {count(num_trials, 'trial')} {', '.join(parts)}"


def _origin(run: Run) -> str:
    parent = replicates.parent_of(run.trial)
    if parent:
        return f", forked from trial {parent} at iteration {run.iteration}"
    return f", resumed from iteration {run.iteration}" if run.iteration else ""


def _reason(run: Run) -> str:
    reason = run.trial.user_attrs.get(replicates.REASON)
    return f": {reason}" if reason else ""


def _params(run: Run) -> str:
    if run.trial_label == REFERENCE_LABEL:
        return "as the reference, without contrast"
    return f"with {', '.join(f'{name} {value}' for name, value in params_of(run.trial.params).items())}"
