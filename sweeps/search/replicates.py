"""Trials with several seeds: what a study keeps of each replicate, and when a trial is not worth another one.

A replicate is the training of one trial with one seed. A study holds its state in user attributes of the trial, whose
names end in the replicate's suffix; with a single seed the suffix is empty.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, Trial

METRIC = "mIoU"
REFERENCE_LABEL = "base"
EARLIER = "warm_start"
"""User attribute of trials that another study has contributed: where they come from."""

_CURVE = "curve"
PARENT, PARENT_ITERATION, PARENT_SECONDS = "parent", "parent_iteration", "parent_seconds"
"""User attributes of a trial that goes on from another one: its label, and the iterations and seconds of training that
it has from there. So are the columns of its row called."""
REASON = "reason"
"""User attribute of a trial that was ended for another one: why."""

RUNNING, COMPLETE, PRUNED, FAILED = "running", "complete", "pruned", "failed"


def suffix(seed: int, seeds: Sequence[int]) -> str:
    """What tells a replicate from the others of its trial: ``"-s1"``, or nothing where there is one seed."""
    return f"-s{seed}" if len(seeds) > 1 else ""


def metrics(trial: FrozenTrial, seed: int, seeds: Sequence[int]) -> dict[str, float]:
    """The replicate's last report; empty before the first."""
    return dict(trial.user_attrs.get(f"metrics{suffix(seed, seeds)}", {}))


def status(trial: FrozenTrial, seed: int, seeds: Sequence[int]) -> str | None:
    """One of the words above; None before the replicate was started."""
    return trial.user_attrs.get(f"status{suffix(seed, seeds)}")


def error(trial: FrozenTrial, seed: int, seeds: Sequence[int]) -> str:
    """Why the replicate failed, or ""."""
    return trial.user_attrs.get(f"error{suffix(seed, seeds)}", "")


def values(trial: FrozenTrial, seeds: Sequence[int]) -> dict[int, float]:
    """Score of each complete replicate, by seed."""
    complete = [seed for seed in seeds if status(trial, seed, seeds) == COMPLETE]
    return {seed: metrics(trial, seed, seeds)[METRIC] for seed in complete}


def means(trial: FrozenTrial, seeds: Sequence[int], names: Sequence[str]) -> list[float]:
    """Mean over the complete replicates, at least one, of each of these metrics."""
    found = [metrics(trial, seed, seeds) for seed in values(trial, seeds)]
    return [mean(replicate[name] for replicate in found) for name in names]


def curve(trial: FrozenTrial) -> dict[int, float]:
    """What a study holds of a trial's reports: iteration -> score.

    Optuna refuses them in a study of several objectives; there they are a user attribute, see `note`.
    """
    return trial.intermediate_values or {int(k): v for k, v in trial.user_attrs.get(_CURVE, {}).items()}


def note(trial: Trial, value: float, iteration: int) -> None:
    """Keep a score, in a study of several objectives, for `curve`."""
    trial.set_user_attr(_CURVE, {**trial.user_attrs.get(_CURVE, {}), str(iteration): value})


def spread_between_seeds(scores: Iterable[Sequence[float]]) -> float:
    """The widest range between seeds of one trial that was seen so far; infinite while none has two seeds.

    Args:
        scores: of each trial, those over its seeds.
    """
    return max((max(v) - min(v) for v in scores if len(v) > 1), default=math.inf)


def can_catch_up(scores: Sequence[float], num_seeds: int, best: float, spread: float) -> bool:
    """Whether a trial's mean over all its seeds can still reach the best complete trial's.

    The most that a seed to come may give is taken to be the trial's own best plus `spread`. If even that for all of
    them leaves the mean below `best`, no plausible outcome changes the ranking, and the time is better spent elsewhere.

    Args:
        scores: of the seeds so far, at least one.
        num_seeds: that the trial would have in the end.
        best: highest mean of a complete trial; ``-inf`` where there is none.
        spread: of :func:`spread_between_seeds`.
    """
    left = num_seeds - len(scores)
    return left == 0 or (sum(scores) + left * (max(scores) + spread)) / num_seeds >= best


def mean(scores: Iterable[float]) -> float:
    """Arithmetic mean."""
    return statistics.fmean(scores)


def lineage(trial: FrozenTrial | Any) -> dict[str, Any]:
    """The three attributes above, of a trial that has a parent."""
    attrs = trial.user_attrs
    return {key: attrs[key] for key in (PARENT, PARENT_ITERATION, PARENT_SECONDS)} if PARENT in attrs else {}


def ancestry(row: Mapping[str, Any]) -> str:
    """Of a trial's row, whose child it is and since when, or "-"."""
    return f"{row[PARENT]} from {row[PARENT_ITERATION]}" if PARENT in row else "-"


def is_own(trial: FrozenTrial | Any) -> bool:
    """Whether the sweep has run the trial itself."""
    return EARLIER not in trial.user_attrs
