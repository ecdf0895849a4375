"""What has become of each trial: the runs with its seeds taken together, ranked, and the best of them kept."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps.common.names import REFERENCE_LABEL, Kind, Status
from sweeps.common.statistics import Spread, paired
from sweeps.definition import objectives
from sweeps.definition.sweep import Sweep
from sweeps.results.rows import Parent, Row, last_checkpoint


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What has become of one trial.

    Attributes:
        label: Label of the trial.
        status: What has become of it.
        score: Mean mIoU in percent over the seeds that are complete; without such a seed, that of the last report of
            the run that came furthest; None before the first evaluation.
        seconds: Sum of the training times of all its runs; None before the first report.
        error: Why its first run that failed has failed, or "".
        values: Seed -> mIoU, for the runs that are complete.
        to_base: Seed -> mIoU less the reference's with the same seed; empty for the reference itself.
        means: Objective -> mean over the runs that are complete, for those objectives that were reported.
        run: The best of its runs.
    """

    label: str
    status: Status
    score: float | None
    seconds: float | None
    error: str
    values: Mapping[int, float]
    to_base: Mapping[int, float]
    means: Mapping[str, float]
    run: Row

    @property
    def kind(self) -> Kind:
        """The part of the sweep that the trial belongs to."""
        return self.run.kind

    @property
    def iterations(self) -> int:
        """The iterations of its best run."""
        return self.run.iterations

    @property
    def params(self) -> Mapping[str, Any]:
        """Its parameters by dotted config key."""
        return self.run.params

    @property
    def parent(self) -> Parent | None:
        """The trial that this one was forked from; None without one."""
        return self.run.parent

    @property
    def pareto(self) -> bool | None:
        """Whether it is on the front; None where there is one objective."""
        return self.run.pareto

    @property
    def is_complete(self) -> bool:
        """Whether it was trained to its end."""
        return self.status == Status.COMPLETE

    @property
    def is_ranked(self) -> bool:
        """Whether it has a rank: it is of the search, and complete."""
        return self.kind == Kind.SEARCH and self.is_complete


def summaries(rows: Iterable[Row]) -> list[Summary]:
    """Return a summary for each trial, in the order of the rows; rows that repeat a run count once."""
    trials: dict[str, dict[str, Row]] = {}
    for row in rows:
        trials.setdefault(row.trial, {}).setdefault(row.label, row)
    scores = {trial: _scores(runs.values()) for trial, runs in trials.items()}
    base = scores.get(REFERENCE_LABEL, {})
    return [
        _summary(trial, list(runs.values()), scores[trial], {} if trial == REFERENCE_LABEL else base)
        for trial, runs in trials.items()
    ]


def ranked(rows: Iterable[Row]) -> list[Summary]:
    """Return the summaries, best first.

    The front comes first, then the other complete trials, both by their mIoU; then the rest by how far they came.
    """

    def order(trial: Summary) -> tuple[bool, bool, int, float, str]:
        how_far = 0 if trial.is_complete else -trial.iterations
        return not trial.is_complete, not trial.pareto, how_far, -(trial.score or 0.0), trial.label

    return sorted(summaries(rows), key=order)


def best_run(rows: Sequence[Row]) -> Row | None:
    """Return the best run of the complete trial of the search with the highest mean mIoU.

    Returns:
        The first of equals; None where no trial of the search is complete.
    """
    complete = [trial for trial in summaries(rows) if trial.is_ranked and trial.score is not None]
    best = max(complete, key=lambda trial: trial.score or 0.0, default=None)
    if best is None:
        return None
    return max((row for row in rows if row.trial == best.label), key=lambda row: row.score or 0.0)


def is_unfinished(sweep: Sweep, trials: Iterable[Summary]) -> bool:
    """Return whether there is something left to train after these trials of a sweep.

    Args:
        sweep: The sweep.
        trials: What has become of each of its trials.
    """
    every = list(trials)
    searched = [trial for trial in every if trial.kind == Kind.SEARCH or not sweep.is_search]
    size, complete = sweep.options.population, sum(trial.is_complete for trial in searched)
    to_begin = len(searched) < sweep.num_trials and not (size is not None and complete >= size)
    return to_begin or any(trial.status == Status.INTERRUPTED for trial in every)


def front(rows: Iterable[Row], params: Iterable[str], names: Sequence[str]) -> list[dict[str, Any]] | None:
    """Return the trials on the front as plain data, that with the highest mIoU first.

    Args:
        rows: Rows of the sweep.
        params: Dotted config keys of the parameters to be told.
        names: Names of the objectives.

    Returns:
        Label, objectives and parameters of each trial; None where there is one objective.
    """
    if len(names) == 1:
        return None
    keys = list(params)
    return [
        {
            "trial": trial.label,
            "objectives": {name: trial.means.get(name) for name in names},
            "params": {key: trial.params[key] for key in keys if trial.params.get(key) is not None},
        }
        for trial in ranked(rows)
        if trial.pareto
    ]


def keep_best(run: Row, target: Path) -> None:
    """Copy a run's last checkpoint and its config to the folder `target`, replacing what is there.

    Raises:
        FileNotFoundError: The run has left no checkpoint.
    """
    checkpoint = last_checkpoint(run.directory)
    if checkpoint is None:
        raise FileNotFoundError(
            f"The best trial has no checkpoint: nothing matches {run.directory}/checkpoint_*/checkpoint.pt"
        )
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    shutil.copy2(checkpoint, partial / "checkpoint.pt")
    shutil.copy2(run.directory / "config.json", partial / "config.json")
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def _summary(trial: str, runs: Sequence[Row], values: Mapping[int, float], base: Mapping[int, float]) -> Summary:
    best = max(runs, key=lambda run: (run.status == Status.COMPLETE, run.score or 0.0))
    seconds = [run.seconds for run in runs if run.seconds is not None]
    return Summary(
        label=trial,
        status=best.outcome,
        score=Spread.of(list(values.values())).mean if values else best.score,
        seconds=sum(seconds) if seconds else None,
        error=next((run.error for run in runs if run.error), ""),
        values=values,
        to_base=paired(values, base),
        means=_means([run for run in runs if run.status == Status.COMPLETE]),
        run=best,
    )


def _scores(runs: Iterable[Row]) -> dict[int, float]:
    # A trial that somebody else has added to the study has no metrics.
    return {run.seed: run.score for run in runs if run.status == Status.COMPLETE and run.score is not None}


def _means(runs: Sequence[Row]) -> dict[str, float]:
    found = {name: [value for run in runs if (value := run.metric(name)) is not None] for name in objectives.DIRECTIONS}
    return {name: statistics.fmean(values) for name, values in found.items() if values}
