"""What a sweep says while it runs: one line per event; on a terminal one table instead, of `sweeps.progress.live`."""

from __future__ import annotations

import logging
import math
import os
import re
import time
import warnings
from collections.abc import Sequence
from types import TracebackType
from typing import TextIO

import optuna
from ray._private import ray_logging

from sweeps.definition.sweep import Sweep
from sweeps.results import rows as results
from sweeps.results.comparison import spread
from sweeps.search import replicates
from sweeps.search.searcher import METRIC, REFERENCE_LABEL, Run


def duration(seconds: float) -> str:
    """``m:ss``, or ``h:mm:ss`` from an hour on."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


class Terminal:
    """Writes the lines. Knows the best complete trial so far, to set each report beside it.

    To be entered while trials run.
    """

    def __init__(self, out: TextIO | None, seeds: Sequence[int], best: tuple[str, float] | None = None):
        """`out` None keeps quiet; `best` is the label and mIoU of the best trial of an earlier driver of the sweep."""
        self._start = time.monotonic()
        self._out = out
        self._seeds = seeds
        self._best = best
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
        """Lines as they are."""
        if self._out:
            print(text, file=self._out, flush=True)

    def say(self, text: str) -> None:
        """One line, after the time since the start."""
        self.write(f"[{duration(time.monotonic() - self._start):>7}] {text}")

    def say_once(self, text: str) -> None:
        """The same, unless it was said before."""
        if text not in self._told:
            self._told.add(text)
            self.say(text)

    def event(self, event: str, run: Run) -> None:
        """One line for an event of `StudySearcher`."""
        self._note_best(event, run)
        self.say(self._line(event, run))

    def _note_best(self, event: str, run: Run) -> None:
        if event == ("complete" if len(self._seeds) == 1 else "judged") and run.point != REFERENCE_LABEL:
            mean = replicates.mean(replicates.values(run.trial, self._seeds).values())
            self._best = max(self._best or ("", -math.inf), (run.point, mean), key=lambda b: b[1])

    def _line(self, event: str, run: Run) -> str:
        progress = f"iteration {run.iteration}/{run.iterations}"
        score = f"{METRIC} {run.metrics.get(METRIC, math.nan):.2f}"
        scores = replicates.values(run.trial, self._seeds)
        text = {
            "started": f"started   {_params(run)}{_origin(run)}",
            "reported": f"{progress}  {score}{self._beside()}",
            "resumed": f"goes on from {progress}",
            "restarted": f"{run.error}; it is started again",
            "complete": f"complete  {score}{self._beside()}",
            "paused": f"paused at {progress} until the others have come as far",
            "pruned": f"pruned at {progress}  {score}{_reason(run)}",
            "failed": f"FAILED    {run.error}",
            "judged": f"mean over seeds {spread(scores, len(self._seeds))}{self._beside()}",
            "outpaced": f"pruned at mean {spread(scores, len(self._seeds))}: no other seed can lift it to the best",
        }[event]
        return f"{run.point if event in ('judged', 'outpaced') else run.label}  {text}"

    def _beside(self) -> str:
        return f"   best {self._best[1]:.2f} ({self._best[0]})" if self._best else ""


def open_terminal(out: TextIO | None, sweep: Sweep, rows: Sequence[results.Row]) -> Terminal:
    """What `sweep` writes on `out` (None: nothing), of whose runs earlier drivers have left `rows`.

    Lines, unless it is a terminal that can move its cursor, and nobody keeps what appears on it for later.
    """
    leading = [row for row in results.ranked(rows) if row["status"] == "complete" and row["kind"] == "search"]
    best = (leading[0]["trial"], leading[0][METRIC]) if leading and not sweep.points else None
    if out is None or not out.isatty() or os.environ.get("TERM") == "dumb" or "CI" in os.environ:
        return Terminal(out, sweep.seeds, best)
    from rich.console import Console

    from sweeps.progress.live import LiveTerminal, Plan

    return LiveTerminal(Console(file=out, highlight=False), sweep.seeds, best, Plan.of(sweep, rows))


def silence() -> None:
    """Keeps Ray's, Tune's and Optuna's own messages off the terminal. To be called before Ray is imported further."""
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
    # The trials write TensorBoard themselves, into their own directories.
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    # Of every lost machine Ray prints the end of a log; a trial that goes on says so itself.
    ray_logging.stdout_deduplicator.skip_re = re.compile("^Raylet is terminated")
    for name in ("ray", "ray.tune", "ray.train", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    warnings.filterwarnings("ignore", module=r"ray\..*")


def _origin(run: Run) -> str:
    parent = replicates.lineage(run.trial)
    child = f"a child of {parent[replicates.PARENT]}, " if parent else ""
    return f"   ({child}from iteration {run.iteration})" if run.iteration else ""


def _reason(run: Run) -> str:
    reason = run.trial.user_attrs.get(replicates.REASON)
    return f"   {reason}" if reason else ""


def _params(run: Run) -> str:
    if run.point == REFERENCE_LABEL:
        return "the reference, without contrast"
    return "  ".join(f"{name} {value}" for name, value in values_of(run).items())


def values_of(run: Run) -> dict[str, str]:
    """The parameters of a run's trial, as they are shown, by what follows the last dot of their keys."""
    params = run.trial.params.items()
    return {key.rpartition(".")[2]: f"{v:.3g}" if isinstance(v, float) else str(v) for key, v in params}
