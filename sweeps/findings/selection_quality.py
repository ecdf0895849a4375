"""How good a choice each criterion would have been, where target labels exist to say so.

A criterion needs no label of the target. Where there are labels, for the judge of the criteria alone, the mIoU of the
trial that a criterion would have chosen shows what the choice costs. The choice by mIoU itself is the oracle: nobody
without labels can make it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pgpc.evaluation.names import CRITERIA_PREFIX, ONLINE_CRITERIA
from pgpc.runtime.files import write_file
from sweeps.common.names import METRIC, REPORT_METRIC
from sweeps.definition.selection import RANK, Selection
from sweeps.estimates.bootstrap import percentile_interval, resamples
from sweeps.estimates.rank_correlation import RankCorrelation
from sweeps.estimates.spread import Interval

ORACLE = "oracle: by target labels"
"""What the choice by mIoU is called."""
SELECTION_FILE = "selection.parquet"
"""Name of the file of these results in the folder of a sweep."""

Metrics = Mapping[str, float]
"""Name -> value of what a training has reported."""
Curves = Mapping[str, Mapping[int, Metrics]]
"""Label of a trial -> iteration -> what was reported there."""


@dataclass(frozen=True)
class Estimate:
    """A number, and how far it moves when the trials are drawn anew.

    Attributes:
        value: The number; NaN where it cannot be computed.
        interval: 95 % bootstrap interval; None where it cannot be computed.
    """

    value: float
    interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How alike a criterion and mIoU order the same items.

    Attributes:
        num: Number of items.
        spearman: Spearman's rank correlation.
        kendall: Kendall's rank correlation, tau-b.
    """

    num: int
    spearman: Estimate
    kendall: Estimate


@dataclass(frozen=True, kw_only=True)
class Quality:
    """What a choice by one criterion would have come to.

    Attributes:
        name: The criterion, or `ORACLE`.
        chosen: Label of the trial that it would have chosen.
        score: mIoU of that trial in percent.
        report_score: The same on images that no choice has seen; None where there are none.
        regret: The highest mIoU of a trial less that, in points.
        trials: Agreement with mIoU over the trials; None for the oracle, which is mIoU.
        checkpoints: The same over every evaluation of every trial; None for the oracle, and without such curves.
    """

    name: str
    chosen: str
    score: float
    report_score: float | None
    regret: Estimate
    trials: Agreement | None
    checkpoints: Agreement | None

    @property
    def is_oracle(self) -> bool:
        """Whether it is the choice by target labels."""
        return self.name == ORACLE

    def to_columns(self) -> dict[str, str | float | None]:
        """Return it as plain values by column, as `SELECTION_FILE` has them."""
        columns: dict[str, str | float | None] = {
            "criterion": self.name,
            "trial": self.chosen,
            METRIC: self.score,
            REPORT_METRIC: self.report_score,
            **_columns("regret", self.regret),
        }
        for name, found in (("trials", self.trials), ("checkpoints", self.checkpoints)):
            nothing = Estimate(math.nan, None)
            columns[name] = found.num if found else None
            columns |= _columns(f"spearman_{name}", found.spearman if found else nothing)
            columns |= _columns(f"kendall_{name}", found.kendall if found else nothing)
        return columns


def choices(reports: Iterable[Metrics]) -> list[Selection]:
    """Return every choice that could have been made from these reports without labels.

    Returns:
        Each criterion that all reports have, in the order of the first report, and the mean rank of all that an
        evaluation computes where there are several; none where there are no reports.
    """
    found = list(reports)
    names = [name for name in (found[0] if found else ()) if name.startswith(CRITERIA_PREFIX)]
    single = [Selection(name.removeprefix(CRITERIA_PREFIX), (name,)) for name in names]
    single = [choice for choice in single if all(choice.has(report) for report in found)]
    online = [choice for choice in single if choice.text in ONLINE_CRITERIA]
    together = RANK + ",".join(choice.text for choice in online)
    return [*single, Selection.parse(together)] if len(online) > 1 else single


def selection_quality(
    trials: Mapping[str, Metrics],
    curves: Curves,
    selections: Sequence[Selection],
    generator: np.random.Generator,
) -> list[Quality]:
    """Return what each choice would have come to, and last the oracle's.

    Bootstrap intervals are of :data:`sweeps.estimates.bootstrap.DRAWS` resamples of whole trials, each with all its
    checkpoints, since the checkpoints of one training depend on one another. They say how much the figures hang on
    which trials were run, not how they would be on another pair of data sets.

    Args:
        trials: Label -> metrics of each trial that may be chosen, means over its seeds; those without mIoU are left
            out.
        curves: What each trial has reported at its evaluations, that of trials that were stopped early too.
        selections: The choices.
        generator: Source of the resamples.

    Returns:
        None at all where fewer than two trials have mIoU; without a choice that no trial has the metrics of.
    """
    known = {label: metrics for label, metrics in trials.items() if _has_score(metrics)}
    if len(known) < 2:
        return []
    found = []
    for selection in selections:
        scores = selection.scores(known)
        if scores:
            found.append(_quality(selection, scores, known, curves, generator))
    if not found:
        return []
    best = max(known, key=lambda label: known[label][METRIC])
    score = known[best][METRIC]
    report = known[best].get(REPORT_METRIC)
    none = Estimate(0.0, None)
    oracle = Quality(
        name=ORACLE, chosen=best, score=score, report_score=report, regret=none, trials=None, checkpoints=None
    )
    return [*found, oracle]


def regret_by_chance(trials: Mapping[str, Metrics]) -> float:
    """Return the regret of a trial that is drawn at random, on average, in points of mIoU."""
    scores = [metrics[METRIC] for metrics in trials.values() if _has_score(metrics)]
    return max(scores) - statistics.fmean(scores)


def mean_regret(selection: Selection, trials: Mapping[str, Metrics], generator: np.random.Generator) -> float:
    """Return the regret of a choice on average over bootstrap resamples of the trials, in points of mIoU.

    It hangs less on single trials than the regret among the trials as they are. A mean rank is that among all trials,
    also in a resample. Choices are compared in the same resamples if each is given a generator of the same seed.

    Args:
        selection: The choice; every trial with mIoU has what it is made of.
        trials: Label -> metrics of each trial that may be chosen, at least one with mIoU.
        generator: Source of the :data:`sweeps.estimates.bootstrap.DRAWS` resamples.
    """
    known = {label: metrics for label, metrics in trials.items() if _has_score(metrics)}
    scores = selection.scores(known)
    criterion, truth = np.array([scores[k] for k in known]), np.array([m[METRIC] for m in known.values()])
    return float(_regrets(criterion, truth, resamples(len(known), generator)).mean())


def write_quality(qualities: Sequence[Quality], path: Path) -> None:
    """Write a row for each choice as a parquet file, in one step."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [quality.to_columns() for quality in qualities]
    texts = ("criterion", "trial")
    kinds = {key: pa.string() if key in texts else pa.float64() for key in rows[0]}
    table = pa.table({key: pa.array([row[key] for row in rows], type=kind) for key, kind in kinds.items()})
    write_file(path, lambda file: pq.write_table(table, file))


def _quality(
    selection: Selection,
    scores: Mapping[str, float],
    trials: Mapping[str, Metrics],
    curves: Curves,
    generator: np.random.Generator,
) -> Quality:
    labels = list(scores)
    chosen = max(labels, key=scores.__getitem__)
    criterion, truth = np.array([scores[k] for k in labels]), np.array([trials[k][METRIC] for k in labels])
    counts = resamples(len(labels), generator)
    best = max(metrics[METRIC] for metrics in trials.values())
    return Quality(
        name=selection.text,
        chosen=chosen,
        score=trials[chosen][METRIC],
        report_score=trials[chosen].get(REPORT_METRIC),
        regret=Estimate(best - trials[chosen][METRIC], percentile_interval(_regrets(criterion, truth, counts))),
        trials=_agreement(RankCorrelation.of_items(criterion, truth), counts),
        checkpoints=_over_checkpoints(selection, curves, generator),
    )


def _over_checkpoints(selection: Selection, curves: Curves, generator: np.random.Generator) -> Agreement | None:
    """Return the agreement over every (trial, checkpoint) that has both; None where there are fewer than two."""
    reports = {
        (label, iteration): metrics
        for label, curve in curves.items()
        for iteration, metrics in curve.items()
        if _has_score(metrics)
    }
    scores = selection.scores(reports)
    if len(scores) < 2:
        return None
    labels = list(dict.fromkeys(label for label, _ in scores))
    place = {label: i for i, label in enumerate(labels)}
    correlation = RankCorrelation(
        x=np.array(list(scores.values())),
        y=np.array([reports[key][METRIC] for key in scores]),
        groups=np.array([place[label] for label, _ in scores]),
        num_groups=len(labels),
    )
    return _agreement(correlation, resamples(len(labels), generator))


def _agreement(correlation: RankCorrelation, counts: np.ndarray) -> Agreement:
    """Return the rank correlations, with intervals from these resamples (draws, groups)."""
    once = correlation.all_once
    # Two groups have no resamples that say anything: those that differ from the groups themselves are of one alone.
    moved = counts if correlation.num_groups > 2 else counts[:0]
    return Agreement(
        num=len(correlation.x),
        spearman=Estimate(float(correlation.spearman(once)[0]), percentile_interval(correlation.spearman(moved))),
        kendall=Estimate(float(correlation.kendall(once)[0]), percentile_interval(correlation.kendall(moved))),
    )


def _regrets(criterion: np.ndarray, truth: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the regret (draws,) of a choice by the criterion (n,) among the trials of each resample (draws, n)."""
    there = counts > 0
    best = np.where(there, truth, -np.inf).max(axis=1)
    regrets: np.ndarray = best - truth[np.where(there, criterion, -np.inf).argmax(axis=1)]
    return regrets


def _has_score(metrics: Metrics) -> bool:
    return not math.isnan(metrics.get(METRIC, math.nan))


def _columns(name: str, estimate: Estimate) -> dict[str, float | None]:
    interval = estimate.interval
    return {
        name: None if math.isnan(estimate.value) else estimate.value,
        f"{name}_low": interval.low if interval else None,
        f"{name}_high": interval.high if interval else None,
    }
