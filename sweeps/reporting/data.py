"""All that a report tells, read from the folder of a sweep."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import shlex
import statistics
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pyarrow.parquet as pq
from optuna.trial import FrozenTrial, TrialState

import pgpc
from pgpc.config import Config, flatten, from_dict
from pgpc.presets import preset_names
from sweeps.definition.sweep import Sweep, is_running, resumed_sweep
from sweeps.results import rows as results
from sweeps.results.rows import Row
from sweeps.search import replicates
from sweeps.search.algorithms import rungs
from sweeps.search.replicates import METRIC, PARENT, PARENT_ITERATION, REFERENCE_LABEL
from sweeps.search.study import study_url

IOU = "IoU/"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Findings:
    """What is known of a sweep.

    Attributes:
        sweep: what it was asked to do.
        rows: of results.parquet, in its order, without the columns in which a row has nothing. One per run.
        curves: label of a trial -> iteration -> mIoU in percent of its first seed, ascending.
        importances: config key -> share of what sets the best trials apart, in descending order; sums to 1.
        no_importances: why there are none, or "".
        rungs: iterations at which trials may be stopped.
    """

    sweep: Sweep
    rows: list[Row]
    curves: dict[str, dict[int, float]]
    importances: dict[str, float]
    no_importances: str
    rungs: list[int]

    @functools.cached_property
    def runs(self) -> list[Row]:
        """Rows without those that repeat a run, because it belongs to several rows of the paper's tables."""
        return list({row["trial"]: row for row in reversed(self.rows)}.values())[::-1]

    @functools.cached_property
    def trials(self) -> list[Row]:
        """One row per trial, see :func:`sweeps.results.rows.summaries`, best first; IoU too are means over the seeds."""
        trials = []
        for trial in results.ranked(self.rows):
            complete = [r for r in self.runs if r["point"] == trial["trial"] and r["status"] == "complete"]
            keys = {key for run in complete for key in run if key.startswith(IOU)}
            trials.append(trial | {key: statistics.fmean(r[key] for r in complete if key in r) for key in keys})
        return trials

    @functools.cached_property
    def params(self) -> list[str]:
        """Dotted keys of the columns that are values of the config, in the order of the search space, then others."""
        known = flatten(self.sweep.config).keys() - {"seed", "name"}
        found = [key for row in self.rows for key in row if key in known]
        return list(dict.fromkeys([*(key for key in self.sweep.space if key in found), *found]))

    @functools.cached_property
    def classes(self) -> list[str]:
        """Names of the classes that any row has an IoU of, in the order of the rows' columns."""
        keys = dict.fromkeys(key for row in self.rows for key in row if key.startswith(IOU))
        return [key.removeprefix(IOU) for key in keys]

    @functools.cached_property
    def base(self) -> Row | None:
        """The trial without contrast; None if it is not complete, or there are several, on several bases."""
        complete = [row for row in self.trials if row["kind"] == "reference" and row["status"] == "complete"]
        return complete[0] if len(complete) == 1 else None

    @functools.cached_property
    def best(self) -> Row | None:
        """The complete trial of the search with the highest mIoU."""
        return next(iter(self.complete), None)

    @property
    def front(self) -> list[Row]:
        """Trials on the front of several objectives, by their mIoU; none where there is one objective."""
        return [row for row in self.complete if row.get("pareto")]

    @property
    def costs(self) -> list[str]:
        """The objectives beside mIoU."""
        return [name for name in self.sweep.objectives if name != METRIC]

    @functools.cached_property
    def worst(self) -> Row | None:
        """The complete trial of the search with the lowest mIoU, unless that is the best."""
        return self.complete[-1] if len(self.complete) > 1 else None

    @functools.cached_property
    def complete(self) -> list[Row]:
        """Trials of the search that are complete, by their mIoU."""
        found = [row for row in self.trials if row["kind"] == "search" and row["status"] == "complete"]
        return sorted(found, key=lambda row: -(row[METRIC] or 0.0))

    def difference(self, row: Row) -> float | None:
        """Of a trial's mIoU to the base's, in points, over the seeds that both have; None of a base itself."""
        if self.base is None or row["kind"] == "reference" or row["status"] != "complete":
            return None
        both = row["values"].keys() & self.base["values"].keys()
        return statistics.fmean(row["values"][s] - self.base["values"][s] for s in both) if both else None

    def belongs_to(self, row: Row) -> str:
        """The rows of the paper's tables that a trial stands for."""
        labels = (f"{r['table']}: {r['row']}" for r in self.rows if "table" in r and r["point"] == row["point"])
        return ", ".join(dict.fromkeys(labels))

    @property
    def iterations(self) -> int:
        """At which a trial is complete, as far as all are alike."""
        return self.sweep.config.training.iterations

    def directory(self, row: Row) -> Path:
        """Where the run's files are, also where the sweep's folder was moved."""
        return results.trials_folder(self.sweep.folder) / Path(row["directory"]).name

    def config(self, row: Row) -> Config:
        """What the run was trained with: as it has written it, or else as the sweep would."""
        try:
            return from_dict(json.loads((self.directory(row) / "config.json").read_text()))
        except (OSError, ValueError):
            return self._asked_for(row)

    @functools.cached_property
    def commands(self) -> dict[str, str]:
        """Label of a run -> what to type to train it again, with every value that its preset does not have."""
        workers = self.sweep.flags["workers"]
        launch = ["pgpc"] if workers == 1 else ["torchrun", "--nproc-per-node", str(workers), "-m", "pgpc"]
        preset_values = functools.cache(lambda name: flatten(pgpc.preset(name)))
        commands = {}
        for row in self.runs:
            config = self.config(row)
            preset = config.name if config.name in preset_names() else "streets"
            before = preset_values(preset)
            changed = {key: value for key, value in flatten(config).items() if value != before[key]}
            settings = [text for key, value in changed.items() for text in ("--set", f"{key}={_setting(value)}")]
            command = shlex.join([*launch, "train", preset, "--out", f"runs/{row['trial']}", *settings])
            if PARENT in row:
                command = f"# With these settings from iteration {row[PARENT_ITERATION]} of {row[PARENT]} on\n{command}"
            commands[row["trial"]] = command
        return commands

    def _asked_for(self, row: Row) -> Config:
        if self.sweep.points:
            configs = (c for name, c in self.sweep.points.items() if name in self.belongs_to(row).split(", "))
            config = next(configs, self.sweep.config)
            return pgpc.override(config, {"seed": row["seed"]})
        params = {key: row[key] for key in self.sweep.space if key in row}
        return self.sweep.trial_config(params, row["seed"])


def read(folder: Path) -> Findings:
    """Read a sweep's folder; it may be running.

    Raises:
        ValueError: it is not the folder of a sweep.
    """
    folder = folder.expanduser().absolute()
    if not (folder / "sweep.json").is_file():
        raise ValueError(
            f"RESULTS must be the folder of a sweep, with a sweep.json, but got {str(folder)!r}. "
            "Give results/NAME, as run_ablation.py has printed it."
        )
    sweep = resumed_sweep({"storage": str(folder.parent), "resume": folder.name})
    file = folder / "results.parquet"
    alive = is_running(folder)
    rows = [_row(row, alive) for row in pq.read_table(file).to_pylist()] if file.is_file() else []
    study, reference = _studies(sweep)
    importances, reason = _importances(study, sweep.objectives.index(METRIC))
    return Findings(
        sweep=sweep,
        rows=rows,
        curves=_curves(rows, study, reference),
        importances={} if sweep.points else importances,
        no_importances="nothing was searched" if sweep.points else reason,
        rungs=[] if sweep.points else rungs(sweep.flags["scheduler"], sweep.config),
    )


def score(row: Row) -> float | None:
    """The row's mIoU in percent, or None where it has none that is a number."""
    value = row[METRIC]
    return None if value is None or math.isnan(value) else value


def _row(row: Row, alive: bool) -> Row:
    """A row without the columns of others. One that was written before trials had several seeds has no point.

    What a driver that was killed has left as running was interrupted.
    """
    if not alive:
        row = {key: results.INTERRUPTED if value == results.RUNNING else value for key, value in row.items()}
    known = {key: value for key, value in row.items() if value is not None or key in results.LEADING}
    return {**known, "point": row.get("point") or row["trial"], "outcome": row.get("outcome") or row["status"]}


def _studies(sweep: Sweep) -> tuple[optuna.Study | None, optuna.Study | None]:
    """The study of the search and that of the reference, where they exist; the folder may have another name by now."""
    if not (sweep.folder / "study.db").is_file():
        return None, None
    storage = optuna.storages.RDBStorage(study_url(sweep.folder))
    names = optuna.get_all_study_names(storage)
    studies = {name: optuna.load_study(study_name=name, storage=storage) for name in names}
    suffix = "-reference"
    name = next((name for name in studies if name + suffix in studies), next(iter(studies), ""))
    return studies.get(name), studies.get(name + suffix)


def _curves(
    rows: Sequence[Row], study: optuna.Study | None, reference: optuna.Study | None
) -> dict[str, dict[int, float]]:
    trials = {f"{trial.number:04d}": trial for trial in _started(study)}
    for trial in _started(reference):
        trials[REFERENCE_LABEL] = trial
    curves = {}
    for row in rows:
        trial = trials.get(row["point"])
        if trial is not None and row["point"] not in curves:  # a trial's first row is that of its first seed
            # At later iterations than that seed's a study has means over seeds.
            values = sorted(replicates.curve(trial).items())
            curves[row["point"]] = {k: v for k, v in values if k <= row["iterations"] and not math.isnan(v)}
    return {label: curve for label, curve in curves.items() if curve}


def _started(study: optuna.Study | None) -> list[FrozenTrial]:
    return [] if study is None else [t for t in study.get_trials(deepcopy=False) if t.state != TrialState.WAITING]


def _importances(study: optuna.Study | None, objective: int) -> tuple[dict[str, float], str]:
    """Of the parameters for this objective of the study, which is maximized."""
    complete = [] if study is None else study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len({trial.values[objective] for trial in complete}) < 2:
        return {}, f"not enough trials: it takes two complete ones of different {METRIC}, and there are {len(complete)}"
    try:
        # A target is taken to be minimized; without one Optuna would ask what sets the front apart.
        target = (lambda trial: -trial.values[objective]) if len(study.directions) > 1 else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = optuna.importance.get_param_importances(study, target=target)
    except (ValueError, RuntimeError) as error:
        return {}, str(error)
    if not found or any(math.isnan(value) for value in found.values()):
        return {}, "not enough trials: none of the parameters varies among the complete ones"
    return found, ""


def _setting(value: Any) -> str:
    """A value as ``--set`` takes it; numbers read back as they were."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
