"""All that a report tells, read from the folder of a sweep."""

from __future__ import annotations

import functools
import shlex
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import pgpc
from pgpc.config import Config, flatten, from_dict
from pgpc.evaluation.names import CLASS_PREFIX, CRITERIA_PREFIX
from pgpc.presets import preset_names
from pgpc.recipes.lengths import ITERATIONS
from pgpc.recipes.recipe import from_preset
from pgpc.runtime.checks import check
from pgpc.runtime.files import expand_user
from pgpc.runtime.json_text import parse_json
from sweeps.common.commands import program, sweep_command
from sweeps.common.names import METRIC, REPORT_METRIC, Kind, Status
from sweeps.common.words import as_flag_value, number
from sweeps.definition.folder import CONFIRMATION, SWEEP_FILE, trials_folder
from sweeps.definition.objectives import COSTS
from sweeps.definition.selection import Selection
from sweeps.definition.sweep import Sweep
from sweeps.estimates.differences import Difference, compare_all
from sweeps.estimates.spread import paired
from sweeps.findings.confirmation import Confirmation, read_confirmation
from sweeps.findings.selection_quality import Curves, Quality, choices, selection_quality
from sweeps.reporting.headline import Finding, find
from sweeps.reporting.study import Importances, StudyData, read_study
from sweeps.results.outcome import Results
from sweeps.results.rows import Row
from sweeps.results.scores import run_scores
from sweeps.results.summaries import Summary, ranked, with_front
from sweeps.search.schedulers import rungs


@dataclass(frozen=True, kw_only=True)
class SweepReport:
    """What is known of a sweep, which may be running.

    Attributes:
        sweep: The sweep itself.
        rows: Rows of results.parquet, in the order of the file.
        curves: Label of a trial -> iteration, in ascending order -> score of the trial's first seed; a mean rank is
            taken among the trials that were evaluated at that iteration.
        importances: How much each parameter sets the best trials apart, or why that is not known.
        rungs: Iterations at which trials may be stopped, in ascending order.
        selection: What the trials are ranked by, that of the sweep or another.
        reports: Label of a trial -> iteration -> metrics that trials can be chosen by, of the trial's first seed.
        confirmation: What the confirmation has come to; None where none was begun.
        changes: Sentences on what has changed from one driver to the next, such as the data, those of the confirmation
            included.
    """

    sweep: Sweep
    rows: Sequence[Row]
    curves: Mapping[str, Mapping[int, float]]
    importances: Importances
    rungs: Sequence[int]
    selection: Selection
    reports: Curves = field(default_factory=dict)
    confirmation: Confirmation | None = None
    changes: Sequence[str] = ()

    @functools.cached_property
    def runs(self) -> list[Row]:
        """The rows without those that repeat a run because it belongs to several rows of the paper's tables."""
        return list({row.label: row for row in reversed(self.rows)}.values())[::-1]

    @functools.cached_property
    def trials(self) -> list[Summary]:
        """The trials, best first."""
        return ranked(self.rows, self.selection)

    def score_text(self, score: float | None) -> str:
        """Return a score as text, with its unit."""
        return f"{number(score, self.selection.spec)}{self.selection.unit}"

    @functools.cached_property
    def params(self) -> list[str]:
        """Config keys of the parameters in which trials differ, in the order of the search space, then others."""
        known = flatten(self.sweep.config).keys() - {"seed", "name"}
        found = [key for row in self.rows for key in row.params if key in known]
        return list(dict.fromkeys([*(key for key in self.sweep.space if key in found), *found]))

    @functools.cached_property
    def classes(self) -> list[str]:
        """Names of the classes that any row has an IoU of, in the order of the rows' metrics."""
        keys = dict.fromkeys(key for row in self.rows for key in row.metrics if key.startswith(CLASS_PREFIX))
        return [key.removeprefix(CLASS_PREFIX) for key in keys]

    @functools.cached_property
    def base(self) -> Summary | None:
        """The trial without contrast; None if it is not complete, or there are several, on several bases."""
        complete = [trial for trial in self.trials if trial.kind == Kind.REFERENCE and trial.is_complete]
        return complete[0] if len(complete) == 1 else None

    @functools.cached_property
    def complete(self) -> list[Summary]:
        """The complete trials of the search, by their scores.

        Without a trial that somebody else has added to the study: it has no metrics.
        """
        found = [trial for trial in self.trials if trial.is_ranked and trial.score is not None]
        return sorted(found, key=lambda trial: trial.score or 0.0, reverse=True)

    @property
    def best(self) -> Summary | None:
        """The complete trial of the search with the highest score; None without a complete one."""
        return next(iter(self.complete), None)

    @property
    def worst(self) -> Summary | None:
        """The complete trial of the search with the lowest score; None unless there are two complete ones."""
        return self.complete[-1] if len(self.complete) > 1 else None

    @property
    def front(self) -> list[Summary]:
        """The trials on the front of several objectives, by their scores; none where there is one objective."""
        return [trial for trial in self.complete if trial.pareto]

    @property
    def costs(self) -> list[str]:
        """Names of the objectives beside the score."""
        return [name for name in self.sweep.objectives if name in COSTS]

    @property
    def iterations(self) -> int:
        """The iteration at which a trial is complete, as far as all are alike."""
        return self.sweep.config.training.iterations

    @functools.cached_property
    def differences(self) -> Mapping[str, Difference]:
        """Label of a trial -> its score less the base's, seed by seed, as one of all that are compared.

        Without the base, trials that have no complete run, and all of them where there is nothing to compare with.
        """
        base = self.base
        if base is None:
            return {}
        to_base = {t.label: paired(t.values, base.values) for t in self.trials if t.kind != Kind.REFERENCE}
        return compare_all({label: found for label, found in to_base.items() if found})

    def difference(self, trial: Summary) -> Difference | None:
        """Return a trial's difference to the base, see `differences`; None where it has none."""
        return self.differences.get(trial.label)

    @functools.cached_property
    def candidates(self) -> Mapping[str, Mapping[str, float]]:
        """Label of each trial that can be chosen -> its metrics at its end, means over its complete runs."""
        found = {}
        for trial in self.complete:
            runs = self._complete_runs[trial.label]
            names = dict.fromkeys(name for run in runs for name in run.metrics)
            means = {name: value for name in names if (value := self.metric(trial, name)) is not None}
            found[trial.label] = means if trial.miou is None else {METRIC: trial.miou, **means}
        return found

    @functools.cached_property
    def qualities(self) -> list[Quality]:
        """What a choice by each criterion would have come to; none without criteria, or without labels to judge by."""
        searched = [trial.label for trial in self.trials if trial.kind == Kind.SEARCH]
        if not self.sweep.is_search:
            return []
        return selection_quality(
            self.candidates,
            {label: self.reports[label] for label in searched if label in self.reports},
            choices(self.candidates.values()),
            np.random.default_rng(self.sweep.config.seed),
        )

    @property
    def finding(self) -> Finding:
        """What the headline is made of."""
        return find(self.sweep, self.trials, self.confirmation, self.selection)

    @property
    def has_report_split(self) -> bool:
        """Whether some labeled images take no part in the choice."""
        return any(REPORT_METRIC in run.metrics for run in self.rows)

    def metric(self, trial: Summary, name: str) -> float | None:
        """Return a metric that trainings report, as a mean over the complete runs of a trial that have it."""
        values = [value for run in self._complete_runs[trial.label] if (value := run.metric(name)) is not None]
        return statistics.fmean(values) if values else None

    def class_iou(self, trial: Summary, name: str) -> float | None:
        """Return the IoU of a class in percent, as a mean over the complete runs of a trial that have one."""
        return self.metric(trial, CLASS_PREFIX + name)

    def belongs_to(self, trial: str) -> str:
        """Return the rows of the paper's tables that a trial, given by its label, stands for."""
        return ", ".join(dict.fromkeys(str(row.paper) for row in self._rows_by_trial[trial] if row.paper))

    def directory(self, run: Row) -> Path:
        """Return the folder of the run's files, also where the sweep's folder was moved."""
        return trials_folder(self.sweep.folder) / run.directory.name

    def config(self, run: Row) -> Config:
        """Return what the run was trained with: as it has written it, or else as the sweep would."""
        try:
            return from_dict(parse_json((self.directory(run) / "config.json").read_text()))
        except (OSError, ValueError):
            return self._asked_for(run)

    @functools.cached_property
    def commands(self) -> dict[str, str]:
        """Label of a run -> what to type to train it again, with every value that its preset does not have."""
        workers, found = self.sweep.num_workers, self.sweep.surroundings
        launch = ["pgpc"] if workers == 1 else ["torchrun", "--nproc-per-node", str(workers), "-m", "pgpc"]
        if found and found[0].device == "cpu":  # sums depend on it; without the variable all cores are taken
            launch = ["env", f"OMP_NUM_THREADS={found[0].threads}", *launch]
        # As the command makes it of the preset: with the number of iterations lengths change, too.
        values = functools.cache(lambda name, iterations: flatten(from_preset(name, {ITERATIONS: iterations}).config))
        commands = {}
        for run in self.runs:
            config = self.config(run)
            preset = config.name if config.name in preset_names() else "streets"
            before = {**values(preset, config.training.iterations), ITERATIONS: pgpc.preset(preset).training.iterations}
            changed = {key: value for key, value in flatten(config).items() if value != before[key]}
            if "data.source" in changed:  # where the initial weights must be said, even if they are the preset's
                changed.setdefault("model.pretrained", config.model.pretrained)
            settings = [text for key, value in changed.items() for text in ("--set", f"{key}={as_flag_value(value)}")]
            command = shlex.join([*launch, "train", preset, "--out", f"runs/{run.label}", *settings])
            if run.parent:
                origin = f"iteration {run.parent.iteration} of trial {run.parent.label}"
                command = f"# This run was forked from {origin} and had these settings from there on.\n{command}"
            commands[run.label] = command
        return commands

    @functools.cached_property
    def _rows_by_trial(self) -> Mapping[str, list[Row]]:
        found: dict[str, list[Row]] = defaultdict(list)
        for row in self.rows:
            found[row.trial].append(row)
        return found

    @functools.cached_property
    def _complete_runs(self) -> Mapping[str, list[Row]]:
        found: dict[str, list[Row]] = defaultdict(list)
        for run in self.runs:
            if run.status == Status.COMPLETE:
                found[run.trial].append(run)
        return found

    def _asked_for(self, run: Row) -> Config:
        if not self.sweep.is_search:
            names = self.belongs_to(run.trial).split(", ")
            configs = (config for name, config in self.sweep.table_configs.items() if name in names)
            return pgpc.override(next(configs, self.sweep.config), {"seed": run.seed})
        params = {key: run.params[key] for key in self.sweep.space if key in run.params}
        return self.sweep.trial_config(params, run.seed)


def read(folder: Path, selection: Selection | None = None) -> SweepReport:
    """Read a sweep's folder; the sweep may be running.

    Args:
        folder: The folder.
        selection: What the trials are ranked by; None for what the sweep chooses by.

    Raises:
        ValueError: It is not the folder of a sweep, or no trial has what is ranked by.
        OSError: It cannot be read.
    """
    folder = check_folder(folder)
    results = Results.read(folder)
    sweep, rows = results.sweep, results.rows
    if sweep.confirms:
        raise ValueError(
            f"RESULTS must be the folder of a sweep that has a report of its own, but got {str(folder)!r}, a "
            f"confirmation. Give {str(sweep.report_folder)!r}, whose report tells of it."
        )
    study = read_study(folder, sweep.objectives.index(sweep.selection.text), is_search=sweep.is_search)
    reports, importances = _reports(rows, study), study.importances
    selection = selection or sweep.selection
    if selection != sweep.selection:
        _check_reported(rows, selection)
        rows = tuple(with_front(rows, sweep.objectives, selection))
        importances = Importances(missing=f"the search was by {sweep.selection.text}, this report is by another choice")
    return SweepReport(
        sweep=sweep,
        rows=rows,
        curves=_curves(reports, selection),
        importances=importances,
        rungs=rungs(sweep.options, sweep.config) if sweep.is_search else [],
        selection=selection,
        reports=reports,
        confirmation=read_confirmation(folder) if selection == sweep.selection else None,
        changes=[*sweep.changes, *_changes_of_confirmation(folder)],
    )


def _changes_of_confirmation(folder: Path) -> list[str]:
    confirmation = folder / CONFIRMATION
    if not (confirmation / SWEEP_FILE).is_file():
        return []
    return [f"The confirmation: {sentence}" for sentence in Sweep.load(confirmation).changes]


def check_folder(folder: Path) -> Path:
    """Return the absolute path of a sweep's folder.

    Raises:
        ValueError: It is not the folder of a sweep.
    """
    folder = expand_user(folder).absolute()
    if not (folder / SWEEP_FILE).is_file():
        raise ValueError(
            f"RESULTS must be the folder of a sweep, with a sweep.json, but got {str(folder)!r}. "
            f"Give results/NAME, as {program(sweep_command())} has printed it."
        )
    return folder


def _check_reported(rows: Sequence[Row], selection: Selection) -> None:
    """Check that complete trials can be ranked by a choice that the sweep itself does not make."""
    complete = [row for row in rows if row.kind == Kind.SEARCH and row.status == Status.COMPLETE]
    there = dict.fromkeys(name for row in complete for name in row.metrics if name.startswith(CRITERIA_PREFIX))
    names = [*([METRIC] if any(row.score is not None for row in complete) else []), *there]
    check(
        bool(run_scores(complete, selection)),
        "--select-by must be made of what complete trials have reported, which is "
        f"{', '.join(name.removeprefix(CRITERIA_PREFIX) for name in names) or 'nothing yet'}",
        selection.text,
    )


def _curves(reports: Curves, selection: Selection) -> dict[str, dict[int, float]]:
    """Return the score of each trial at each of its evaluations, among those of the others at the same iteration."""
    curves: dict[str, dict[int, float]] = {}
    for iteration in sorted({iteration for curve in reports.values() for iteration in curve}):
        scores = selection.scores({label: curve[iteration] for label, curve in reports.items() if iteration in curve})
        for label, score in scores.items():
            curves.setdefault(label, {})[iteration] = score
    return curves


def _reports(rows: Sequence[Row], study: StudyData) -> dict[str, dict[int, Mapping[str, float]]]:
    """Return what each trial has reported, up to where its first seed has come.

    At later iterations than those of the first seed an old study has means over seeds.
    """
    first = {row.trial: row for row in reversed(rows)}
    found = {
        label: {k: metrics for k, metrics in sorted(curve.items()) if k <= first[label].iterations}
        for label, curve in study.reports.items()
        if label in first
    }
    return {label: curve for label, curve in found.items() if curve}
