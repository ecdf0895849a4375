"""Trials with several seeds: what a study keeps of each run, and when a trial is not worth another one.

A run is the training of one trial with one seed. A study holds its state in user attributes of the trial, whose names
end in the run's suffix; with a single seed the suffix is empty.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, Trial

from pgpc.evaluation.names import CRITERIA_PREFIX
from sweeps.common.names import METRIC, Status

EARLIER = "warm_start"
"""User attribute of trials that another study has contributed: where they come from."""
PARENT, PARENT_ITERATION, PARENT_SECONDS = "parent", "parent_iteration", "parent_seconds"
"""User attributes of a trial that was forked from another one: its label, and the iterations and seconds of training
that it has from there. The columns of its rows have the same names."""
REASON = "reason"
"""User attribute of a trial that was ended for another one: why."""
_CURVES, _METRICS, _STATUS, _ERROR, _DIVERGED = "curves", "metrics", "status", "error", "diverged"
_OLD_CURVE = "curve"
"""User attribute of trials with several objectives in sweeps of before: mIoU by iteration."""

AnyTrial = FrozenTrial | Trial


def suffix(seed: int, seeds: Sequence[int]) -> str:
    """Return what tells a run from the others of its trial: ``"-s1"``, or nothing where there is one seed."""
    return f"-s{seed}" if len(seeds) > 1 else ""


def metrics(trial: AnyTrial, seed: int, seeds: Sequence[int]) -> dict[str, float]:
    """Return the run's last report; it is empty before the first."""
    return dict(trial.user_attrs.get(f"{_METRICS}{suffix(seed, seeds)}", {}))


def set_metrics(trial: Trial, seed: int, seeds: Sequence[int], found: dict[str, float]) -> None:
    """Keep the run's last report."""
    trial.set_user_attr(f"{_METRICS}{suffix(seed, seeds)}", found)


def status(trial: AnyTrial, seed: int, seeds: Sequence[int]) -> Status | None:
    """Return what has become of the run; None before it was started."""
    found = trial.user_attrs.get(f"{_STATUS}{suffix(seed, seeds)}")
    return None if found is None else Status(found)


def set_status(trial: Trial, seed: int, seeds: Sequence[int], found: Status) -> None:
    """Keep what has become of the run."""
    trial.set_user_attr(f"{_STATUS}{suffix(seed, seeds)}", found.value)


def error(trial: AnyTrial, seed: int, seeds: Sequence[int]) -> str:
    """Return why the run failed, or ""."""
    return str(trial.user_attrs.get(f"{_ERROR}{suffix(seed, seeds)}", ""))


def set_error(trial: Trial, seed: int, seeds: Sequence[int], found: str) -> None:
    """Keep why the run failed."""
    trial.set_user_attr(f"{_ERROR}{suffix(seed, seeds)}", found)


def set_trial_error(trial: Trial, found: str) -> None:
    """Keep why a trial failed as a whole, beside the errors of its runs."""
    trial.set_user_attr(_ERROR, found)


def has_diverged(trial: AnyTrial) -> bool:
    """Return whether a trial failed because its loss or its score was no number, which is its parameters' fault."""
    return bool(trial.user_attrs.get(_DIVERGED, False))


def set_diverged(trial: Trial) -> None:
    """Keep that a trial failed because its loss or its score was no number."""
    trial.set_user_attr(_DIVERGED, True)


def is_of_failure(key: str, value: Any) -> bool:
    """Return whether a user attribute of a failed trial is about its failure, which another attempt makes void."""
    return key == _DIVERGED or key.startswith(_ERROR) or (key.startswith(_STATUS) and value == Status.FAILED)


def parent_attrs(label: str, report: dict[str, float]) -> dict[str, Any]:
    """Return the user attributes of a trial that is forked from another one, before it has trained anything.

    Args:
        label: The label of its parent.
        report: The last report in the checkpoint that it is forked from.
    """
    return {
        PARENT: label,
        PARENT_ITERATION: int(report["iteration"]),
        PARENT_SECONDS: report["seconds"],
        _METRICS: report,
    }


def values(trial: AnyTrial, seeds: Sequence[int], name: str = METRIC) -> dict[int, float]:
    """Return a metric of each complete run, by seed; NaN of one that has not reported it."""
    complete = [seed for seed in seeds if status(trial, seed, seeds) == Status.COMPLETE]
    return {seed: metrics(trial, seed, seeds).get(name, math.nan) for seed in complete}


def means(trial: AnyTrial, seeds: Sequence[int], names: Iterable[str]) -> dict[str, float]:
    """Return the mean of each of these metrics over the complete runs, as far as there is one, by name."""
    found = {name: list(values(trial, seeds, name).values()) for name in names}
    return {name: mean(numbers) for name, numbers in found.items() if numbers}


def curves(trial: FrozenTrial) -> dict[int, dict[str, float]]:
    """Return what a study holds of the reports of a trial's first seed: mIoU and criteria by iteration.

    A sweep of before knew mIoU alone, as what Optuna calls intermediate values. Where such a trial was resumed, what
    it has from before is what comes before the rest.
    """
    found = {int(k): dict(v) for k, v in trial.user_attrs.get(_CURVES, {}).items()}
    first = min(found, default=math.inf)
    before = trial.intermediate_values or {int(k): v for k, v in trial.user_attrs.get(_OLD_CURVE, {}).items()}
    return {**{i: {METRIC: value} for i, value in before.items() if i < first}, **found}


def is_evaluation(report: Mapping[str, float]) -> bool:
    """Return whether a report is that of an evaluation, and not of a checkpoint between two."""
    return any(_is_judged(name) for name in report)


def add_to_curves(trial: Trial, report: Mapping[str, float]) -> None:
    """Keep mIoU and criteria of an evaluation for `curves`."""
    judged = {name: value for name, value in report.items() if _is_judged(name)}
    known = trial.user_attrs.get(_CURVES, {})
    trial.set_user_attr(_CURVES, {**known, str(int(report["iteration"])): judged})


def _is_judged(name: str) -> bool:
    return name == METRIC or name.startswith(CRITERIA_PREFIX)


def spread_between_seeds(scores: Iterable[Sequence[float]]) -> float:
    """Return the widest range between seeds of one trial that was seen so far.

    Args:
        scores: The scores of each trial over its seeds.

    Returns:
        The range in points; infinite while no trial has two seeds.
    """
    return max((max(v) - min(v) for v in scores if len(v) > 1), default=math.inf)


def can_catch_up(scores: Sequence[float], num_seeds: int, best: float, spread: float) -> bool:
    """Return whether a trial's mean over all its seeds can still reach the best complete trial's.

    The most that a seed to come may give is taken to be the trial's own best plus `spread`. If even that for all of
    them leaves the mean below `best`, no plausible outcome changes the ranking, and the time is better spent elsewhere.

    Args:
        scores: The scores of the seeds so far, at least one.
        num_seeds: The number of seeds that the trial would have in the end.
        best: The highest mean of a complete trial; ``-inf`` where there is none.
        spread: The range of :func:`spread_between_seeds`.
    """
    left = num_seeds - len(scores)
    return left == 0 or (sum(scores) + left * (max(scores) + spread)) / num_seeds >= best


def mean(scores: Iterable[float]) -> float:
    """Return the arithmetic mean."""
    return statistics.fmean(scores)


def parent_of(trial: AnyTrial) -> str | None:
    """Return the label of the trial that this one was forked from; None for one without a parent."""
    return trial.user_attrs.get(PARENT)


def is_own(trial: AnyTrial) -> bool:
    """Return whether the sweep has run the trial itself."""
    return EARLIER not in trial.user_attrs
