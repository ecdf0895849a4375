"""What has become of each trial: the runs with its seeds taken together, ranked, and the best of them kept."""

from __future__ import annotations

import math
import shutil
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweeps.common.names import METRIC, REFERENCE_LABEL, REPORT_METRIC, Kind, Status
from sweeps.common.words import number
from sweeps.definition import objectives
from sweeps.definition.selection import BY_MIOU, Selection
from sweeps.definition.sweep import Sweep
from sweeps.estimates.differences import Difference, compare_all
from sweeps.estimates.spread import Spread, Values, paired
from sweeps.results.rows import Parent, Row, last_checkpoint
from sweeps.results.scores import run_scores


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What has become of one trial.

    Attributes:
        label: Label of the trial.
        status: What has become of it.
        score: Mean over the seeds that are complete of what trials are chosen by; without such a seed, that of the last
            report of the run that stands for the trial; None before the first evaluation.
        miou: The same of mIoU in percent, whatever trials are chosen by; None where the target has no labels.
        seconds: Sum of the training times of all its runs; None before the first report.
        error: Why its first run that failed has failed, or "".
        values: Seed -> score, for the runs that are complete.
        to_base: Seed -> score less the reference's with the same seed; empty for the reference itself.
        difference: Mean of that, with its interval as one of all trials that are compared with the reference; None
            where there is nothing to compare.
        means: Objective -> mean over the runs that are complete, for those objectives that were reported, and the same
            of mIoU on images that took no part in the choice.
        run: The run that stands for the trial, see `representative`.
    """

    label: str
    status: Status
    score: float | None
    miou: float | None
    seconds: float | None
    error: str
    values: Mapping[int, float]
    to_base: Mapping[int, float]
    difference: Difference | None
    means: Mapping[str, float]
    run: Row

    @property
    def kind(self) -> Kind:
        """The part of the sweep that the trial belongs to."""
        return self.run.kind

    @property
    def iterations(self) -> int:
        """The iterations of the run that stands for it."""
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


def summaries(rows: Iterable[Row], selection: Selection = BY_MIOU) -> list[Summary]:
    """Return a summary for each trial, in the order of the rows; rows that repeat a run count once.

    Args:
        rows: Rows of a sweep.
        selection: What trials are chosen by.
    """
    trials: dict[str, dict[str, Row]] = {}
    for row in rows:
        trials.setdefault(row.trial, {}).setdefault(row.label, row)
    by_run = run_scores([run for runs in trials.values() for run in runs.values()], selection)
    scores = {trial: _scores(runs.values(), by_run) for trial, runs in trials.items()}
    base = scores.get(REFERENCE_LABEL, {})
    to_base = {trial: {} if trial == REFERENCE_LABEL else paired(values, base) for trial, values in scores.items()}
    differences = compare_all({trial: found for trial, found in to_base.items() if found})
    return [
        _summary(trial, list(runs.values()), by_run, scores[trial], to_base[trial], differences.get(trial))
        for trial, runs in trials.items()
    ]


def ranked(rows: Iterable[Row], selection: Selection = BY_MIOU) -> list[Summary]:
    """Return the summaries, best first.

    The front comes first, then the other complete trials, both by their scores; then the rest by how far they came.
    """

    def order(trial: Summary) -> tuple[bool, bool, int, float, str]:
        how_far = 0 if trial.is_complete else -trial.iterations
        return not trial.is_complete, not trial.pareto, how_far, -_or_least(trial.score), trial.label

    return sorted(summaries(rows, selection), key=order)


def best_trial(rows: Iterable[Row], selection: Selection = BY_MIOU) -> Summary | None:
    """Return the complete trial of the search with the highest mean score over its seeds.

    Returns:
        The first of equals; None where no trial of the search is complete.
    """
    complete = [trial for trial in summaries(rows, selection) if trial.is_ranked and trial.score is not None]
    return max(complete, key=lambda trial: _or_least(trial.score), default=None)


def representative(runs: Sequence[Row], scores: Mapping[str, float]) -> Row:
    """Return the run that stands for a trial, where one network is wanted: the one of median score.

    The highest would be one more choice of the best, whose score says too much. Of an even number it is the lower of
    the two in the middle, of equals the one of the lowest seed.

    Args:
        runs: The runs of the trial, at least one. Those that are complete count; without one, the run with the highest
            score does.
        scores: Scores by the run's label; a run without one comes last.
    """

    def score(run: Row) -> float:
        return _or_least(scores.get(run.label))

    complete = sorted((run for run in runs if run.status == Status.COMPLETE), key=lambda run: (score(run), run.seed))
    return complete[(len(complete) - 1) // 2] if complete else max(runs, key=score)


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


def front(
    rows: Iterable[Row], params: Iterable[str], names: Sequence[str], selection: Selection = BY_MIOU
) -> list[dict[str, Any]] | None:
    """Return the trials on the front as plain data, that with the highest score first.

    Args:
        rows: Rows of the sweep.
        params: Dotted config keys of the parameters to be told.
        names: Names of the objectives.
        selection: What trials are chosen by.

    Returns:
        Label, objectives and parameters of each trial; None where there is one objective.
    """
    if len(names) == 1:
        return None
    keys = list(params)
    return [
        {
            "trial": trial.label,
            "objectives": {name: trial.means.get(name) if name in objectives.COSTS else trial.score for name in names},
            "params": {key: trial.params[key] for key in keys if trial.params.get(key) is not None},
        }
        for trial in ranked(rows, selection)
        if trial.pareto
    ]


def with_front(rows: Sequence[Row], names: Sequence[str], selection: Selection) -> list[Row]:
    """Return the rows of a sweep with the front as it is by another choice than the sweep's.

    Args:
        rows: Rows of the sweep.
        names: Names of the objectives; with a single one there is no front.
        selection: What trials are chosen by, in place of the objective that is no cost.
    """
    if len(names) == 1:
        return list(rows)
    values = {
        trial.label: [trial.means[name] if name in objectives.COSTS else trial.score for name in names]
        for trial in summaries(rows, selection)
        if trial.is_ranked and trial.score is not None and trial.means.keys() >= objectives.COSTS & {*names}
    }
    found = objectives.front(values, [objectives.direction(name) for name in names])
    return [replace(row, pareto=row.trial in found) for row in rows]


def about_best(trial: Summary, selection: Selection = BY_MIOU) -> str:
    """Return what the folder of the best trial holds, and by which rule, in a sentence."""

    def text(score: float | None) -> str:
        return f"{number(score, selection.spec)}{selection.unit}"

    if len(trial.values) < 2:
        score = f"{selection.name}, {text(trial.score)}"
        return f"best/ is trial {trial.label}, of the highest {score}, trained with seed {trial.run.seed}."
    return (
        f"best/ is trial {trial.label}, of the highest mean {selection.name} over {len(trial.values)} seeds, "
        f"{text(trial.score)}; its checkpoint is that of seed {trial.run.seed}, whose {selection.name}, "
        f"{text(trial.values.get(trial.run.seed))}, is the median, of two in the middle the lower one."
    )


def keep_best(trial: Summary, target: Path, selection: Selection = BY_MIOU) -> None:
    """Copy the last checkpoint and the config of a trial's representative run to a folder, replacing what is there.

    A README.md in it says which trial and which seed they are of, and by which rule.

    Args:
        trial: The trial.
        target: The folder.
        selection: What trials are chosen by.

    Raises:
        FileNotFoundError: The run has left no checkpoint.
    """
    run = trial.run
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
    (partial / "README.md").write_text(f"{about_best(trial, selection)}\n")
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def _summary(
    trial: str,
    runs: Sequence[Row],
    scores: Mapping[str, float],
    values: Values,
    to_base: Values,
    difference: Difference | None,
) -> Summary:
    run = representative(runs, scores)
    means = _means([found for found in runs if found.status == Status.COMPLETE])
    seconds = [run.seconds for run in runs if run.seconds is not None]
    return Summary(
        label=trial,
        status=run.outcome,
        score=Spread.of(list(values.values())).mean if values else scores.get(run.label),
        miou=means.get(METRIC, run.score),
        seconds=sum(seconds) if seconds else None,
        error=next((found.error for found in runs if found.error), ""),
        values=values,
        to_base=to_base,
        difference=difference,
        means=means,
        run=run,
    )


def _scores(runs: Iterable[Row], scores: Mapping[str, float]) -> dict[int, float]:
    # A trial that somebody else has added to the study has no metrics.
    return {run.seed: scores[run.label] for run in runs if run.status == Status.COMPLETE and run.label in scores}


def _or_least(score: float | None) -> float:
    return -math.inf if score is None else score


def _means(runs: Sequence[Row]) -> dict[str, float]:
    found = {
        name: [value for run in runs if (value := run.metric(name)) is not None]
        for name in (*objectives.DIRECTIONS, REPORT_METRIC)
    }
    return {name: statistics.fmean(values) for name, values in found.items() if values}
