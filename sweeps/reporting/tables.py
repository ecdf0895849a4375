"""The tables of a report as data: ranking, front, the paper's tables, failures, IoU per class, importance and cost."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from sweeps.common import words
from sweeps.common.names import METRIC, REPORT_METRIC, Status
from sweeps.definition.objectives import OBJECTIVES
from sweeps.definition.selection import OPTIMISTIC
from sweeps.estimates.spread import Spread
from sweeps.findings import comparison
from sweeps.reporting import evidence
from sweeps.reporting.data import SweepReport
from sweeps.reporting.headline import TARGET_LABELS
from sweeps.results import costs, ranking, tables
from sweeps.results.costs import Cost
from sweeps.results.forks import read_fork
from sweeps.results.rows import Row
from sweeps.results.summaries import Summary
from sweeps.results.tables import Cell, Column, Table

_FULL_TINT = 5.0  # points of IoU at which a cell has its full color
_FEW = 20  # complete trials; importances of fewer are a matter of chance


_OVERALL = ("mean_F1", "pixel_accuracy")
"""Scores beside the mean IoU that the table of classes has; reports of earlier versions lack them."""


def all_tables(report: SweepReport) -> list[Table]:
    """Return the tables of the report, in its order, without those that have nothing to say."""
    found = [
        evidence.confirmation(report),
        ranked(report),
        pareto(report),
        *paper(report),
        evidence.selection(report),
        per_class(report),
        importance(report),
        failures(report),
        cost(report),
    ]
    return [table for table in found if table is not None]


def ranked(report: SweepReport) -> Table:
    """Return the table of every trial, best first, with its parameters."""
    seeds = report.sweep.seeds
    several = len(seeds) > 1
    columns = [
        *ranking.leading_columns(
            report.trials,
            has_front=bool(report.costs),
            paper=(lambda trial: report.belongs_to(trial.label)) if report.sweep.tables else None,
        ),
        _score(report),
        *ranking.oracle(report.trials, report.selection),
        *map(ranking.objective, report.costs),
        *([_report_score()] if report.has_report_split else []),
        *([Column("std", _std), Column("seeds", _num_seeds)] if several else []),
        *_differences(report),
        *map(ranking.param, report.params),
        ranking.iterations(),
        Column("time", lambda trial: tables.time(trial.seconds)),
    ]
    by = f"{report.selection.name}{' in percent' if report.selection.unit else ''}"
    caption = (
        f"All trials by {by}, complete ones first. The score of a trial that is running, was stopped early (pruned), "
        "failed, or was interrupted is that of its last evaluation."
    )
    if several:
        caption += f" Means over seeds {', '.join(map(str, seeds))}. {evidence.about_intervals(report)}"
    elif report.base:
        caption += f" {evidence.ONE_SEED}"
    if report.selection != report.sweep.selection:
        caption += f" The sweep itself, and so its search, best/ and its study, is by {report.sweep.selection.text}."
    caption += _about_choice(report)
    if report.sweep.trains_on_target_labels:
        caption += f" {TARGET_LABELS}"
    if about := evidence.about_classes(report):
        caption += f" {about}"
    if report.has_report_split:
        caption += f" {evidence.about_split(report)}"
    if report.costs:
        caption += f" A star marks the front of {', '.join(report.sweep.objectives)}, which comes first."
    return Table.of("ranking", caption, columns, report.trials)


def _about_choice(report: SweepReport) -> str:
    """Return what it means to rank trials as the report does, for the end of a caption."""
    if report.selection.needs_labels:
        return f" {OPTIMISTIC}"
    text = f" They are chosen by {report.selection.text}, without labels of the target."
    if any(trial.miou is not None for trial in report.trials):
        text += f" {METRIC}, which takes labels, took no part in it."
    return text


def pareto(report: SweepReport) -> Table | None:
    """Return the table of the front of several objectives; None where there is none."""
    if not report.front:
        return None
    names, seeds = report.sweep.objectives, len(report.sweep.seeds)
    caption = (
        f"The front: complete trials of the search that no other trial equals on {words.listed(names)} and surpasses "
        "on one of them. "
    )
    if seeds > 1:
        caption += f"Means over {seeds} seeds. "
    caption += " ".join(OBJECTIVES[name].measured for name in report.costs)
    columns = [
        _label(),
        _score(report),
        *(_mean(name) for name in report.costs),
        *_differences(report),
        *map(ranking.param, report.params),
    ]
    return Table.of("pareto", caption, columns, report.front)


def paper(report: SweepReport) -> list[Table]:
    """Return the paper's tables that were run, with what came out beside what the paper has."""
    about = evidence.INTERVALS if len(report.sweep.seeds) > 1 else evidence.ONE_SEED
    return [
        comparison.beside_paper(
            table,
            comparison.compare(table, report.rows, report.selection),
            report.sweep.seeds,
            report.selection,
            name=f"paper-{i}-{table.number}",
            caption=f"{comparison.title(table)}. {table.notes} {about}".replace("  ", " ").strip(),
        )
        for i, table in enumerate(report.sweep.tables)
    ]


def failures(report: SweepReport) -> Table | None:
    """Return the table of the runs that failed, and why; None where none has."""
    failed = [run for run in report.runs if run.status == Status.FAILED]
    if not failed:
        return None
    columns = [
        Column[Row]("trial", lambda run: tables.word(run.label), left=True),
        Column("at iteration", lambda run: tables.number(run.iterations, "d")),
        Column("error", lambda run: tables.word(run.error), left=True),
    ]
    return Table.of("failures", "Trainings that failed, and why.", columns, failed)


def per_class(report: SweepReport) -> Table | None:
    """Return the table of each class's IoU in each complete trial, painted by its difference to the base."""
    trials = [trial for trial in report.trials if trial.is_complete]
    if not trials or not report.classes:
        return None
    base = report.base

    def of_class(name: str) -> Column[Summary]:
        other = report.class_iou(base, name) if base else None
        return Column(name, lambda trial: _tinted(report.class_iou(trial, name), other, ".1f"))

    def overall(name: str) -> Column[Summary]:
        other = report.metric(base, name) if base else None
        title = name.replace("_", " ")
        return Column(title, lambda trial: _tinted(report.metric(trial, name), other, ".2f"))

    there = [name for name in _OVERALL if any(report.metric(trial, name) is not None for trial in trials)]
    columns = [
        Column[Summary]("trial", lambda trial: tables.word(trial.label, strong=trial is base), left=True),
        Column(METRIC, lambda trial: _tinted(trial.miou, base.miou if base else None, ".2f")),
        *map(overall, there),
        *map(of_class, report.classes),
    ]
    caption = "IoU per class in percent, complete trials, best first."
    if there:
        caption += " Mean F1 is over the classes, pixel accuracy over all pixels."
    if base and len(report.sweep.seeds) == 1:
        caption += f" {evidence.ONE_SEED}"
    colors = f"Blue is above the base, orange below; full color at {_FULL_TINT:g} points." if base else ""
    return Table.of("classes", caption, columns, trials, colors=colors)


def importance(report: SweepReport) -> Table | None:
    """Return the table of what sets the best trials apart; None where that is not known."""
    shares = report.importances.shares
    if not shares:
        return None
    num, largest = len(report.complete), max(shares.values()) or 1.0
    caption = (
        "How much each parameter sets the best trials apart (PED-ANOVA, as Optuna computes it), over "
        f"{words.count(num, 'complete trial')}; the shares sum to 1."
    )
    if num < _FEW:
        caption += " From so few trials this is a hint at most."
    columns = [
        Column[tuple[str, float]]("parameter", lambda item: tables.word(words.short(item[0])), left=True),
        Column("importance", lambda item: tables.number(item[1], bar=item[1] / largest)),
    ]
    return Table.of("importance", caption, columns, shares.items())


def cost_of(report: SweepReport) -> tuple[Cost, Cost]:
    """Return what the sweep has cost and what it has not, in iterations and in worker-seconds."""

    def planned(run: Row) -> int:
        return report.sweep.iterations(run.params)

    runs, num_seeds = _runs(report), len(report.sweep.seeds)
    iterations = costs.in_iterations(runs, planned, num_seeds)
    seconds = costs.in_seconds(runs, planned, num_seeds)
    return iterations, seconds.times(report.sweep.num_workers)


class _CostLine(NamedTuple):
    """One line of the table of costs: what it is of, and how much in worker-seconds and in iterations."""

    name: str
    seconds: float
    iterations: float


def cost(report: SweepReport) -> Table:
    """Return the table of what the sweep has cost and what it has not, in worker-time."""
    (iterations, seconds), workers = cost_of(report), report.sweep.num_workers
    lines = [
        _CostLine("trained", seconds.used, iterations.used),
        _CostLine("of it in trials stopped early or failed", seconds.wasted, iterations.wasted),
        _CostLine("saved by the trunk", seconds.trunk, iterations.trunk),
        *([_CostLine("saved by children", seconds.inherited, iterations.inherited)] if iterations.inherited else []),
        _CostLine("saved by stopping early", seconds.pruning, iterations.pruning),
        _CostLine("every trial to its end", seconds.total, iterations.total),
    ]

    def share(line: _CostLine) -> Cell:
        of_all = line.seconds / seconds.total if seconds.total else 0.0
        return tables.number(100 * of_all, ".0f", bar=of_all)

    columns = [
        Column[_CostLine]("", lambda line: tables.word(line.name), left=True),
        Column("worker-time", lambda line: tables.time(line.seconds)),
        Column("worker-seconds", lambda line: tables.number(line.seconds, ".0f")),
        Column("share in %", share),
        Column("iterations", lambda line: tables.number(line.iterations, ".0f")),
    ]
    return Table.of("cost", _about_costs(iterations, seconds, workers), columns, lines)


def _about_costs(iterations: Cost, seconds: Cost, workers: int) -> str:
    each = f"times the {workers} workers of a trial, " if workers > 1 else ""
    caption = f"Time of training, {each}without evaluations and without what interruptions have lost."
    if iterations.trunk:
        caption += (
            " The trunk is the part of the trainings before the contrast starts, which all trials of one seed have in "
            "common; it is trained and counted once, also where an earlier sweep has trained it."
        )
    if iterations.inherited:
        caption += " A child begins with a checkpoint of its parent, whose iterations it is spared."
    if iterations.wasted or seconds.wasted:
        caption += f" {costs.waste(iterations, seconds)} went into trials that were stopped early or failed."
    if iterations.pruning:
        caption += (
            " What stopping early has saved is an estimate: each of these trials would have gone on at its own pace."
        )
    return caption


def _runs(report: SweepReport) -> list[Row]:
    """Return the runs, also of a folder from a time when the rows did not say what they were spared."""
    return [
        run if run.trunk else dataclasses.replace(run, trunk=read_fork(report.directory(run))) for run in report.runs
    ]


def _label() -> Column[Summary]:
    return Column("trial", lambda trial: tables.word(trial.label), left=True)


def _report_score() -> Column[Summary]:
    return Column(REPORT_METRIC, lambda trial: tables.number(trial.means.get(REPORT_METRIC)))


def _differences(report: SweepReport) -> list[Column[Summary]]:
    """Return the columns of the difference to the base; with several seeds how sure it is stands beside it."""
    several = len(report.sweep.seeds) > 1
    return evidence.differences(report.difference) if several else [evidence.mean_difference(report.difference)]


def _score(report: SweepReport) -> Column[Summary]:
    """Return the column of what trials are chosen by, with the best one in bold."""
    spec = report.selection.spec
    return Column(report.selection.name, lambda trial: tables.number(trial.score, spec, strong=trial is report.best))


def _mean(name: str) -> Column[Summary]:
    return Column(name, lambda trial: tables.number(trial.means.get(name)))


def _std(trial: Summary) -> Cell:
    return tables.number(Spread.of(list(trial.values.values())).std)


def _num_seeds(trial: Summary) -> Cell:
    return tables.number(len(trial.values), "d")


def _tinted(value: float | None, other: float | None, spec: str) -> Cell:
    tint = None if value is None or other is None else (value - other) / _FULL_TINT
    return tables.number(value, spec, tint=tint)
